//! HTTP/1 (RFC 9112): heads are read, bodies are passed over by their length.
//!
//! A head is read when it is there whole, with a form where that is its body; of its fields only those that give the
//! length of the body, and passwords ([`super::password`]). Tolerant as
//! servers are: a bare line feed ends a line, names are compared without case, what is not understood is passed by.
//! By hand, because a parser that wants every field well-formed counts fewer messages than were answered.

use memchr::{memchr, memchr_iter};

use super::counter::LayerCounter::*;
use super::password;
use super::recognise;
use super::record::Protocol;
use super::slot::{NO_DETAIL, Phase, Slot, flag};
use super::sums::METHODS;
use super::turn::{Bytes, Step, Turn};
use super::version::Version;

/// Longest body that is passed over: sequence numbers compare right within 2^31, and segments may come from behind it.
const BODY_BYTES_MAX: u64 = 1 << 30;
/// Longest body that is read as a form: names and passwords are short.
const FORM_BYTES_MAX: u64 = 1_024;
/// Its type.
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// Digits and extensions of a chunk's size line.
const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Requests that wait whose kind is remembered: bits of a number.
const REMEMBERED: u16 = 16;

/// Whether a message may begin here.
pub(super) fn may_begin(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.") || matches!(recognise::method(bytes), Ok(Some(_)))
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Bytes(u64),
    Chunks,
    UntilClose,
}

/// What the fields of a head say of its body.
#[derive(Clone, Copy, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    /// The body is a form's parameters.
    is_form: bool,
    /// A hash of the credentials.
    password: Option<u32>,
}

/// A request's or response's head.
pub(super) fn head(turn: &mut Turn<'_>, bytes: Bytes<'_>) -> Step {
    // RFC 9112 section 2.2: empty lines before a message are passed over.
    let empty = bytes.all.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if empty != 0 {
        return Step::Took(empty as u32);
    }
    // A head of POST may have been complete before: it waits for its form.
    let from = if bytes.all.starts_with(b"POST") { 0 } else { bytes.fresh_from.saturating_sub(3) };
    let is_response = bytes.all.starts_with(b"HTTP");
    if !is_response && matches!(recognise::method(bytes.all), Ok(None)) {
        let short = bytes.all.len() < 4 && b"HTTP".starts_with(bytes.all);
        return if short { Step::Wait } else { Step::Lost };
    }
    let Some(len) = head_len(bytes.all, from) else {
        time_first_byte(turn, is_response);
        return Step::Wait;
    };
    let head = bytes.all.get(..len).unwrap_or_default();
    if is_response {
        return response(turn, head);
    }
    let (_, fields) = split_line(head);
    let framing = framing(fields);
    let form = framing.length.filter(|length| framing.is_form && *length <= FORM_BYTES_MAX);
    let form = form.map_or(0, |length| length as usize);
    match bytes.all.get(len..len + form) {
        Some(form) => request(turn, head, &framing, form),
        None if turn.is_cut => request(turn, head, &framing, &[]),
        // A form is small, and read with its head.
        None => {
            time_first_byte(turn, false);
            Step::Wait
        }
    }
}

/// Bytes up to and with the empty line, which may end only at or behind `from`.
fn head_len(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    memchr_iter(b'\n', tail).map(|at| from + at).find_map(|at| match bytes.get(at + 1..) {
        Some([b'\n', ..]) => Some(at + 2),
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        _ => None,
    })
}

/// What is timed is the first byte of a message, also where its head is not there whole.
fn time_first_byte(turn: &mut Turn<'_>, is_response: bool) {
    if is_response {
        take_latency(turn);
    } else if turn.slot.extra[0] == 0 && turn.slot.asked_us == 0 {
        turn.slot.asked_us = turn.now_us;
    }
}

fn take_latency(turn: &mut Turn<'_>) {
    let Some(us) = turn.slot.waited_us(turn.now_us) else { return };
    turn.slot.asked_us = 0;
    turn.sums.http_latency_us.record(us);
    if let Some(detail) = turn.http() {
        detail.latency(us);
    }
}

