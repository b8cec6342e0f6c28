//! Logins that a server refuses in the clear: of mail (SMTP, IMAP, POP3), files (FTP, SMB), databases (MySQL, PostgreSQL,
//! Redis, SQL Server) and directories (LDAP).
//!
//! An answer is read where a segment begins with it, as those of such servers do: they wait for the client's next try.
//! Nothing is put together and no hole matters; what is pipelined, or behind STARTTLS, is not seen. Who tries the same
//! again and again, as a program with an old password does, guesses nothing: a refusal counts where what the client said since the
//! last one differs from what it said before (of protocols with a challenge it always does). Nothing is kept of it but a hash.
//! Limits: the first [`SEGMENTS_MAX`] segments of each direction (`unread`: directions that had as many), [`READ_BYTES_MAX`] bytes
//! of each.

use memchr::memchr;
use memchr::memmem;

use super::counter::LayerCounter::{LoginsRefused, LoginsUnread};
use super::password::hash;
use super::record::Protocol;
use super::slot::{NO_DETAIL, flag};
use super::turn::{Step, Turn};

/// Segments of a direction that are looked at: twenty guesses, where each takes three.
const SEGMENTS_MAX: u16 = 64;
/// Bytes of a segment that are: names and passwords are short, and so are answers.
const READ_BYTES_MAX: usize = 256;
/// Parts of a line by which an answer without a code of its own is about a login, in small letters.
const ABOUT_LOGIN: [&[u8]; 7] = [b"auth", b"login", b"logon", b"passw", b"credential", b"user", b"denied"];
/// `ER_ACCESS_DENIED_ERROR` and `ER_ACCESS_DENIED_NO_PASSWORD_ERROR` of MySQL.
const MYSQL_DENIED: [u16; 2] = [1045, 1698];
/// SQLSTATE of PostgreSQL's `invalid_password` and `invalid_authorization_specification`, as fields of an error.
const POSTGRES_DENIED: [&[u8]; 2] = [b"\0C28P01\0", b"\0C28000\0"];
/// NTSTATUS of names and passwords that are wrong, and of accounts that may not log in ([MS-ERREF] 2.3.1).
const SMB_DENIED: [u32; 5] = [0xc000_0064, 0xc000_006a, 0xc000_006d, 0xc000_006e, 0xc000_0072];
/// `Login failed for user` of SQL Server.
const SQL_SERVER_DENIED: u32 = 18_456;
/// `invalidCredentials` (RFC 4511 section 4.1.9).
const LDAP_DENIED: u8 = 49;

/// Whether a protocol's answers to logins are read.
pub(super) const fn is_read(protocol: Protocol) -> bool {
    use Protocol::{Ftp, Imap, Ldap, MySql, Pop3, Postgres, Redis, Smb, Smtp, SqlServer};
    matches!(protocol, Ftp | Imap | Ldap | MySql | Pop3 | Postgres | Redis | Smb | Smtp | SqlServer)
}

/// The bytes of one segment.
pub(super) fn segment(turn: &mut Turn<'_>, bytes: &[u8]) -> Step {
    let read = bytes.get(..READ_BYTES_MAX).unwrap_or(bytes);
    if turn.from == 0 {
        turn.slot.detail = hash(turn.slot.detail, read);
    } else if turn.slot.protocol.is_some_and(|protocol| is_refusal(protocol, read)) {
        let tried = std::mem::replace(&mut turn.slot.detail, NO_DETAIL);
        turn.slot.flags |= flag::LOGIN_ANSWERED;
        if turn.passwords.is_new(turn.ends, tried) {
            turn.sums.count(LoginsRefused);
        }
    } else if turn.slot.protocol == Some(Protocol::Ftp) && read.starts_with(b"230") {
        turn.slot.flags |= flag::LOGIN_ANSWERED;
    }
    let seen = &mut turn.slot.extra[turn.from];
    *seen += 1;
    if *seen < SEGMENTS_MAX {
        return Step::Took(bytes.len() as u32);
    }
    turn.sums.count(LoginsUnread);
    Step::Over
}

