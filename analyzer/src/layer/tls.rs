//! TLS over TCP (RFC 5246, RFC 8446): records are passed over by their length, but for hellos, the leaf certificate
//! and alerts.
//!
//! A direction of TLS 1.3 is over with its first encrypted record. One up to TLS 1.2 is followed to its end, a header in
//! 16 KiB, because its alerts stay visible as records; their content, once encrypted, does not.

use super::buffer::BUFFER_BYTES;
use super::certificate::{NoDate, not_after_s};
use super::counter::LayerCounter::*;
use super::detail::Text;
use super::hello::{ClientHello, ServerHello};
use super::ja4::ja4;
use super::recognise::Recognised;
use super::record::Protocol;
use super::slot::{Phase, Slot, flag};
use super::turn::{Bytes, Step, Turn};
use super::version::Version;

const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;
/// RFC 5246 section 6.2.3: the longest encrypted record.
const RECORD_BYTES_MAX: usize = (1 << 14) + 2048;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

const FATAL: u8 = 2;

/// Content type and length of the record that begins here.
fn record_header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, 3, 0..=4, high, low, ..] = *bytes else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    ((CHANGE_CIPHER_SPEC..=24).contains(&kind) && length != 0 && length <= RECORD_BYTES_MAX)
        .then_some((kind, length))
}

/// Whether a record header begins here.
pub(super) fn recognise(bytes: &[u8]) -> Recognised {
    match *bytes {
        [_] | [_, 3] | [_, 3, 0..=4] | [_, 3, 0..=4, _] => Recognised::Short,
        _ if record_header(bytes).is_some() => Recognised::As(Protocol::Tls),
        _ => Recognised::Nothing,
    }
}

/// Whether a record may begin here.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    record_header(bytes).is_some()
}

/// At the end of a connection: whether a ClientHello waits. (A ServerHello ends the time for which it waits.) Not where
/// nothing was captured of the responder, not even its handshake.
pub(super) const fn is_unanswered(slot: &Slot) -> bool {
    let one_hello = (slot.has(flag::HELLO)) != (slot.has(flag::HELLO << 1));
    matches!(slot.protocol, Some(Protocol::Tls))
        && one_hello
        && slot.asked_us != 0
        && !slot.has(flag::ALERTED)
}

/// A record's header.
pub(super) fn record(turn: &mut Turn<'_>, bytes: Bytes<'_>) -> Step {
    if bytes.all.len() < RECORD_HEADER_BYTES {
        return Step::Wait;
    }
    let Some((kind, length)) = record_header(bytes.all) else { return Step::Lost };
    let whole = Step::Took((RECORD_HEADER_BYTES + length) as u32);
    match kind {
        CHANGE_CIPHER_SPEC => {
            turn.slot.flags |= flag::CIPHERED << turn.from;
            whole
        }
        ALERT => alert(turn, bytes.all, length, whole),
        HANDSHAKE => handshake(turn, bytes.all, length, whole),
        APPLICATION_DATA => {
            turn.slot.flags |= flag::CIPHERED << turn.from;
            if turn.slot.has(flag::V13) {
                return Step::Over;
            }
            time_application_data(turn);
            whole
        }
        _ => whole,
    }
}

fn alert(turn: &mut Turn<'_>, bytes: &[u8], length: usize, whole: Step) -> Step {
    if turn.slot.has(flag::CIPHERED << turn.from) || length != 2 {
        turn.sums.count(TlsAlerts);
        turn.sums.count(TlsAlertsEncrypted);
        return whole;
    }
    let Some([level, description]) = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + 2) else {
        return Step::Wait;
    };
    let (level, description, from) = (*level, *description, turn.from as u8);
    turn.sums.count(TlsAlerts);
    turn.sums.count(if level == FATAL { TlsAlertsFatal } else { TlsAlertsWarning });
    let described = &mut turn.sums.alert_descriptions[usize::from(description)];
    *described = described.saturating_add(1);
    if level == FATAL && !turn.slot.has(flag::FAILED) {
        turn.sums.count(TlsHandshakeFailures);
        match description {
            // protocol_version, inappropriate_fallback.
            70 | 86 => turn.sums.count(TlsVersionRefused),
            // From no_certificate to unknown_ca, and certificate_required.
            41..=46 | 48 | 116 => turn.sums.count(TlsCertificateRefused),
            _ => {}
        }
        turn.slot.flags |= flag::FAILED;
    }
    turn.slot.flags |= flag::ALERTED;
    if let Some(detail) = turn.tls() {
        detail.alert.get_or_insert((level, description, from));
    }
    whole
}