fn request(turn: &mut Turn<'_>, head: &[u8], framing: &Framing, form: &[u8]) -> Step {
    let Ok(Some(method)) = recognise::method(head) else { return Step::Lost };
    let (line, _) = split_line(head);
    note_password(turn, line, framing, form);
    turn.sums.count(HttpRequests);
    turn.sums.methods[method.min(METHODS.len() - 1)] += 1;
    turn.sums.versions.add(version_of(line.trim_ascii_end()));
    if turn.slot.extra[0] == 0 {
        turn.slot.extra[1] = 0;
        if turn.slot.asked_us == 0 {
            turn.slot.asked_us = turn.now_us;
        }
    }
    let [waiting, heads] = &mut turn.slot.extra;
    if *waiting < REMEMBERED && METHODS.get(method) == Some(&"HEAD") {
        *heads |= 1 << *waiting;
    }
    *waiting = waiting.saturating_add(1);
    if METHODS.get(method) == Some(&"CONNECT") && turn.from == 0 {
        turn.slot.flags |= flag::CONNECT;
    }
    if let Some(detail) = turn.http() {
        detail.requests = detail.requests.saturating_add(1);
    }
    let body = match *framing {
        Framing { chunked: true, .. } => Body::Chunks,
        Framing { length, .. } => Body::Bytes(length.unwrap_or(0)),
    };
    pass(turn, head.len(), body)
}

/// Passwords of the request: in its fields, its query, its form.
fn note_password(turn: &mut Turn<'_>, line: &[u8], framing: &Framing, form: &[u8]) {
    turn.slot.flags &= !flag::PASSWORD;
    if let Some(password) = framing.password {
        if turn.passwords.is_new(turn.ends, password) {
            turn.slot.flags |= flag::PASSWORD;
        }
        return;
    }
    let query = || {
        let query = line.get(memchr(b'?', line)? + 1..)?;
        query.split(|byte| *byte == b' ').next()
    };
    let sent = password::of_form(form).or_else(|| password::of_form(query()?));
    if sent.is_some_and(|password| turn.passwords.is_new(turn.ends, password)) {
        turn.sums.count(HttpPasswordsSent);
    }
}

fn response(turn: &mut Turn<'_>, head: &[u8]) -> Step {
    let (line, fields) = split_line(head);
    let Some(status) = status(line) else {
        turn.sums.count(HttpMalformed);
        return Step::Lost;
    };
    count_status(turn, status);
    turn.sums.versions.add(version_of(line.get(..8).unwrap_or_default()));
    // 101 is final (RFC 9110 section 15.2.2); the other 1xx announce the response.
    if (100..200).contains(&status) && status != 101 {
        return Step::Took(head.len() as u32);
    }
    take_latency(turn);
    let to_head = turn.slot.extra[1] & 1 != 0;
    // Who asks for a tunnel does not answer itself.
    let to_connect = turn.slot.has(flag::CONNECT) && turn.from == 1 && turn.slot.extra[0] <= 1;
    turn.slot.extra = [turn.slot.extra[0].saturating_sub(1), turn.slot.extra[1] >> 1];
    if status == 101 {
        turn.slot.phase = [Phase::Done; 2];
        return Step::Over;
    }
    if to_connect {
        turn.slot.flags &= !flag::CONNECT;
        if (200..300).contains(&status) {
            return tunnel(turn, head.len());
        }
    }
    let framing = framing(fields);
    // RFC 9112 section 6.3, in its order.
    let body = if to_head || status == 204 || status == 304 {
        Body::Bytes(0)
    } else if framing.chunked {
        Body::Chunks
    } else {
        framing.length.map_or(Body::UntilClose, Body::Bytes)
    };
    pass(turn, head.len(), body)
}

fn count_status(turn: &mut Turn<'_>, status: u16) {
    turn.sums.count(HttpResponses);
    match status / 100 {
        1 => turn.sums.count(HttpStatus1xx),
        2 => turn.sums.count(HttpStatus2xx),
        3 => turn.sums.count(HttpStatus3xx),
        4 => turn.sums.count(HttpStatus4xx),
        5 => turn.sums.count(HttpStatus5xx),
        _ => {}
    }
    match status {
        401 if turn.slot.has(flag::PASSWORD) => turn.sums.count(HttpLoginsRefused),
        408 => turn.sums.count(HttpStatus408),
        _ => {}
    }
    if let Some(detail) = turn.http() {
        detail.responses = detail.responses.saturating_add(1);
        detail.last_status = status;
        let class = u32::from(status / 100 == 4);
        detail.status_4xx = detail.status_4xx.saturating_add(class);
        let class = u32::from(status / 100 == 5);
        detail.status_5xx = detail.status_5xx.saturating_add(class);
    }
}

