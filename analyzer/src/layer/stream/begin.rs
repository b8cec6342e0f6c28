//! How a direction begins: what its first bytes are, and who reads it from there on.

use crate::layer::counter::LayerCounter::StreamsRecognised;
use crate::layer::login;
use crate::layer::recognise::{Recognised, recognise};
use crate::layer::record::Protocol;
use crate::layer::slot::Phase;
use crate::layer::turn::{Bytes, Step, Turn};
use crate::layer::version::Version;

/// The first bytes of a direction. What is not recognised is followed no further, unless this is the middle of a stream,
/// or the other direction speaks a protocol whose messages can be found again.
pub(super) fn start(turn: &mut Turn<'_>, bytes: Bytes<'_>, responder_port: u16) -> Step {
    if let Some(known) = turn.slot.protocol
        && !matches!(known, Protocol::Tls | Protocol::Http | Protocol::Dns)
    {
        return if login::is_read(known) { begin(turn, known) } else { Step::Over };
    }
    match recognise(bytes.all, responder_port) {
        Recognised::Short => Step::Wait,
        Recognised::As(protocol) if turn.slot.protocol.is_none_or(|known| known == protocol) => {
            if turn.slot.protocol.is_none() {
                turn.sums.count(StreamsRecognised);
                turn.slot.protocol = Some(protocol);
            }
            begin(turn, protocol)
        }
        Recognised::As(_) => Step::Over,
        Recognised::Nothing => {
            let in_the_middle = turn.slot.phase[turn.from] == Phase::Fresh;
            if in_the_middle || turn.slot.protocol.is_some() { Step::Lost } else { Step::Over }
        }
    }
}

fn begin(turn: &mut Turn<'_>, protocol: Protocol) -> Step {
    match first_phase(protocol) {
        Some(phase) => {
            turn.slot.phase[turn.from] = phase;
            Step::Took(0)
        }
        None => {
            if protocol == Protocol::Http2 {
                turn.sums.versions.add(Version::Http2);
            }
            Step::Over
        }
    }
}

/// Of the protocols whose messages are read.
const fn first_phase(protocol: Protocol) -> Option<Phase> {
    match protocol {
        Protocol::Dns => Some(Phase::Dns),
        Protocol::Http => Some(Phase::HttpHead),
        Protocol::Tls => Some(Phase::TlsRecord),
        known if login::is_read(known) => Some(Phase::Login),
        _ => None,
    }
}