/// A handshake record is looked into for the direction's hello and for a certificate; later only where it is a hello
/// again, as after a HelloRetryRequest. Encrypted bytes look like one in one of 2^31 records.
fn handshake(turn: &mut Turn<'_>, bytes: &[u8], length: usize, whole: Step) -> Step {
    let Some(header) = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + MESSAGE_HEADER_BYTES) else {
        return Step::Wait;
    };
    let (kind, message_length) = message_header(header);
    let is_hello = matches!(kind, CLIENT_HELLO | SERVER_HELLO) && message_length + 4 <= RECORD_BYTES_MAX;
    let is_next = is_hello && message_length + MESSAGE_HEADER_BYTES == length;
    let is_clear = !turn.slot.has(flag::CIPHERED << turn.from);
    let is_first = is_hello && is_clear && !turn.slot.has(flag::HELLO << turn.from);
    if is_next || is_first || (is_clear && kind == CERTIFICATE) {
        turn.slot.phase[turn.from] = Phase::TlsMessage;
        turn.slot.extra[turn.from] = length as u16;
        return Step::Took(RECORD_HEADER_BYTES as u32);
    }
    whole
}

fn message_header(bytes: &[u8]) -> (u8, usize) {
    match *bytes {
        [kind, a, b, c, ..] => (kind, u32::from_be_bytes([0, a, b, c]) as usize),
        _ => (0, 0),
    }
}

/// A message in a handshake record.
pub(super) fn message(turn: &mut Turn<'_>, bytes: Bytes<'_>) -> Step {
    let left = usize::from(turn.slot.extra[turn.from]);
    if left < MESSAGE_HEADER_BYTES {
        return rest_of_record(turn);
    }
    if bytes.all.len() < MESSAGE_HEADER_BYTES {
        return Step::Wait;
    }
    let (kind, length) = message_header(bytes.all);
    let whole = MESSAGE_HEADER_BYTES + length;
    let body = bytes.all.get(MESSAGE_HEADER_BYTES..whole.min(left).min(bytes.all.len())).unwrap_or_default();
    let is_whole = body.len() == length;
    match kind {
        CLIENT_HELLO if is_whole => {
            client_hello(turn, body);
            rest_of_record(turn)
        }
        SERVER_HELLO if is_whole => {
            server_hello(turn, body);
            if turn.slot.has(flag::V13) {
                return rest_of_record(turn);
            }
            turn.slot.extra[turn.from] -= whole as u16;
            Step::Took(whole as u32)
        }
        CERTIFICATE => match certificate(turn, body) {
            Err(NoDate::Short) if !is_whole => incomplete(turn, bytes, left),
            Err(NoDate::Malformed | NoDate::Short) => {
                turn.sums.count(TlsMalformed);
                rest_of_record(turn)
            }
            Ok(()) => rest_of_record(turn),
        },
        CLIENT_HELLO | SERVER_HELLO => incomplete(turn, bytes, left),
        _ => rest_of_record(turn),
    }
}

/// The other messages of a record are of no interest.
fn rest_of_record(turn: &mut Turn<'_>) -> Step {
    let left = std::mem::take(&mut turn.slot.extra[turn.from]);
    turn.slot.phase[turn.from] = Phase::TlsRecord;
    Step::Took(u32::from(left))
}

