//! Which protocol the first bytes of a direction belong to.
//!
//! By content; the port only tells apart what begins alike (SMTP and FTP) or has no mark of its own (DNS). A few bytes
//! that may yet become something are not decided, since a segment may be one byte long.

use memchr::{memchr, memmem};

use super::dns;
use super::login;
use super::record::Protocol;
use super::tls;

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    /// It begins as this does.
    As(Protocol),
    /// Too few bytes to tell.
    Short,
    /// Nothing known.
    Nothing,
}

/// Texts with which a protocol begins.
const TEXTS: [(&[u8], Protocol); 17] = [
    (b"PRI * HTTP/2.0\r\n", Protocol::Http2),
    (b"HTTP/1.", Protocol::Http),
    (b"SSH-", Protocol::Ssh),
    (b"220 ", Protocol::Smtp),
    (b"220-", Protocol::Smtp),
    (b"EHLO ", Protocol::Smtp),
    (b"HELO ", Protocol::Smtp),
    (b"USER ", Protocol::Ftp),
    // With the space: Redis answers "+OK" and nothing else.
    (b"+OK ", Protocol::Pop3),
    (b"* OK ", Protocol::Imap),
    (b"RTSP/1.0 ", Protocol::Rtsp),
    (b"SIP/2.0 ", Protocol::Sip),
    (b"RFB 00", Protocol::Vnc),
    (b"AMQP", Protocol::Amqp),
    (b"\x13BitTorrent protocol", Protocol::BitTorrent),
    (b"CAPA\r\n", Protocol::Pop3),
    (b"AUTH ", Protocol::Redis),
];

/// Methods with the space behind, common ones first; those that [`super::sums::METHODS`] names come first in its order.
pub(super) const METHODS: [&[u8]; 30] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"TRACE ",
    b"PATCH ",
    b"PROPFIND ",
    b"PROPPATCH ",
    b"MKCOL ",
    b"COPY ",
    b"MOVE ",
    b"LOCK ",
    b"UNLOCK ",
    b"REPORT ",
    b"SEARCH ",
    b"MERGE ",
    b"CHECKOUT ",
    b"MKACTIVITY ",
    b"NOTIFY ",
    b"SUBSCRIBE ",
    b"UNSUBSCRIBE ",
    b"M-SEARCH ",
    b"BMOVE ",
    b"POLL ",
    b"PURGE ",
    b"RPC_IN_DATA ",
    b"RPC_OUT_DATA ",
];

/// Methods of RTSP and SIP that HTTP does not have.
const OTHER_METHODS: [(&[u8], Protocol); 7] = [
    (b"SETUP ", Protocol::Rtsp),
    (b"DESCRIBE ", Protocol::Rtsp),
    (b"ANNOUNCE ", Protocol::Rtsp),
    (b"PLAY ", Protocol::Rtsp),
    (b"INVITE ", Protocol::Sip),
    (b"REGISTER ", Protocol::Sip),
    (b"MESSAGE ", Protocol::Sip),
];

/// Bytes of an LDAPMessage in which its operation begins, however long its lengths are.
const LDAP_BYTES: usize = 13;
const DNS_PORT: u16 = 53;
const FTP_PORT: u16 = 21;
const POP3_PORT: u16 = 110;

/// What begins with these bytes of the stream.
pub(super) fn recognise(bytes: &[u8], responder_port: u16) -> Recognised {
    let Some(first) = bytes.first() else { return Recognised::Short };
    if responder_port == DNS_PORT {
        return dns::recognise_over_tcp(bytes);
    }
    if is_mysql(bytes) {
        return Recognised::As(Protocol::MySql);
    }
    let recognised = match first {
        0x14..=0x18 => tls::recognise(bytes),
        b'*' if bytes.get(1).is_some_and(u8::is_ascii_digit) => redis(bytes),
        b'A'..=b'Z' | b'+' | b'*' | b'2' | 0x13 => text(bytes, responder_port),
        0x00 | 0x03 | 0x10 | 0x12 | 0x30 | 0xff => binary(bytes),
        _ => Recognised::Nothing,
    };
    match recognised {
        Recognised::Nothing if may_be_mysql(bytes) => Recognised::Short,
        recognised => recognised,
    }
}

/// A method with the space behind; `Err` where more bytes could make one.
pub(super) fn method(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let mut short = false;
    for (number, method) in METHODS.iter().enumerate() {
        if bytes.starts_with(method) {
            return Ok(Some(number));
        }
        short |= method.starts_with(bytes);
    }
    if short { Err(()) } else { Ok(None) }
}

fn text(bytes: &[u8], port: u16) -> Recognised {
    let mut short = false;
    for (text, protocol) in TEXTS.iter().chain(&OTHER_METHODS) {
        if bytes.starts_with(text) {
            return text_protocol(*protocol, bytes, port);
        }
        short |= text.starts_with(bytes);
    }
    match method(bytes) {
        Ok(Some(_)) => of_request_line(bytes),
        Ok(None) if !short => Recognised::Nothing,
        Ok(None) | Err(()) => Recognised::Short,
    }
}

