//! The committed BPF objects ask nothing of a kernel that Linux 5.15 does not have: helpers, instructions, kinds of maps.
//!
//! | what | since | where it is missing |
//! |---|---|---|
//! | memory-mapped arrays (`BPF_F_MMAPABLE`), `bpf_jiffies64` | 5.5 | no XDP source: the packet ring serves |
//! | `bpf_link` for XDP | 5.9 | refused, because a crash would leave the program: the ring serves |
//! | maps accounted to the cgroup, not as locked memory | 5.11 | raise `ulimit -l` |
//! | XDP in several buffers (`xdp_get_buff_len`), asked for where the MTU needs it | 5.18 | the other program, generic |
//! | TCX | 6.6 | clsact |
//! | Landlock | 5.13 | told, and done without |
//!
//! So 5.15 and 6.1 run with clsact, 6.6, 6.12 and later with TCX; the clsact way is tested here too (`keep::clsact`).
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::Path;

use object::{Object, ObjectSection};

/// Helpers that may be called, by number (linux/bpf.h), with the version that brought them.
const HELPERS: [(i32, &str, &str); 5] = [
    (1, "map_lookup_elem", "3.19"),
    (5, "ktime_get_ns", "4.1"),
    (8, "get_smp_processor_id", "4.1"),
    (51, "redirect_map", "4.14"),
    (118, "jiffies64", "5.5"),
];
/// What the program for frames in several buffers may call beside these; it is loaded only where the MTU asks for it.
const FRAGS_HELPER: i32 = 188;
/// `BPF_CALL`, and what its source register says: a helper, a function of the program, a function of the kernel.
const CALL: u8 = 0x85;
const TO_HELPER: u8 = 0;
const TO_KERNEL: u8 = 2;
/// A 64-bit constant takes two places.
const LOAD_CONSTANT_U64: u8 = 0x18;
/// What CPU v4 (Linux 6.6) added: byte swap and long jumps; sign extension by moves (offset 8, 16, 32) and loads.
const SWAP: u8 = 0xd7;
const JUMP_LONG: u8 = 0x06;
const MOVES: [u8; 2] = [0xbf, 0xbc];

struct Instruction {
    code: u8,
    source: u8,
    offset: i16,
    constant: i32,
}

fn instructions(object: &str, sections: &[&str]) -> Vec<Instruction> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/bpf").join(object);
    let bytes = std::fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let code = sections.iter().filter_map(|name| file.section_by_name(name));
    let mut instructions = Vec::new();
    for section in code {
        let mut skip = false;
        for raw in section.data().unwrap().chunks_exact(8) {
            if std::mem::take(&mut skip) {
                continue;
            }
            let [code, registers, offset_low, offset_high, constant @ ..] = <[u8; 8]>::try_from(raw).unwrap();
            skip = code == LOAD_CONSTANT_U64;
            let offset = i16::from_le_bytes([offset_low, offset_high]);
            let constant = i32::from_le_bytes(constant);
            instructions.push(Instruction { code, source: registers >> 4, offset, constant });
        }
    }
    instructions
}

const BASIC: [&str; 2] = ["xdp", "classifier"];
const FRAGS: [&str; 1] = ["xdp.frags"];

fn helpers(object: &str, sections: &[&str]) -> BTreeMap<i32, u32> {
    let mut called = BTreeMap::<i32, u32>::new();
    for instruction in instructions(object, sections).iter().filter(|instruction| instruction.code == CALL) {
        assert_ne!(instruction.source, TO_KERNEL, "{object} calls a kernel function");
        assert_eq!(instruction.source, TO_HELPER, "{object} calls a function of its own: 8 ns");
        *called.entry(instruction.constant).or_default() += 1;
    }
    called
}

#[test]
fn only_helpers_that_linux_5_15_has_are_called() {
    let is_known = |helper: &i32| HELPERS.iter().any(|(number, _, _)| number == helper);
    for object in ["tidegauge.bpf.o", "redirect.bpf.o"] {
        let called = helpers(object, &BASIC);
        assert!(!called.is_empty() && called.keys().all(is_known), "{object} calls {called:?}");
    }
    let called = helpers("tidegauge.bpf.o", &FRAGS);
    assert_eq!(called.get(&FRAGS_HELPER), Some(&1), "{called:?}");
    assert!(called.keys().filter(|helper| **helper != FRAGS_HELPER).all(is_known), "{called:?}");
}

#[test]
fn only_instructions_that_linux_5_15_has_are_used() {
    for object in ["tidegauge.bpf.o", "redirect.bpf.o"] {
        let instructions = instructions(object, &[&BASIC[..], &FRAGS].concat());
        assert!(instructions.len() > 10, "{object} has code");
        for Instruction { code, offset, .. } in instructions {
            assert!(code != SWAP && code != JUMP_LONG, "{object}: instruction {code:#x} is of 6.6");
            assert!(!MOVES.contains(&code) || offset == 0, "{object}: moves with sign are of 6.6");
            // Class LDX, mode MEMSX.
            assert!(code & 0xe7 != 0x81, "{object}: loads with sign are of 6.6");
        }
    }
}