/// A message of which bytes are missing: they are yet to come, or stand in the next record, whose header is then taken
/// out from between.
fn incomplete(turn: &mut Turn<'_>, bytes: Bytes<'_>, left: usize) -> Step {
    if bytes.all.len() < left + RECORD_HEADER_BYTES {
        return Step::Wait;
    }
    let next = bytes.all.get(left..).and_then(record_header);
    let joined = next.filter(|(kind, _)| *kind == HANDSHAKE).map(|(_, length)| left + length);
    match joined {
        Some(joined) if joined <= BUFFER_BYTES && bytes.buffered => {
            turn.slot.extra[turn.from] = joined as u16;
            Step::CutOut(left, RECORD_HEADER_BYTES)
        }
        Some(joined) if joined <= BUFFER_BYTES => Step::Wait,
        _ => {
            turn.sums.count(TlsMalformed);
            rest_of_record(turn)
        }
    }
}

fn client_hello(turn: &mut Turn<'_>, body: &[u8]) {
    turn.sums.count(TlsClientHellos);
    // After a HelloRetryRequest it comes again with other extensions: what the client is, its first one says.
    let again = turn.slot.has(flag::HELLO << turn.from);
    turn.slot.flags |= flag::HELLO << turn.from;
    let Some(hello) = ClientHello::of(body) else { return turn.sums.count(TlsMalformed) };
    if !again && let Some(detail) = turn.tls() {
        detail.sni = Text::of(hello.server_name().unwrap_or_default());
        detail.alpn_offered = Text::of(hello.first_alpn().unwrap_or_default());
        detail.version_offered = hello.highest_version();
        detail.ja4 = ja4(&hello).map_or_else(Text::default, |fingerprint| Text::of(&fingerprint));
    }
}

fn server_hello(turn: &mut Turn<'_>, body: &[u8]) {
    turn.sums.count(TlsServerHellos);
    let Some(hello) = ServerHello::of(body) else { return turn.sums.count(TlsMalformed) };
    let version = Version::of_tls(hello.version);
    if version == Version::Tls13 {
        turn.slot.flags |= flag::V13;
    }
    let waited_us =
        if turn.slot.has(flag::HELLO << turn.from) { None } else { turn.slot.waited_us(turn.now_us) };
    if !hello.is_retry {
        turn.slot.flags |= flag::HELLO << turn.from;
        turn.sums.versions.add(version);
        turn.slot.asked_us = 0;
        if let Some(us) = waited_us {
            turn.sums.tls_hello_us.record(us);
        }
    }
    if let Some(detail) = turn.tls() {
        detail.version = hello.version;
        detail.cipher = Some(hello.cipher);
        detail.alpn = Text::of(hello.alpn.unwrap_or_default());
        if !hello.is_retry {
            detail.hello_us = waited_us;
        }
    }
}

/// Reads the end of the first certificate of the list, as far as that has come.
fn certificate(turn: &mut Turn<'_>, body: &[u8]) -> Result<(), NoDate> {
    // Length of the list, length of the first certificate.
    let leaf = body.get(6..).ok_or(NoDate::Short)?;
    let not_after_s = not_after_s(leaf)?;
    turn.sums.certificate(not_after_s, turn.ts_ns);
    if let Some(detail) = turn.tls() {
        detail.not_after_s.get_or_insert(not_after_s);
    }
    Ok(())
}

/// From the first application data of the initiator to the first of the responder, where both hellos were seen.
fn time_application_data(turn: &mut Turn<'_>) {
    let both = flag::HELLO | flag::HELLO << 1;
    if turn.slot.flags & both != both || turn.slot.has(flag::TIMED) {
        return;
    }
    if turn.from == 0 {
        if turn.slot.asked_us == 0 {
            turn.slot.asked_us = turn.now_us;
        }
        return;
    }
    turn.slot.flags |= flag::TIMED;
    let Some(us) = turn.slot.waited_us(turn.now_us) else { return };
    turn.sums.tls_ttfb_us.record(us);
    if let Some(detail) = turn.tls() {
        detail.ttfb_us = Some(us);
    }
}