/// Bytes in which a first line has to end if its end is to tell protocols apart: what is said of a stream must not depend
/// on how it was cut into segments.
const LINE_BYTES_MAX: usize = 64;

/// The first line; `Err` where its end may still come.
fn first_line(bytes: &[u8]) -> Result<&[u8], ()> {
    let within = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    match memchr(b'\n', within) {
        Some(end) => Ok(within.get(..end).unwrap_or_default().trim_ascii_end()),
        None if within.len() == LINE_BYTES_MAX => Ok(within),
        None => Err(()),
    }
}

/// Greetings of mail and file servers look alike: the line must be there before one of them is told.
fn text_protocol(protocol: Protocol, bytes: &[u8], port: u16) -> Recognised {
    Recognised::As(match protocol {
        Protocol::Smtp if port == FTP_PORT => Protocol::Ftp,
        Protocol::Smtp => match first_line(bytes) {
            Ok(line) if memmem::find(line, b"FTP").is_some() => Protocol::Ftp,
            Ok(_) => Protocol::Smtp,
            Err(()) => return Recognised::Short,
        },
        Protocol::Ftp if port == POP3_PORT => Protocol::Pop3,
        // A password for Redis, or FTP asks for TLS.
        Protocol::Redis => match first_line(bytes) {
            Ok(b"AUTH TLS" | b"AUTH SSL") => Protocol::Ftp,
            Ok(_) => Protocol::Redis,
            Err(()) => return Recognised::Short,
        },
        other => other,
    })
}

/// A command of Redis, which is an array of strings: how many, and the first one's length.
fn redis(bytes: &[u8]) -> Recognised {
    match bytes {
        [b'*', _, b'\r', b'\n', b'$', ..] => Recognised::As(Protocol::Redis),
        [b'*', _] | [b'*', _, b'\r'] | [b'*', _, b'\r', b'\n'] => Recognised::Short,
        _ => Recognised::Nothing,
    }
}

/// RTSP and SIP share methods with HTTP; the version at the line's end tells. A line that is too long is HTTP's.
fn of_request_line(bytes: &[u8]) -> Recognised {
    match first_line(bytes) {
        Ok(line) if line.ends_with(b" RTSP/1.0") => Recognised::As(Protocol::Rtsp),
        Ok(line) if line.ends_with(b" SIP/2.0") => Recognised::As(Protocol::Sip),
        Ok(_) => Recognised::As(Protocol::Http),
        Err(()) => Recognised::Short,
    }
}

fn binary(bytes: &[u8]) -> Recognised {
    match bytes {
        // A session message with SMB 1, 2 or 3.
        [0, _, _, _, 0xfd..=0xff, b'S', b'M', b'B', ..] => Recognised::As(Protocol::Smb),
        // A startup message of version 3.0, or the request for TLS.
        [0, 0, _, _, 0, 3, 0, 0, ..] | [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f, ..] => {
            Recognised::As(Protocol::Postgres)
        }
        // TPKT with an X.224 connection request or confirm.
        [3, 0, _, _, _, 0xe0 | 0xd0, ..] => Recognised::As(Protocol::Rdp),
        // CONNECT of versions 3.1.1 and 5; its length has one or two bytes.
        [0x10, _, 0, 4, b'M', b'Q', b'T', b'T', ..] | [0x10, _, _, 0, 4, b'M', b'Q', b'T', b'T', ..] => {
            Recognised::As(Protocol::Mqtt)
        }
        // What is wanted of encryption is settled first ([MS-TDS] 2.2.6.5): a whole message, whose first option is the version.
        [0x12, 1, 0, _, 0, 0, _, 0, 0, ..] => Recognised::As(Protocol::SqlServer),
        // A bindRequest (RFC 4511 section 4.2).
        [0x30, ..] if login::ldap_operation(bytes).is_some_and(|rest| rest.first() == Some(&0x60)) => {
            Recognised::As(Protocol::Ldap)
        }
        // Options are settled first (RFC 854): WILL, WONT, DO, DONT.
        [0xff, 0xfb..=0xfe, _, ..] => Recognised::As(Protocol::Telnet),
        [first, ..] if bytes.len() < if *first == 0x30 { LDAP_BYTES } else { 9 } => Recognised::Short,
        _ => Recognised::Nothing,
    }
}

/// A greeting shorter than 256 bytes: packet number 0, protocol 10, a version that begins with a digit.
fn is_mysql(bytes: &[u8]) -> bool {
    matches!(bytes, [_, 0, 0, 0, 10, b'0'..=b'9', ..])
}

fn may_be_mysql(bytes: &[u8]) -> bool {
    matches!(bytes, [_] | [_, 0] | [_, 0, 0] | [_, 0, 0, 0] | [_, 0, 0, 0, 10])
}
