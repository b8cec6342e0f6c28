//! JA4, FoxIO's fingerprint of TLS clients (<https://github.com/FoxIO-LLC/ja4>), of a ClientHello over TCP.
//!
//! Three parts: what can be read (version, server name, counts, application protocol), a hash of the sorted cipher
//! suites, a hash of the sorted extensions and the signature algorithms in their order. GREASE is left out everywhere.

use sha2::{Digest, Sha256};

use super::detail::JA4_BYTES;
use super::hello::{ALPN, ClientHello, Rest, SERVER_NAME, SIGNATURE_ALGORITHMS, is_grease, numbers};

/// Cipher suites or extensions of a client, at most: more than anybody has, and then there is no fingerprint.
const NUMBERS_MAX: usize = 256;
/// Hexadecimal digits kept of a hash.
const HASH_DIGITS: usize = 12;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Numbers in order.
struct Sorted {
    numbers: [u16; NUMBERS_MAX],
    len: usize,
}

impl Sorted {
    /// `None` where there are too many.
    fn of(numbers: impl Iterator<Item = u16>) -> Option<Self> {
        let mut sorted = Self { numbers: [0; NUMBERS_MAX], len: 0 };
        for number in numbers.filter(|number| !is_grease(*number)) {
            *sorted.numbers.get_mut(sorted.len)? = number;
            sorted.len += 1;
        }
        sorted.numbers[..sorted.len].sort_unstable();
        Some(sorted)
    }

    fn iter(&self) -> impl Iterator<Item = u16> {
        self.numbers.iter().copied().take(self.len)
    }
}

/// The fingerprint; `None` for a client with an absurd number of suites or extensions.
pub(super) fn ja4(hello: &ClientHello<'_>) -> Option<[u8; JA4_BYTES]> {
    let ciphers = Sorted::of(numbers(hello.ciphers))?;
    let extensions = Sorted::of(hello.extensions.map(|(kind, _)| kind))?;
    let algorithms = hello.extension(SIGNATURE_ALGORITHMS).and_then(|contents| Rest(contents).part16());
    let algorithms = numbers(algorithms.unwrap_or_default()).filter(|number| !is_grease(*number));
    let mut text = [b'_'; JA4_BYTES];
    text[0] = b't';
    text[1..3].copy_from_slice(version(hello.highest_version()));
    text[3] = if hello.extension(SERVER_NAME).is_some() { b'd' } else { b'i' };
    text[4..6].copy_from_slice(&two_digits(ciphers.len));
    text[6..8].copy_from_slice(&two_digits(extensions.len));
    text[8..10].copy_from_slice(&ends(hello.first_alpn().unwrap_or_default()));
    text[11..11 + HASH_DIGITS].copy_from_slice(&hash(ciphers.iter(), std::iter::empty()));
    // Names and protocols differ with whom a client talks to.
    let kinds = extensions.iter().filter(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    text[24..24 + HASH_DIGITS].copy_from_slice(&hash(kinds, algorithms));
    Some(text)
}

const fn version(number: u16) -> &'static [u8; 2] {
    match number {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        _ => b"00",
    }
}

const fn two_digits(count: usize) -> [u8; 2] {
    let count = if count > 99 { 99 } else { count as u8 };
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of a protocol's name; of its bytes in hexadecimal, if they are no letters or digits.
fn ends(name: &[u8]) -> [u8; 2] {
    match (name.first(), name.last()) {
        (Some(first), Some(last)) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => {
            [*first, *last]
        }
        (Some(first), Some(last)) => [HEX[usize::from(first >> 4)], HEX[usize::from(last & 0x0f)]],
        _ => *b"00",
    }
}

/// Hash of numbers in hexadecimal with commas between, and behind an underscore of others, if there are any.
fn hash(first: impl Iterator<Item = u16>, second: impl Iterator<Item = u16>) -> [u8; HASH_DIGITS] {
    let mut hasher = Sha256::new();
    let mut count = 0;
    let mut before: &[u8] = b"";
    for number in first {
        feed(&mut hasher, before, number);
        before = b",";
        count += 1;
    }
    before = b"_";
    for number in second {
        feed(&mut hasher, before, number);
        before = b",";
    }
    let mut digits = [b'0'; HASH_DIGITS];
    if count == 0 {
        return digits;
    }
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(hasher.finalize()) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0x0f)]];
    }
    digits
}

fn feed(hasher: &mut Sha256, before: &[u8], number: u16) {
    let digit = |shift: u16| HEX[usize::from(number >> shift & 0x0f)];
    hasher.update(before);
    hasher.update([digit(12), digit(8), digit(4), digit(0)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part16(contents: &[u8]) -> Vec<u8> {
        [&(contents.len() as u16).to_be_bytes(), contents].concat()
    }

    fn list(numbers: &[u16]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    /// The example of the specification, in the order in which such a client sends it.
    fn published() -> Vec<u8> {
        let ciphers = [
            0x9a9a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
            0x009c, 0x009d, 0x002f, 0x0035,
        ];
        let algorithms = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
        let kinds = [
            0x2a2a, 0x0000, 0x0017, 0xff01, 0x000a, 0x000b, 0x0023, 0x0010, 0x0005, 0x000d, 0x0012, 0x0033,
            0x002d, 0x002b, 0x001b, 0x4469, 0x0015,
        ];
        let mut extensions = Vec::new();
        for kind in kinds {
            let contents = match kind {
                0x000d => part16(&list(&algorithms)),
                0x0010 => part16(b"\x02h2\x08http/1.1"),
                0x002b => [&[6][..], &list(&[0x9a9a, 0x0304, 0x0303])].concat(),
                0x0000 => part16(b"\x00\x00\x0bexample.com"),
                _ => Vec::new(),
            };
            extensions.extend([list(&[kind]), part16(&contents)].concat());
        }
        let mut body = list(&[0x0303]);
        body.extend([7; 32]);
        body.push(0);
        body.extend(part16(&list(&ciphers)));
        body.extend([1, 0]);
        body.extend(part16(&extensions));
        body
    }

    #[test]
    fn the_published_example() {
        let body = published();
        let hello = ClientHello::of(&body).unwrap();
        assert_eq!(ja4(&hello).unwrap().escape_ascii().to_string(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert_eq!(hello.server_name(), Some(&b"example.com"[..]));
    }

    #[test]
    fn what_is_missing_is_zeros() {
        let body = [&[3, 1][..], &[7; 32], &[0], &[0, 0], &[1, 0]].concat();
        let hello = ClientHello::of(&body).unwrap();
        assert_eq!(ja4(&hello).unwrap().escape_ascii().to_string(), "t10i000000_000000000000_000000000000");
    }

    #[test]
    fn names_of_protocols_that_are_no_text_are_hexadecimal() {
        assert_eq!(
            [ends(b"h2"), ends(b"x"), ends(b"\xab\xcd"), ends(b"0\x9f"), ends(b"")],
            [*b"h2", *b"xx", *b"ad", *b"3f", *b"00"]
        );
    }

    #[test]
    fn cut_hellos_are_none() {
        let body = published();
        assert!((0..body.len()).all(|len| len == 71 || ClientHello::of(&body[..len]).is_none()));
    }
}
