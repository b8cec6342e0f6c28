//! Two XDP programs to measure by: one that does nothing, and one that makes each packet another flow's.
//!
//! A test run repeats one frame. To measure a flow table, [`Spread`] steps the frame's source address through a
//! power of two of addresses, in scattered order and each as often, and then calls the measured program. Once per
//! lap it moves the sequence number on, so that each flow sees segments in order. Its own cost is measured by
//! putting the empty program behind it. Frames are untagged IPv4 without options; checksums are not adjusted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::bpf;

/// What a program returns that lets the frame pass.
pub const XDP_PASS: u32 = 2;
/// Payload of a frame that [`Spread`] varies: what the sequence number moves on by.
pub const PAYLOAD_BYTES: u16 = 52;
/// Offset of the source address.
const SOURCE: i16 = 26;
/// Offset of the sequence number.
const SEQ: i16 = 38;
/// A linear congruence that visits every value of any number of low bits (Numerical Recipes' constants).
const MULTIPLIER: i32 = 1_664_525;
const INCREMENT: i32 = 1_013_904_223;

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

/// The program that varies the flow and calls another.
pub struct Spread {
    program: OwnedFd,
    /// Holds the called program for as long as this one may run.
    _array: OwnedFd,
}

impl Spread {
    /// Loads it over `flows` flows, a power of two of at most 2^24, before `target`.
    pub fn load(flows: u32, target: BorrowedFd<'_>) -> io::Result<Self> {
        assert!(flows.is_power_of_two() && flows <= 1 << 24, "{flows} flows");
        let array = bpf::program_array()?;
        let program = bpf::load(&spread(flows as i32 - 1, bpf::number(array.as_fd())))?;
        bpf::put(&array, target)?;
        Ok(Self { program, _array: array })
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// Sets the low bits under `mask` of the source address to their next value, then calls entry 0 of `array`.
fn spread(mask: i32, array: u32) -> [u64; 29] {
    // Context, data, end of data, source address and its bits that stay live in registers 6, 2, 3, 5 and 7.
    [
        instruction(op::MOVE, 6, 1, 0, 0),
        instruction(op::LOAD_U32, 2, 1, 0, 0),
        instruction(op::LOAD_U32, 3, 1, 4, 0),
        instruction(op::MOVE, 4, 2, 0, 0),
        instruction(op::ADD_CONSTANT, 4, 0, 0, i32::from(SEQ) + 4),
        // Where the frame is shorter: to the end.
        instruction(op::JUMP_IF_GREATER, 4, 3, 21, 0),
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
        instruction(op::ADD_CONSTANT, 0, 0, 0, PAYLOAD_BYTES as i32),
        instruction(op::BIG_ENDIAN, 0, 0, 0, 32),
        instruction(op::STORE_U32, 2, 0, SEQ, 0),
        instruction(op::OR, 5, 7, 0, 0),
        instruction(op::BIG_ENDIAN, 5, 0, 0, 32),
        instruction(op::STORE_U32, 2, 5, SOURCE, 0),
        // A constant of 64 bits takes two; source register 1 says that it is a map's descriptor.
        instruction(op::LOAD_CONSTANT_U64, 2, 1, 0, array.cast_signed()),
        0,
        instruction(op::MOVE, 1, 6, 0, 0),
        set(3, 0),
        instruction(op::CALL, 0, 0, 0, TAIL_CALL),
        // Only reached where the call failed: XDP_ABORTED.
        set(0, 0),
        EXIT,
    ]
}

/// Operation codes of the BPF instruction set (RFC 9669).
mod op {
    pub(super) const ADD_CONSTANT: u8 = 0x07;
    pub(super) const AND_CONSTANT: u8 = 0x57;
    pub(super) const BIG_ENDIAN: u8 = 0xdc;
    pub(super) const CALL: u8 = 0x85;
    pub(super) const JUMP_IF_GREATER: u8 = 0x2d;
    pub(super) const JUMP_IF_NOT_CONSTANT: u8 = 0x55;
    pub(super) const LOAD_CONSTANT_U64: u8 = 0x18;
    pub(super) const LOAD_U32: u8 = 0x61;
    pub(super) const MOVE: u8 = 0xbf;
    pub(super) const MULTIPLY_CONSTANT: u8 = 0x27;
    pub(super) const OR: u8 = 0x4f;
    pub(super) const SET: u8 = 0xb7;
    pub(super) const STORE_U32: u8 = 0x63;
}

/// Number of the helper `bpf_tail_call`.
const TAIL_CALL: i32 = 12;
const EXIT: u64 = 0x95;

const fn set(register: u8, value: i32) -> u64 {
    instruction(op::SET, register, 0, 0, value)
}

const fn instruction(code: u8, destination: u8, source: u8, offset: i16, constant: i32) -> u64 {
    let registers = (destination | (source << 4)) as u64;
    let offset = offset.cast_unsigned() as u64;
    let constant = constant.cast_unsigned() as u64;
    code as u64 | (registers << 8) | (offset << 16) | (constant << 32)
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
        for flows in [1, 1024, 1 << 24] {
            let spread = Spread::load(flows, pass.fd()).unwrap();
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
