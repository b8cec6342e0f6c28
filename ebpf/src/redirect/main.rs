//! The BPF program of the AF_XDP source: hands each frame to the socket of its RX queue, instead of to the host.
//!
//! A queue without a socket lets its frames pass and counts them: they are not seen by us.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "raw contexts and map pointers exist only here")]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, XskMap};

/// Queues with a socket, at most: more than any NIC of today has in use.
const QUEUES_MAX: u32 = 256;

#[map]
static SOCKETS: XskMap = XskMap::with_max_entries(QUEUES_MAX, 0);
#[map]
static PASSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The field that is read of the kernel's `xdp_md` (linux/bpf.h), at its offset.
#[repr(C)]
pub(crate) struct XdpFrame {
    unread: [u32; 4],
    rx_queue_index: u32,
}

/// Frames as the NIC received them.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
pub(crate) extern "C" fn tidegauge_redirect(context: &XdpFrame) -> u32 {
    let queue = context.rx_queue_index;
    let action = SOCKETS.redirect(queue, u64::from(xdp_action::XDP_PASS)).unwrap_or_else(|action| action);
    if action == xdp_action::XDP_PASS
        && let Some(passed) = PASSED.get_ptr_mut(0)
    {
        // SAFETY: a live value of this CPU alone.
        unsafe { *passed += 1 };
    }
    action
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: nothing that can panic survives the optimizer, or the verifier would refuse the program.
    loop {}
}

/// The kernel's licence string.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
