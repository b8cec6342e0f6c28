//! The BPF program: XDP on the way in, TC on the way out, one body for both.
//!
//! Frames always continue on their way (`XDP_PASS`, `TC_ACT_UNSPEC`). The clock is read once a jiffy and for what needs
//! a precise time; no other helper is called that is not inlined, and nothing is written to a ring. All state is in
//! memory-mapped arrays that userspace reads without system calls: totals, listeners and sources in one section per CPU,
//! flows and half-open attempts shared.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unsafe_code, reason = "raw packet and map pointers exist only here; the library is safe")]

mod maps;
mod wire;

use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action, xdp_md};
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::observe::{Arrival, observe};
use tidegauge_ebpf::settings::{INWARD, OUTWARD, feature};

use crate::maps::KernelTables;
use crate::wire::Wire;

/// The fields that are read of the kernel's `xdp_md` (linux/bpf.h).
#[repr(C)]
pub(crate) struct XdpFrame {
    data: u32,
    data_end: u32,
}

/// Frames as the NIC received them. Written out without a wrapper: where returns are guarded against speculation, each
/// call within the program costs 8 ns.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub(crate) extern "C" fn tidegauge_ingress(context: &XdpFrame) -> u32 {
    if !maps::counts(INWARD) {
        return xdp_action::XDP_PASS;
    }
    let wire = Wire { data: context.data as usize, end: context.data_end as usize, zero: maps::zero() };
    count(wire, wire.captured_len(), 1, Order::OfCpu);
    xdp_action::XDP_PASS
}

/// The same for interfaces whose frames do not fit one buffer (MTU above some 3,500 bytes; Linux 5.18): headers are in the
/// first buffer, the length is that of all.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp.frags")]
pub(crate) extern "C" fn tidegauge_ingress_frags(context: &XdpFrame) -> u32 {
    if !maps::counts(INWARD) {
        return xdp_action::XDP_PASS;
    }
    let wire = Wire { data: context.data as usize, end: context.data_end as usize, zero: maps::zero() };
    // SAFETY: the helper reads the context it is given, which is the kernel's own.
    let wire_len = unsafe { bpf_xdp_get_buff_len(core::ptr::from_ref(context).cast_mut().cast::<xdp_md>()) };
    count(wire, wire_len as u32, 1, Order::OfCpu);
    xdp_action::XDP_PASS
}

/// The fields that are read of the kernel's `__sk_buff` (linux/bpf.h), at their offsets. Written out here because
/// the bindings' type brings forward declarations along whose order in BTF is not the same in every build.
#[repr(C)]
pub(crate) struct SkBuff {
    len: u32,
    unread: [u32; 18],
    data: u32,
    data_end: u32,
    unread_too: [u32; 20],
    gso_segs: u32,
}

/// Frames the host sends, before segmentation: a super-frame stands for `gso_segs` wire segments.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
pub(crate) extern "C" fn tidegauge_egress(context: &SkBuff) -> i32 {
    if !maps::counts(OUTWARD) {
        return TC_ACT_UNSPEC;
    }
    let wire = Wire { data: context.data as usize, end: context.data_end as usize, zero: maps::zero() };
    let segments = context.gso_segs;
    count(wire, context.len, if segments == 0 { 1 } else { segments }, Order::OfHost);
    TC_ACT_UNSPEC
}

/// Where the packets of one direction of a flow keep their order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// On this CPU: a receive queue's packets come on one, so a packet may be judged with the next one there.
    OfCpu,
    /// Over all CPUs: what a connection sends, the writing thread sends now and the CPU that its acknowledgments come in
    /// on next. A packet that waited for its judgement would be overtaken, and taken for a retransmission.
    OfHost,
}

#[inline(always)]
fn count(wire: Wire, wire_len: u32, segments: u32, order: Order) {
    let mut tables = KernelTables::new();
    let settings = maps::settings();
    let (now, busy) = tables.arrive();
    let arrival = Arrival {
        now,
        link: LinkType::Ethernet,
        // No snap length here: payload outside the linear part is not missing, it is just not looked at.
        captured_len: wire_len,
        wire_len,
        segments,
    };
    let lag = u32::from(busy && order == Order::OfCpu && settings.has(feature::DEFER));
    observe(wire, arrival, &mut tables, settings, lag);
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: nothing that can panic survives the optimizer, or the verifier would refuse the program.
    loop {}
}

/// The kernel's licence string: helpers that read packets and time need none, tracing ones would want GPL.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