/// A proxy opened a tunnel: what goes through it begins as any stream does. The proxy's own exchange is counted, but is
/// no longer described.
fn tunnel(turn: &mut Turn<'_>, head_bytes: usize) -> Step {
    turn.details.http.release(turn.slot.detail);
    *turn.slot = Slot {
        detail: NO_DETAIL,
        asked_us: 0,
        extra: [0; 2],
        phase: [Phase::Start; 2],
        missed: [0; 2],
        protocol: None,
        flags: 0,
        ..*turn.slot
    };
    Step::Took(head_bytes as u32)
}

/// Passes over a head and its body, as far as its length is known.
fn pass(turn: &mut Turn<'_>, head_bytes: usize, body: Body) -> Step {
    match body {
        Body::Bytes(length) if length <= BODY_BYTES_MAX => Step::Took(head_bytes as u32 + length as u32),
        Body::Bytes(_) => {
            turn.sums.count(HttpBodiesTooLong);
            Step::Over
        }
        Body::Chunks => {
            turn.slot.phase[turn.from] = Phase::HttpChunk;
            Step::Took(head_bytes as u32)
        }
        Body::UntilClose => Step::Over,
    }
}

/// A chunk's size line (RFC 9112 section 7.1); the chunk and the line end behind it are passed over.
pub(super) fn chunk(turn: &mut Turn<'_>, bytes: Bytes<'_>) -> Step {
    let Some(end) = memchr(b'\n', bytes.all) else {
        let too_long = bytes.all.len() > CHUNK_LINE_BYTES_MAX;
        return if too_long { malformed(turn) } else { Step::Wait };
    };
    let line = bytes.all.get(..end).unwrap_or_default();
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = std::str::from_utf8(line.get(..digits).unwrap_or_default()).unwrap_or_default();
    let Ok(size) = u64::from_str_radix(size, 16) else { return malformed(turn) };
    if size > BODY_BYTES_MAX {
        return malformed(turn);
    }
    let line_bytes = end as u32 + 1;
    if size == 0 {
        turn.slot.phase[turn.from] = Phase::HttpTrailer;
        return Step::Took(line_bytes);
    }
    Step::Took(line_bytes + size as u32 + 2)
}

/// A line behind the last chunk; an empty one ends the message.
pub(super) fn trailer(turn: &mut Turn<'_>, bytes: Bytes<'_>) -> Step {
    let Some(end) = memchr(b'\n', bytes.all) else { return Step::Wait };
    if end == 0 || bytes.all.starts_with(b"\r\n") {
        turn.slot.phase[turn.from] = Phase::HttpHead;
    }
    Step::Took(end as u32 + 1)
}

fn malformed(turn: &mut Turn<'_>) -> Step {
    turn.sums.count(HttpMalformed);
    Step::Lost
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    bytes.split_at(end.min(bytes.len()))
}

/// `HTTP/1.1 200 ...`
fn status(line: &[u8]) -> Option<u16> {
    let digits = line.get(8..)?.trim_ascii_start().first_chunk::<3>()?;
    let text = std::str::from_utf8(digits).ok()?;
    text.parse().ok().filter(|status| (100..1000).contains(status))
}

/// The version that a line ends with.
fn version_of(line: &[u8]) -> Version {
    match line {
        [.., b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] => Version::Http11,
        [.., b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'] => Version::Http10,
        _ => Version::HttpOther,
    }
}

/// The fields that frame the body, and credentials. Two different lengths are an attack or a mistake; the first is taken.
fn framing(fields: &[u8]) -> Framing {
    let mut framing = Framing::default();
    let mut rest = fields;
    while !rest.is_empty() {
        let (line, behind) = split_line(rest);
        rest = behind;
        // Both names are told by their first letter and length before they are compared.
        match line.first() {
            Some(b'C' | b'c') => {
                if let Some(value) = field(line, b"content-length") {
                    framing.length = framing.length.or_else(|| decimal(value));
                } else if let Some(value) = field(line, b"content-type") {
                    framing.is_form |=
                        value.get(..FORM.len()).is_some_and(|own| own.eq_ignore_ascii_case(FORM));
                }
            }
            Some(b'A' | b'a') => {
                if let Some(value) = field(line, b"authorization") {
                    framing.password = password::of_authorization(value);
                }
            }
            Some(b'T' | b't') => {
                if let Some(value) = field(line, b"transfer-encoding") {
                    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                    framing.chunked |= last.trim_ascii().eq_ignore_ascii_case(b"chunked");
                }
            }
            _ => {}
        }
    }
    framing
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// At the end of a connection: requests that waited.
pub(super) fn unanswered(slot: &Slot) -> u64 {
    if slot.protocol == Some(Protocol::Http) { u64::from(slot.extra[0]) } else { 0 }
}
