//! Who says that an address is theirs: ARP over Ethernet for IPv4 (RFC 826).
//!
//! Told of an ARP packet: that its sender's address was another host's a moment ago, and that it answers what nobody asked.
//! Limits: [`PLACES`] addresses and as many questions, each at one place by its hash: what takes the place of another
//! makes that one new again, so that what is told is at least so much. Called by [`super::Follower`] for each ARP packet;
//! all of them are one partition's.

use tidegauge_ebpf::frame::{Frame, Header};

use crate::fact::{Fact, Facts};

/// Addresses, and questions, that are remembered, 16 KiB together.
const PLACES: usize = 512;
/// How long a question waits for its answer: an ARP request is sent again after a second.
const ANSWERED_WITHIN_NS: u64 = 2_000_000_000;
const HEADER_BYTES: usize = 28;
const OPERATION_AT: usize = 6;
const SENDER_HARDWARE_AT: usize = 8;
const SENDER_ADDRESS_AT: usize = 14;
const TARGET_ADDRESS_AT: usize = 24;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// What is known of an address, or of who asked for one.
#[derive(Clone, Copy, Default)]
struct Claim {
    address: u32,
    hardware: [u8; 6],
}

#[derive(Clone, Copy, Default)]
struct Question {
    asker: u32,
    wanted: u32,
    asked_ns: u64,
    /// Times that it was asked and not answered.
    waits: u8,
}

/// All that is remembered.
pub(super) struct Neighbours {
    claims: Box<[Claim]>,
    questions: Box<[Question]>,
}

fn place(sum: u32) -> usize {
    (sum.wrapping_mul(0x9e37_79b9) >> 16) as usize % PLACES
}

impl Neighbours {
    pub(super) fn new() -> Self {
        Self {
            claims: vec![Claim::default(); PLACES].into_boxed_slice(),
            questions: vec![Question::default(); PLACES].into_boxed_slice(),
        }
    }

    /// Takes an ARP packet, its bytes from its header on.
    pub(super) fn note(&mut self, packet: &[u8], now_ns: u64, facts: &mut Facts) {
        let Some(header) = packet.header::<HEADER_BYTES>(0) else { return };
        let (sender, target) = (header.u32(SENDER_ADDRESS_AT), header.u32(TARGET_ADDRESS_AT));
        let operation = header.u16(OPERATION_AT);
        // Who has no address yet asks for the one it wants.
        if sender == 0 || !matches!(operation, REQUEST | REPLY) {
            return;
        }
        let mut hardware = [0; 6];
        hardware.copy_from_slice(&header[SENDER_HARDWARE_AT..SENDER_HARDWARE_AT + 6]);
        let known = &mut self.claims[place(sender)];
        facts.set_if(known.address == sender && known.hardware != hardware, Fact::AddressMoved);
        *known = Claim { address: sender, hardware };
        if operation == REQUEST {
            let question = &mut self.questions[place(sender ^ target.rotate_left(16))];
            let is_again = (question.asker, question.wanted) == (sender, target);
            let waits = if is_again { question.waits.saturating_add(1) } else { 1 };
            *question = Question { asker: sender, wanted: target, asked_ns: now_ns, waits };
            return;
        }
        let question = &mut self.questions[place(target ^ sender.rotate_left(16))];
        let is_answer = (question.asker, question.wanted) == (target, sender)
            && question.waits != 0
            && now_ns.saturating_sub(question.asked_ns) <= ANSWERED_WITHIN_NS;
        facts.set_if(!is_answer, Fact::AddressUnasked);
        // One question has one answer: another one behind it was not asked for.
        question.waits -= u8::from(is_answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(operation: u8, host: u8, sender: u8, target: u8) -> Vec<u8> {
        let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, host];
        packet.extend([192, 0, 2, sender, 0, 0, 0, 0, 0, 0, 192, 0, 2, target]);
        packet
    }

    fn told(neighbours: &mut Neighbours, packet: &[u8], now_s: u64) -> (bool, bool) {
        let mut facts = Facts::NONE;
        neighbours.note(packet, now_s * 1_000_000_000, &mut facts);
        (facts.has(Fact::AddressMoved), facts.has(Fact::AddressUnasked))
    }

    #[test]
    fn an_answer_is_asked_for_once_and_an_address_moves_with_its_hardware() {
        let mut neighbours = Neighbours::new();
        assert_eq!(told(&mut neighbours, &packet(1, 7, 7, 1), 1), (false, false));
        assert_eq!(told(&mut neighbours, &packet(2, 1, 1, 7), 1), (false, false));
        assert_eq!(told(&mut neighbours, &packet(2, 66, 1, 7), 1), (true, true));
        assert_eq!(told(&mut neighbours, &packet(2, 66, 1, 7), 3), (false, true));
        assert_eq!(told(&mut neighbours, &packet(1, 1, 1, 9), 4), (true, false));
        // Too late to be an answer.
        assert_eq!(told(&mut neighbours, &packet(2, 9, 9, 1), 7), (false, true));
        assert_eq!(told(&mut neighbours, &packet(2, 9, 9, 1)[..20], 7), (false, false));
    }
}
