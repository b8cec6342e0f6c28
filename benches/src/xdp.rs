//! XDP programs to measure by: one that does nothing, and two that make each packet another flow's.
//!
//! A test run repeats one frame. To measure a flow table, [`Spread`] gives the frame another source address before each
//! call of the measured program: every address as often as the others ([`Order::Even`]), or most packets from a few
//! addresses ([`Order::Skewed`]). The sequence number moves on, so that each flow sees its segments in order. What that
//! costs is measured by putting the empty program behind it. Frames are untagged IPv4 without options; checksums are
//! not adjusted.

mod instruction;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::bpf;
use instruction::{EXIT, Instruction, REDIRECT, TAIL_CALL, instruction, op, set};

/// What a program returns that lets the frame pass.
pub const XDP_PASS: u32 = 2;
/// Payload of a frame that [`Spread`] varies: what the sequence number moves on by.
pub const PAYLOAD_BYTES: u16 = 52;
/// In skewed order, 1 packet in so many comes from any of the flows, the others from the busy ones.
const ANY_ONE_IN: i32 = 8;
/// In skewed order, 1 flow in so many is busy.
pub const BUSY_ONE_IN: u32 = 128;
/// Offset of the source address.
const SOURCE: i16 = 26;
/// Offset of the sequence number.
const SEQ: i16 = 38;
/// A linear congruence that visits every value of any number of low bits (Numerical Recipes' constants).
const MULTIPLIER: i32 = 1_664_525;
const INCREMENT: i32 = 1_013_904_223;
/// Its lower bits repeat soon; these many are not used where chance is wanted.
const WEAK_BITS: i32 = 9;

/// The empty program.
pub struct Pass(OwnedFd);

