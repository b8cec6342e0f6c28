//! Conversations in which everything happens that TCP analysis has a word for, and how they end up in a capture.
//!
//! A conversation is an opening, one to five troubles and a closing, all drawn by the seed; one in six goes on with a
//! second life on the same ports. What the capture then shows of it is drawn as well: all, one direction, not the
//! start, not everything, or some packets twice. Judged by tshark, every judgement occurs (see the tests); the truth
//! only counts what needs no judge.

mod closing;
mod dialogue;
mod episode;
mod opening;
mod view;
mod window;

use std::io::{self, Write};
use std::net::Ipv6Addr;

use self::dialogue::{Dialogue, Features};
use super::sink::{Packet, Sink};
use super::timeline::{Conversation, Timeline};
use crate::rng::Rng;
use crate::wire::{Addresses, Direction, Path};

/// Mean time between two conversations: some hundred are open at a time.
const ARRIVAL_GAP_US: u64 = 20_000;
const TROUBLES_MAX: u64 = 5;
/// Conversations that have another life on the same ports, per million.
const REUSED_PER_MILLION: u64 = 170_000;
const LIVES_MAX: usize = 3;

/// So many conversations.
pub(super) fn adversarial<W: Write>(conversations: u64, rng: &mut Rng, sink: &mut Sink<W>) -> io::Result<()> {
    let mut timeline = Timeline::default();
    let mut at_us = 0;
    for number in 0..conversations {
        let mut own = rng.fork();
        let path = path(number, &mut own);
        let shown = view::draw(lives(&path, at_us, &mut own), &mut own);
        sink.truth.captured_twice += shown.twice;
        sink.truth.tcp_flows += 1;
        let packets = shown.segments.into_iter().map(Packet::Tcp).collect();
        timeline.start(Conversation::whole(path, packets), sink);
        at_us += rng.range(0, 2 * ARRIVAL_GAP_US);
        timeline.drain(at_us, sink)?;
    }
    timeline.drain(u64::MAX, sink)
}

/// One or more conversations, one after the other, between the same ports.
fn lives(path: &Path, start_us: u64, rng: &mut Rng) -> Dialogue {
    let mut dialogue = Dialogue::new(start_us, Features::draw(path, rng), rng.fork());
    for _ in 0..LIVES_MAX {
        if opening::play(&mut dialogue) == opening::Outcome::Open {
            for _ in 0..dialogue.rng.range(1, TROUBLES_MAX + 1) {
                let sender = dialogue.either_end();
                episode::play(&mut dialogue, sender);
                dialogue.rest();
            }
            closing::play(&mut dialogue);
        }
        if !dialogue.rng.chance(REUSED_PER_MILLION) {
            break;
        }
        dialogue.start_over(Features::draw(path, rng));
    }
    dialogue
}

/// Addresses and ports: one in five IPv6, one in thirty tagged; no two conversations share them.
fn path(number: u64, rng: &mut Rng) -> Path {
    let host = (number % 50_000) as u16;
    let addresses = if rng.chance(200_000) {
        let address = |net: u16, host: u16| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host);
        Addresses::V6(address(7, host), address(8, rng.range(1, 40) as u16))
    } else {
        let [high, low] = host.to_be_bytes();
        Addresses::V4([10, 20, high, low].into(), [198, 51, 100, rng.range(1, 40) as u8].into())
    };
    let listener = [80, 443, 5001, 8080][rng.range(0, 4) as usize];
    let port = 20_000 + (number / 50_000 * 41 + rng.range(0, 40)) as u16;
    let vlan = rng.chance(33_000).then_some(7);
    Path { addresses, ports: (port, listener), vlan, ttl: rng.range(40, 65) as u8 }
}

/// The end that a segment of this direction goes to.
const fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Forward => Direction::Reverse,
        Direction::Reverse => Direction::Forward,
    }
}
