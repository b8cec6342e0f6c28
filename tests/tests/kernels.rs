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

use object::{Object, ObjectSection, SectionKind};

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
/// What CPU v4 (Linux 6.6) added: byte swap and long jumps; sign extension by moves (offset 8, 16, 32) and loads; division
/// with sign (offset 1). A move with offset 1 is of 6.9, too: it changes address spaces.
const SWAP: u8 = 0xd7;
const JUMP_LONG: u8 = 0x06;
const MOVES: [u8; 2] = [0xbf, 0xbc];
const DIVISIONS: [u8; 8] = [0x34, 0x37, 0x3c, 0x3f, 0x94, 0x97, 0x9c, 0x9f];
/// `may_goto` (Linux 6.9).
const MAY_GOTO: u8 = 0xe5;
/// Atomic instructions (mode `ATOMIC`, class STX; mask and value), and the constants of those that Linux 5.12 brought: add,
/// or, and, xor, each with or without the old value, exchange, compare and exchange. Loads that acquire and stores that
/// release are of 6.15.
const ATOMIC: (u8, u8) = (0xe7, 0xc3);
const ATOMICS: [i32; 10] = [0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xa0, 0xa1, 0xe1, 0xf1];
/// Kinds of maps by number (linux/bpf.h), the flags they may have, and the version that brought them. Any other kind,
/// and any other flag, is looked up and added here, or not used.
const MAPS: [(u32, u32, &str, &str); 3] = [
    (2, MMAPABLE, "array", "3.19, memory-mapped 5.5"),
    (6, 0, "per-CPU array", "4.6"),
    (17, 0, "XSK map", "4.18"),
];
/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;
/// Words of a map's definition: kind, bytes of a key, bytes of a value, entries, flags, number, pinning.
const MAP_WORDS: usize = 7;
/// All objects that are embedded.
const OBJECTS: [&str; 2] = ["tidegauge.bpf.o", "redirect.bpf.o"];

struct Instruction {
    code: u8,
    source: u8,
    offset: i16,
    constant: i32,
}

fn bytes(object: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/bpf").join(object)).unwrap()
}

fn instructions(object: &str, sections: &[&str]) -> Vec<Instruction> {
    let bytes = bytes(object);
    let file = object::File::parse(&*bytes).unwrap();
    let code: Vec<_> = file.sections().filter(|section| section.kind() == SectionKind::Text).collect();
    let is_known = |name: &str| [&BASIC[..], &FRAGS, &[".text"]].concat().contains(&name);
    assert!(code.iter().all(|section| is_known(section.name().unwrap())), "{object} has code elsewhere");
    let code = code.into_iter().filter(|section| sections.contains(&section.name().unwrap()));
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
    for object in OBJECTS {
        let called = helpers(object, &BASIC);
        assert!(!called.is_empty() && called.keys().all(is_known), "{object} calls {called:?}");
    }
    let called = helpers("tidegauge.bpf.o", &FRAGS);
    assert_eq!(called.get(&FRAGS_HELPER), Some(&1), "{called:?}");
    assert!(called.keys().filter(|helper| **helper != FRAGS_HELPER).all(is_known), "{called:?}");
}

#[test]
fn only_instructions_that_linux_5_15_has_are_used() {
    for object in OBJECTS {
        let instructions = instructions(object, &[&BASIC[..], &FRAGS].concat());
        assert!(instructions.len() > 10, "{object} has code");
        for Instruction { code, offset, constant, .. } in instructions {
            assert!(code != SWAP && code != JUMP_LONG, "{object}: instruction {code:#x} is of 6.6");
            assert!(code != MAY_GOTO, "{object}: instruction {code:#x} is of 6.9");
            assert!(!DIVISIONS.contains(&code) || offset == 0, "{object}: divisions with sign are of 6.6");
            let is_atomic = code & ATOMIC.0 == ATOMIC.1;
            assert!(!is_atomic || ATOMICS.contains(&constant), "{object}: atomic {constant:#x} is of 6.15");
            assert!(!MOVES.contains(&code) || offset == 0, "{object}: moves with sign are of 6.6");
            // Class LDX, mode MEMSX.
            assert!(code & 0xe7 != 0x81, "{object}: loads with sign are of 6.6");
        }
    }
}

#[test]
fn only_maps_that_linux_5_15_has_are_made() {
    for object in OBJECTS {
        let bytes = bytes(object);
        let file = object::File::parse(&*bytes).unwrap();
        // Its definitions would be elsewhere, in another form.
        assert!(file.section_by_name(".maps").is_none(), "{object} defines maps by BTF");
        let section = file.section_by_name("maps").unwrap();
        let words: Vec<u32> = section
            .data()
            .unwrap()
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert!(!words.is_empty() && words.len().is_multiple_of(MAP_WORDS), "{object}: {words:?}");
        for map in words.chunks_exact(MAP_WORDS) {
            let (kind, flags) = (map[0], map[4]);
            let known = MAPS.iter().find(|(number, ..)| *number == kind);
            let (_, may, name, _) = known.unwrap_or_else(|| panic!("{object} makes a map of kind {kind}"));
            assert_eq!(flags & !may, 0, "{object}: {name} with flags {flags:#x}");
        }
    }
}

/// The kernel may be built without BTF: nothing of the objects is fitted to its structures, or looks for its symbols.
#[test]
fn nothing_is_relocated_against_the_kernel() {
    for object in OBJECTS {
        let bytes = bytes(object);
        let file = object::File::parse(&*bytes).unwrap();
        assert!(file.section_by_name(".ksyms").is_none(), "{object} wants kernel symbols");
        let ext = file.section_by_name(".BTF.ext").unwrap();
        let data = ext.data().unwrap();
        // `btf_ext_header`: magic, version, flags, its own length; offsets and lengths of functions, lines, and, where
        // the header is long enough, relocations (CO-RE).
        let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
        let relocation_bytes = if word(4) >= 32 { word(28) } else { 0 };
        assert_eq!(relocation_bytes, 0, "{object} is fitted to the kernel's structures");
    }
}
