//! Passwords that are tried over HTTP: what a request says of them, and whether it is another one than the last.
//!
//! Read are `Authorization` fields of Basic and Digest (RFC 7617, RFC 7616; a refused token of another scheme is mostly an
//! expired one, and NTLM's and Negotiate's refusals are steps of a handshake), and the parameters of a query or of a
//! small urlencoded body. Who has one password in each request (a camera's viewer, a script) tries none: only what
//! differs from the last one between the same two hosts counts. Nothing is kept of them but a hash.
//! Limits: [`PLACES`] pairs of hosts, of which the newer takes the older's place: then a password may count again.

use memchr::memmem;

/// Pairs of hosts whose last password is known, 8 KiB.
const PLACES: usize = 1_024;
/// Parts of a parameter's name by which it is a password's.
const SECRET: [&[u8]; 3] = [b"pass", b"pwd", b"passwd"];
/// Parts by which it says whose.
const WHOSE: [&[u8]; 3] = [b"user", b"login", b"mail"];

/// A hash of the credentials of an `Authorization` field's value, where it has a password.
pub(super) fn of_authorization(value: &[u8]) -> Option<u32> {
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    let has_password = [&b"Basic"[..], b"Digest"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    has_password.then(|| hash(1, value))
}

/// A hash of whose password is tried and which, where the parameters have one.
pub(super) fn of_form(parameters: &[u8]) -> Option<u32> {
    let mut sum = 1;
    let mut has_password = false;
    for parameter in parameters.split(|byte| *byte == b'&') {
        let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
        let is_secret = name.len() < parameter.len() && has_any(name, &SECRET);
        if is_secret || has_any(name, &WHOSE) {
            sum = hash(sum, parameter);
        }
        has_password |= is_secret;
    }
    has_password.then_some(sum)
}

/// Whether one of `words`, in small letters, is part of `name`.
fn has_any(name: &[u8], words: &[&[u8]]) -> bool {
    let mut small = [0; 32];
    let len = name.len().min(small.len());
    small[..len].copy_from_slice(&name[..len]);
    small.make_ascii_lowercase();
    words.iter().any(|word| memmem::find(&small[..len], word).is_some())
}

/// FNV-1a (Fowler, Noll and Vo), begun with another text's.
pub(super) fn hash(begun: u32, text: &[u8]) -> u32 {
    text.iter().fold(begun ^ 0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The last password between two hosts, as far as there is room.
pub(super) struct Passwords(Box<[(u32, u32)]>);

impl Passwords {
    pub(super) fn new() -> Self {
        Self(vec![(0, 0); PLACES].into_boxed_slice())
    }

    pub(super) const fn allocated_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Whether it is not the last one between these two hosts.
    pub(super) fn is_new(&mut self, ends: u32, password: u32) -> bool {
        let at = ends.wrapping_mul(0x9e37_79b9) >> 22;
        let Some(place) = self.0.get_mut(at as usize % PLACES) else { return false };
        std::mem::replace(place, (ends, password)) != (ends, password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_with_a_password_are_told_by_whose_and_which() {
        let first = of_form(b"username=admin&password=123456&submit=1").unwrap();
        assert_eq!(of_form(b"username=admin&password=123456&submit=2"), Some(first));
        assert_ne!(of_form(b"username=admin&password=1234567&submit=1"), Some(first));
        assert_ne!(of_form(b"username=root&password=123456&submit=1"), Some(first));
        assert!(of_form(b"j_username=a&j_Passwd=b").is_some() && of_form(b"userPwd=x").is_some());
        assert_eq!(of_form(b"q=how+to+choose+a+pass&page=2"), None);
        assert_eq!(of_form(b"password"), None);
    }

    #[test]
    fn only_schemes_with_passwords_have_one() {
        assert_ne!(of_authorization(b"Basic YTpi"), of_authorization(b"Basic YTpj"));
        assert!(of_authorization(b"digest username=\"a\"").is_some());
        assert_eq!(of_authorization(b"Bearer abc"), None);
        assert_eq!(of_authorization(b"NTLM abc"), None);
    }

    #[test]
    fn a_password_that_is_sent_again_is_not_new() {
        let mut passwords = Passwords::new();
        assert!(passwords.is_new(7, 1) && !passwords.is_new(7, 1) && passwords.is_new(7, 2));
        assert!(passwords.is_new(8, 2) && !passwords.is_new(8, 2));
    }
}
