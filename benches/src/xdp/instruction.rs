//! Instructions of BPF (RFC 9669), as few as the programs here need.

/// One instruction, as the kernel takes it.
pub(super) type Instruction = u64;

/// Operation codes; `_32` work on the lower halves, the others on whole registers.
pub(super) mod op {
    pub(in super::super) const ADD: u8 = 0x0f;
    pub(in super::super) const ADD_CONSTANT: u8 = 0x07;
    pub(in super::super) const ADD_CONSTANT_32: u8 = 0x04;
    pub(in super::super) const AND_CONSTANT: u8 = 0x57;
    pub(in super::super) const BIG_ENDIAN: u8 = 0xdc;
    pub(super) const CALL: u8 = 0x85;
    pub(in super::super) const JUMP_IF_CONSTANT: u8 = 0x15;
    pub(in super::super) const JUMP_IF_GREATER: u8 = 0x2d;
    pub(in super::super) const JUMP_IF_NOT_CONSTANT: u8 = 0x55;
    pub(super) const LOAD_CONSTANT_U64: u8 = 0x18;
    pub(in super::super) const LOAD_U32: u8 = 0x61;
    pub(in super::super) const MOVE: u8 = 0xbf;
    pub(in super::super) const MULTIPLY_CONSTANT: u8 = 0x27;
    pub(in super::super) const MULTIPLY_CONSTANT_32: u8 = 0x24;
    pub(in super::super) const OR: u8 = 0x4f;
    pub(super) const SET: u8 = 0xb7;
    pub(in super::super) const SHIFT_LEFT_CONSTANT: u8 = 0x67;
    pub(in super::super) const SHIFT_RIGHT_CONSTANT: u8 = 0x77;
    pub(in super::super) const STORE_U32: u8 = 0x63;
}

/// A 64-bit constant is a map's descriptor.
pub(super) const MAP: u8 = 1;
/// It is a map's descriptor and means the address of its first value.
pub(super) const MAP_VALUE: u8 = 2;
/// The helper `bpf_tail_call`, number 12.
pub(super) const TAIL_CALL: Instruction = instruction(op::CALL, 0, 0, 0, 12);
/// The helper `bpf_redirect`, number 23.
pub(super) const REDIRECT: Instruction = instruction(op::CALL, 0, 0, 0, 23);
pub(super) const EXIT: Instruction = 0x95;

pub(super) const fn set(register: u8, value: i32) -> Instruction {
    instruction(op::SET, register, 0, 0, value)
}

/// Loads what `kind` says of the map with this descriptor; a constant of 64 bits takes two instructions.
pub(super) const fn map(register: u8, descriptor: u32, kind: u8) -> [Instruction; 2] {
    [instruction(op::LOAD_CONSTANT_U64, register, kind, 0, descriptor.cast_signed()), 0]
}

pub(super) const fn instruction(
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    constant: i32,
) -> Instruction {
    let registers = (destination | (source << 4)) as u64;
    let offset = offset.cast_unsigned() as u64;
    let constant = constant.cast_unsigned() as u64;
    code as u64 | (registers << 8) | (offset << 16) | (constant << 32)
}
