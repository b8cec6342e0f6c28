//! Interleaves conversations by time, as they would share a link.
//!
//! A conversation hands over one round of packets at a time (a handshake, a congestion window, a close); the next
//! round starts after the last packet of the one before. Memory is therefore bounded by open conversations times
//! one round. Ties in time go to the conversation started first, so the order is a function of the seed alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Write};

use super::script::TcpScript;
use super::sink::{Packet, Sink};
use crate::wire::Path;

/// A conversation and the packets of its current round.
pub(super) struct Conversation {
    path: Path,
    round: VecDeque<Packet>,
    script: Option<Box<TcpScript>>,
}

impl Conversation {
    /// TCP: rounds come from the script.
    pub(super) fn tcp(path: Path, script: TcpScript) -> Self {
        Self { path, round: VecDeque::new(), script: Some(Box::new(script)) }
    }

    /// A conversation that is known from its first packet to its last: one round.
    pub(super) fn whole(path: Path, round: VecDeque<Packet>) -> Self {
        Self { path, round, script: None }
    }
}

/// Open conversations, ordered by when each speaks next.
#[derive(Default)]
pub(super) struct Timeline {
    slots: Vec<Option<Conversation>>,
    free: Vec<usize>,
    /// (time, order of arrival in the heap, slot) of each open conversation, exactly once.
    next: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pushed: u64,
}

impl Timeline {
    /// Opens a conversation; it must have nothing to say before what was already drained.
    pub(super) fn start<W: Write>(&mut self, conversation: Conversation, sink: &mut Sink<W>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.reschedule(slot, conversation, sink);
    }

    /// Writes everything that is due before `until_us`.
    pub(super) fn drain<W: Write>(&mut self, until_us: u64, sink: &mut Sink<W>) -> io::Result<()> {
        while let Some(&Reverse((at_us, _, slot))) = self.next.peek() {
            if at_us >= until_us {
                break;
            }
            self.next.pop();
            if let Some(mut conversation) = self.slots[slot].take() {
                if let Some(packet) = conversation.round.pop_front() {
                    sink.packet(&conversation.path, &packet)?;
                }
                self.reschedule(slot, conversation, sink);
            }
        }
        Ok(())
    }

    /// Puts `conversation` into `slot` by the time of its next packet, or frees the slot where it has none left.
    fn reschedule<W: Write>(&mut self, slot: usize, mut conversation: Conversation, sink: &mut Sink<W>) {
        while conversation.round.is_empty() {
            let Some(script) = &mut conversation.script else { break };
            if !script.next_round(&mut conversation.round, &mut sink.truth) {
                break;
            }
        }
        match conversation.round.front() {
            Some(packet) => {
                self.next.push(Reverse((packet.at_us(), self.pushed, slot)));
                self.pushed += 1;
                self.slots[slot] = Some(conversation);
            }
            None => self.free.push(slot),
        }
    }
}