/// Whether an answer that begins so refuses a login.
fn is_refusal(protocol: Protocol, bytes: &[u8]) -> bool {
    match protocol {
        Protocol::Smtp => matches!(bytes, [b'5', b'3', b'5', b' ' | b'-', ..]),
        Protocol::Ftp => matches!(bytes, [b'5', b'3', b'0', b' ' | b'-', ..]),
        Protocol::Pop3 => bytes.starts_with(b"-ERR") && is_about_login(line(bytes)),
        Protocol::Imap => is_imap_no(line(bytes)),
        Protocol::Redis => is_redis_error(bytes),
        Protocol::MySql => matches!(bytes, [_, _, _, _, 0xff, low, high, ..]
            if MYSQL_DENIED.contains(&u16::from_le_bytes([*low, *high]))),
        Protocol::Postgres => {
            bytes.first() == Some(&b'E')
                && POSTGRES_DENIED.iter().any(|state| memmem::find(bytes, state).is_some())
        }
        Protocol::Smb => smb_status(bytes).is_some_and(|status| SMB_DENIED.contains(&status)),
        Protocol::SqlServer => is_sql_server_denial(bytes),
        Protocol::Ldap => ldap_result(bytes) == Some(LDAP_DENIED),
        _ => false,
    }
}

/// The first line.
fn line(bytes: &[u8]) -> &[u8] {
    memchr(b'\r', bytes).and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

fn is_about_login(line: &[u8]) -> bool {
    let mut small = [0; READ_BYTES_MAX];
    let Some(small) = small.get_mut(..line.len()) else { return false };
    small.copy_from_slice(line);
    small.make_ascii_lowercase();
    ABOUT_LOGIN.iter().any(|word| memmem::find(small, word).is_some())
}

/// A tag and NO (RFC 3501 section 7.1.2), which is said of other commands too.
fn is_imap_no(line: &[u8]) -> bool {
    let tag = memchr(b' ', line).filter(|at| *at != 0 && line.first() != Some(&b'*'));
    tag.and_then(|at| line.get(at..)).is_some_and(|rest| rest.starts_with(b" NO ") && is_about_login(rest))
}

fn is_redis_error(bytes: &[u8]) -> bool {
    [&b"-WRONGPASS"[..], b"-NOAUTH", b"-ERR invalid password"].iter().any(|error| bytes.starts_with(error))
}

/// Status of an answer to a session setup, of SMB 2 and 3 or of SMB 1 ([MS-SMB2] 2.2.1, [MS-CIFS] 2.2.3.1).
fn smb_status(bytes: &[u8]) -> Option<u32> {
    const SETUP: (u8, u8) = (0x73, 1);
    let at = match bytes {
        [0, _, _, _, 0xff, b'S', b'M', b'B', command, ..] if *command == SETUP.0 => 9,
        [0, _, _, _, 0xfe, b'S', b'M', b'B', ..] if bytes.get(16..18) == Some(&[SETUP.1, 0]) => 12,
        _ => return None,
    };
    bytes.get(at..)?.first_chunk().map(|status| u32::from_le_bytes(*status))
}

/// A tabular result that begins with the error of a login ([MS-TDS] 2.2.7.10).
fn is_sql_server_denial(bytes: &[u8]) -> bool {
    const HEADER_BYTES: usize = 8;
    let (Some(&[4, ..]), Some(&[0xaa, _, _, a, b, c, d])) =
        (bytes.first_chunk::<1>(), bytes.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk::<7>))
    else {
        return false;
    };
    u32::from_le_bytes([a, b, c, d]) == SQL_SERVER_DENIED
}

/// Result code of a bindResponse (RFC 4511 section 4.2.2).
fn ldap_result(bytes: &[u8]) -> Option<u8> {
    const BIND_RESPONSE: u8 = 0x61;
    let operation = ldap_operation(bytes)?;
    match operation.split_first()? {
        (&BIND_RESPONSE, rest) => match behind_length(rest)? {
            [0x0a, 1, code, ..] => Some(*code),
            _ => None,
        },
        _ => None,
    }
}