impl Pass {
    /// Loads it.
    pub fn load() -> io::Result<Self> {
        bpf::load(&[set(0, XDP_PASS as i32), EXIT]).map(Self)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which flow comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each once per lap, scattered.
    Even,
    /// By chance: 7 of 8 packets from 1/128 of the flows.
    Skewed,
}

/// The program that varies the flow and calls another.
pub struct Spread {
    program: OwnedFd,
    /// Holds the called program for as long as this one may run, and its own state.
    _maps: [Option<OwnedFd>; 2],
}

impl Spread {
    /// Loads it over `flows` flows, a power of two of at most 2^24 (2^20 where skewed), before `target`.
    pub fn load(flows: u32, order: Order, target: BorrowedFd<'_>) -> io::Result<Self> {
        let most = if order == Order::Even { 1 << 24 } else { 1 << 20 };
        assert!(flows.is_power_of_two() && flows <= most, "{flows} flows");
        let array = bpf::program_array()?;
        let mask = flows as i32 - 1;
        let number = bpf::number(array.as_fd());
        let (program, state) = match order {
            Order::Even => (bpf::load(&even(mask, number))?, None),
            Order::Skewed => {
                let state = bpf::memory(STATE_BYTES + 4 * flows)?;
                (bpf::load(&skewed(mask, number, bpf::number(state.as_fd())))?, Some(state))
            }
        };
        bpf::put(&array, target)?;
        Ok(Self { program, _maps: [Some(array), state] })
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// The program that sends each frame out of an interface, from another source than the one before.
pub struct Sender {
    program: OwnedFd,
    /// Holds its state.
    _state: OwnedFd,
}

impl Sender {
    /// Loads it for the interface of this index and `sources` source addresses, a power of two, drawn by chance.
    pub fn load(interface: u32, sources: u32) -> io::Result<Self> {
        assert!(sources.is_power_of_two() && sources <= 1 << 24, "{sources} sources");
        let state = bpf::memory(STATE_BYTES)?;
        let program = bpf::load(&sender(sources as i32 - 1, interface, bpf::number(state.as_fd())))?;
        Ok(Self { program, _state: state })
    }

    /// Sends frames.
    pub fn send(&self, frame: &[u8], frames: u32) -> io::Result<()> {
        bpf::send_live(self.program.as_fd(), frame, frames)
    }
}

/// Keeps the context in register 6, loads data and its end to 2 and 3; leaves to `or_else` where the frame is short.
fn enter(or_else: i16) -> [Instruction; 6] {
    [
        instruction(op::MOVE, 6, 1, 0, 0),
        instruction(op::LOAD_U32, 2, 1, 0, 0),
        instruction(op::LOAD_U32, 3, 1, 4, 0),
        instruction(op::MOVE, 4, 2, 0, 0),
        instruction(op::ADD_CONSTANT, 4, 0, 0, i32::from(SEQ) + 4),
        instruction(op::JUMP_IF_GREATER, 4, 3, or_else, 0),
    ]
}

/// Calls entry 0 of `array`; where that fails, the frame is aborted (`XDP_ABORTED`).
fn call(array: u32) -> [Instruction; 7] {
    let [low, high] = instruction::map(2, array, instruction::MAP);
    [low, high, instruction(op::MOVE, 1, 6, 0, 0), set(3, 0), TAIL_CALL, set(0, 0), EXIT]
}

/// Sets the low bits under `mask` of the source address to their next value. They are the state themselves.
fn even(mask: i32, array: u32) -> Vec<Instruction> {
    // Source address and its bits that stay live in registers 5 and 7.
    let body = [
        instruction(op::LOAD_U32, 5, 2, SOURCE, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::MOVE, 7, 5, 0, 0),
        instruction(op::AND_CONSTANT, 7, 0, 0, !mask),
        instruction(op::MULTIPLY_CONSTANT, 5, 0, 0, MULTIPLIER),
        instruction(op::ADD_CONSTANT, 5, 0, 0, INCREMENT),
        instruction(op::AND_CONSTANT, 5, 0, 0, mask),
        // Zero comes once per lap; otherwise past the sequence number.
        instruction(op::JUMP_IF_NOT_CONSTANT, 5, 0, 5, 0),
        instruction(op::LOAD_U32, 0, 2, SEQ, 0),
        instruction(op::BIG_ENDIAN, 0, 0, 0, 32),
        instruction(op::ADD_CONSTANT, 0, 0, 0, PAYLOAD_BYTES.into()),
        instruction(op::BIG_ENDIAN, 0, 0, 0, 32),
        instruction(op::STORE_U32, 2, 0, SEQ, 0),
        instruction(op::OR, 5, 7, 0, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::STORE_U32, 2, 5, SOURCE, 0),
    ];
    [&enter(body.len() as i16)[..], &body, &call(array)].concat()
}

/// The next random number in register 7, and the address of the state that it is from in 8.
fn draw(state: u32) -> [Instruction; 6] {
    let [state_low, state_high] = instruction::map(8, state, instruction::MAP_VALUE);
    [
        state_low,
        state_high,
        instruction(op::LOAD_U32, 7, 8, 0, 0),
        instruction(op::MULTIPLY_CONSTANT_32, 7, 0, 0, MULTIPLIER),
        instruction(op::ADD_CONSTANT_32, 7, 0, 0, INCREMENT),
        instruction(op::STORE_U32, 8, 7, 0, 0),
    ]
}

/// Bytes before the flows' sequence numbers in the skewed program's memory: its random number.
const STATE_BYTES: u32 = 8;

/// Draws the flow by chance, and takes its sequence number from a table in `state`.
fn skewed(mask: i32, array: u32, state: u32) -> Vec<Instruction> {
    let draw = draw(state);
    let body = [
        // The flow's number in register 7, whether it may be any in 4.
        instruction(op::SHIFT_RIGHT_CONSTANT, 7, 0, 0, WEAK_BITS),
        instruction(op::MOVE, 4, 7, 0, 0),
        instruction(op::AND_CONSTANT, 4, 0, 0, ANY_ONE_IN - 1),
        instruction(op::SHIFT_RIGHT_CONSTANT, 7, 0, 0, ANY_ONE_IN.ilog2() as i32),
        instruction(op::AND_CONSTANT, 7, 0, 0, mask),
        instruction(op::JUMP_IF_CONSTANT, 4, 0, 1, 0),
        instruction(op::AND_CONSTANT, 7, 0, 0, mask / BUSY_ONE_IN as i32),
        // Its next sequence number.
        instruction(op::MOVE, 4, 7, 0, 0),
        instruction(op::SHIFT_LEFT_CONSTANT, 4, 0, 0, 2),
        instruction(op::ADD, 8, 4, 0, 0),
        instruction(op::LOAD_U32, 0, 8, STATE_BYTES as i16, 0),
        instruction(op::ADD_CONSTANT, 0, 0, 0, PAYLOAD_BYTES.into()),
        instruction(op::STORE_U32, 8, 0, STATE_BYTES as i16, 0),
        instruction(op::BIG_ENDIAN, 0, 0, 0, 32),
        instruction(op::STORE_U32, 2, 0, SEQ, 0),
        instruction(op::LOAD_U32, 5, 2, SOURCE, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::AND_CONSTANT, 5, 0, 0, !mask),
        instruction(op::OR, 5, 7, 0, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::STORE_U32, 2, 5, SOURCE, 0),
    ];
    [&enter((draw.len() + body.len()) as i16)[..], &draw, &body, &call(array)].concat()
}

/// Draws the source by chance, and has the frame sent by the interface. Its memory is used for many frames, so the
/// state is not in it.
fn sender(mask: i32, interface: u32, state: u32) -> Vec<Instruction> {
    let draw = draw(state);
    let body = [
        instruction(op::SHIFT_RIGHT_CONSTANT, 7, 0, 0, 8),
        instruction(op::AND_CONSTANT, 7, 0, 0, mask),
        instruction(op::LOAD_U32, 5, 2, SOURCE, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::AND_CONSTANT, 5, 0, 0, !mask),
        instruction(op::OR, 5, 7, 0, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::STORE_U32, 2, 5, SOURCE, 0),
    ];
    let send = [set(1, interface.cast_signed()), set(2, 0), REDIRECT, EXIT];
    [&enter((draw.len() + body.len()) as i16)[..], &draw, &body, &send].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::test_run;

    /// `None`, and said so, where this user may not load programs.
    fn pass() -> Option<Pass> {
        match Pass::load() {
            Ok(pass) => Some(pass),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                eprintln!("skipped: loading programs needs CAP_BPF");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_empty_program_passes() {
        let Some(pass) = pass() else { return };
        assert_eq!(test_run(pass.fd(), &[0; 64], 1000).unwrap().verdict, XDP_PASS);
    }

    #[test]
    fn spread_reaches_the_program_behind_it_for_any_number_of_flows() {
        let Some(pass) = pass() else { return };
        for (order, flows) in
            [(Order::Even, 1), (Order::Even, 1024), (Order::Even, 1 << 24), (Order::Skewed, 1 << 20)]
        {
            let spread = Spread::load(flows, order, pass.fd()).unwrap();
            assert_eq!(test_run(spread.fd(), &[0; 64], 1000).unwrap().verdict, XDP_PASS);
        }
    }

    #[test]
    fn every_address_comes_once_per_round() {
        let mask = 1023_u32;
        let next = |value: u32| {
            value.wrapping_mul(MULTIPLIER.cast_unsigned()).wrapping_add(INCREMENT.cast_unsigned()) & mask
        };
        let mut seen = vec![false; 1024];
        let mut value = 0;
        for _ in 0..1024 {
            value = next(value);
            assert!(!std::mem::replace(&mut seen[value as usize], true));
        }
    }
}