/// What is behind the number of an LDAPMessage (RFC 4511 section 4.1.1).
pub(super) fn ldap_operation(bytes: &[u8]) -> Option<&[u8]> {
    let (&0x30, rest) = bytes.split_first()? else { return None };
    match behind_length(rest)? {
        [2, len @ 1..=4, rest @ ..] => rest.get(usize::from(*len)..),
        _ => None,
    }
}

/// What is behind a length of the basic encoding rules (X.690 section 8.1.3).
fn behind_length(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first()? {
        (first @ 0x81..=0x84, rest) => rest.get(usize::from(first & 0x7f)..),
        (first, rest) => (*first < 0x80).then_some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_known_and_what_looks_like_them_is_not() {
        use Protocol::{Ftp, Imap, Ldap, MySql, Pop3, Postgres, Redis, Smb, Smtp, SqlServer};
        let mut smb2 = [&b"\0\0\0\x4c\xfeSMB\x40\0\0\0\x6d\0\0\xc0\x01\0"[..], &[0; 60]].concat();
        let smb1 = b"\0\0\0\x23\xffSMB\x73\x6d\0\0\xc0\x98";
        let known: [(Protocol, &[u8], &[u8]); 11] = [
            (Smtp, b"535 5.7.8 Error: authentication failed\r\n", b"530 5.7.0 Must issue STARTTLS first\r\n"),
            (Ftp, b"530 Login incorrect.\r\n", b"550 No such file\r\n"),
            (Pop3, b"-ERR [AUTH] Authentication failed.\r\n", b"-ERR Unknown command.\r\n"),
            (Imap, b"a1 NO [AUTHENTICATIONFAILED] failed.\r\n", b"a4 NO Mailbox does not exist\r\n"),
            (Imap, b"7 NO Login failed.\r\n", b"* OK Login first\r\n"),
            (Redis, b"-WRONGPASS invalid username-password pair\r\n", b"-ERR unknown command\r\n"),
            (MySql, b"\x48\0\0\x02\xff\x15\x04#28000Access denied", b"\x48\0\0\x02\xff\x7a\x04#42S02Table"),
            (Postgres, b"E\0\0\0\x60SFATAL\0VFATAL\0C28P01\0M", b"E\0\0\0\x60SERROR\0VERROR\0C42P01\0M"),
            (Smb, smb1, b"\0\0\0\x23\xffSMB\x75\x6d\0\0\xc0\x98"),
            (
                SqlServer,
                b"\x04\x01\0\x60\0\x35\x01\0\xaa\x4c\0\x18\x48\0\0\x01",
                b"\x04\x01\0\x60\0\x35\x01\0\xaa\x4c\0\xd0\0\0\0\x01",
            ),
            (
                Ldap,
                b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\0\x04\0",
                b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0",
            ),
        ];
        for (protocol, refusal, other) in known {
            assert!(is_read(protocol) && is_refusal(protocol, refusal), "{protocol:?}");
            assert!(!is_refusal(protocol, other), "{protocol:?}");
            (0..refusal.len()).for_each(|len| {
                is_refusal(protocol, &refusal[..len]);
            });
        }
        assert!(is_refusal(Smb, &smb2));
        // More of the exchange is wanted.
        smb2[12] = 0x16;
        assert!(!is_refusal(Smb, &smb2));
    }

    #[test]
    fn lengths_of_either_form_are_passed_over() {
        let long = b"\x30\x84\0\0\0\x10\x02\x01\x07\x61\x84\0\0\0\x07\x0a\x01\x31\x04\0\x04\0";
        assert_eq!(ldap_result(long), Some(LDAP_DENIED));
        assert_eq!(ldap_operation(b"\x30\x03\x02\x01\x07"), Some(&[][..]));
        assert_eq!(ldap_operation(b"\x30\x85\x03\x02\x01\x07"), None);
    }
}
