//! The walk through a frame's headers: one helper per header, each returns what comes next.
//!
//! Total and bounded: any bytes give a [`Packet`], at most [`LAYERS_MAX`] headers are read, each read is checked,
//! and offsets stay below [`OFFSET_MAX`] (the cap has to stand here, where the kernel's verifier sees it).
//! A fault ends the walk and is noted in the packet; the headers before it stand.
//! Length facts come from the headers and the length on the wire, never from how much was captured.
//! Called by [`crate::observe`], in the kernel and in userspace alike.

mod ip;
mod link;
mod over_udp;
pub mod quick;
mod serial;
mod tcp;
mod tunnel;
mod wireless;

use crate::frame::{Frame, Header};
use crate::limits::{LAYERS_MAX, OFFSET_MAX};
use crate::link::LinkType;
use crate::packet::{Fault, Packet, Transport};
use wireless::Layout;

/// What the header at a cursor is, as one number: EtherTypes and IP protocols, each with their kind in the upper
/// half. (An enum would leave its payload undefined where it has none, and the verifier refuses to look at that.)
mod next {
    /// Nothing that we read further.
    pub(super) const DONE: u32 = 0;
    /// An Ethernet header (outermost or bridged through a tunnel).
    pub(super) const ETHERNET: u32 = 1;
    /// IPv4 or IPv6, told by the version nibble (MPLS bottom of stack, raw IP).
    pub(super) const IP_BY_VERSION: u32 = 2;
    /// PPP, with or without its framing.
    pub(super) const PPP: u32 = 3;
    /// IEEE 802.11.
    pub(super) const WIRELESS: u32 = 4;
    /// The same, its first two bytes in either order.
    pub(super) const WIRELESS_SWAPPED: u32 = 5;

    /// A payload named by an EtherType.
    #[inline(always)]
    pub(super) const fn ether_type(number: u16) -> u32 {
        0x1_0000 | number as u32
    }

    /// The payload of an IP packet.
    #[inline(always)]
    pub(super) const fn protocol(number: u8) -> u32 {
        0x2_0000 | number as u32
    }
}

/// Place in the walk.
#[derive(Clone, Copy)]
struct Cursor {
    /// Offset of the header to read.
    offset: u32,
    /// Offset at which the enclosing packet ends on the wire (by its length field, else the frame's length).
    end: u32,
    /// One of [`next`].
    next: u32,
}

impl Cursor {
    /// The cursor behind a header of `bytes`.
    #[inline(always)]
    const fn after(self, bytes: u32, next: u32) -> Self {
        Self { offset: self.offset + bytes, end: self.end, next }
    }
}

/// One step: the cursor behind the header, or the fault that ends the walk.
type Step = Result<Cursor, Fault>;

/// Reads the headers of `frame`, which was `wire_len` bytes long on the wire, into `packet`.
///
/// With `tunnels` the innermost packet of all that `tunnel.rs` and `over_udp.rs` know is the packet; without, the walk
/// ends at the tunnel's own header.
#[inline(always)]
pub fn parse<F: Frame>(frame: F, link: LinkType, wire_len: u32, tunnels: bool, packet: &mut Packet) {
    packet.clear();
    if let Err(fault) = walk(frame, link, wire_len, tunnels, packet) {
        packet.fault = Some(fault);
    }
}

#[inline(always)]
fn walk<F: Frame>(
    frame: F,
    link: LinkType,
    wire_len: u32,
    tunnels: bool,
    packet: &mut Packet,
) -> Result<(), Fault> {
    let mut cursor = link::outermost(frame, link, wire_len)?;
    for _ in 0..LAYERS_MAX {
        if cursor.next == next::DONE {
            return Ok(());
        }
        if cursor.offset > OFFSET_MAX {
            break;
        }
        cursor.offset = frame.opaque(cursor.offset) & OFFSET_MAX;
        cursor = step(frame, cursor, tunnels, packet)?;
    }
    if cursor.next == next::DONE { Ok(()) } else { Err(Fault::Depth) }
}

#[inline(always)]
fn step<F: Frame>(frame: F, cursor: Cursor, tunnels: bool, packet: &mut Packet) -> Step {
    match cursor.next {
        link::IPV4 => ip::version_4(frame, cursor, packet),
        ip::TCP => tcp::segment(frame, cursor, packet),
        link::IPV6 => ip::version_6(frame, cursor, packet),
        ip::UDP => {
            udp(frame, cursor, packet)?;
            if tunnels { over_udp::over_udp(frame, cursor, packet) } else { Ok(cursor.after(8, next::DONE)) }
        }
        link::VLAN | link::VLAN_SERVICE | link::VLAN_OLD => link::vlan(frame, cursor, packet),
        ip::ICMP | ip::ICMPV6 => {
            packet.transport = Transport::Icmp;
            packet.transport_offset = cursor.offset as u16;
            Ok(cursor.after(0, next::DONE))
        }
        link::ARP => link::arp(cursor, packet),
        next::ETHERNET => link::ethernet(frame, cursor),
        next::IP_BY_VERSION => match frame.u8(cursor.offset).ok_or(Fault::Cut)? >> 4 {
            4 => ip::version_4(frame, cursor, packet),
            6 => ip::version_6(frame, cursor, packet),
            _ => Err(Fault::Version),
        },
        ip::HOP_BY_HOP | ip::ROUTING | ip::DESTINATION | ip::MOBILITY | ip::HIP | ip::SHIM6 => {
            ip::extension(frame, cursor)
        }
        ip::FRAGMENT => ip::fragment(frame, cursor, packet),
        ip::AUTHENTICATION => ip::authentication(frame, cursor),
        link::PPPOE_SESSION if tunnels => tunnel::pppoe(frame, cursor, packet),
        link::MPLS | link::MPLS_MULTICAST if tunnels => tunnel::mpls(frame, cursor, packet),
        ip::IN_IPV4 | ip::IN_IPV6 if tunnels => tunnel::ip_in_ip(cursor, packet),
        ip::GRE if tunnels => {
            packet.transport = Transport::Other;
            tunnel::gre(frame, cursor, packet)
        }
        next::PPP if tunnels => serial::ppp(frame, cursor),
        next::WIRELESS if tunnels => wireless::data(frame, cursor, Layout::Plain),
        next::WIRELESS_SWAPPED if tunnels => wireless::data(frame, cursor, Layout::Swapped),
        ip::ETHERNET if tunnels => tunnel::around_ethernet(cursor, 2, packet),
        ip::MPLS if tunnels => tunnel::mpls(frame, cursor, packet),
        tunnel::VN_TAG if tunnels => tunnel::tag(frame, cursor, 6),
        tunnel::CISCO_METADATA | tunnel::E_TAG if tunnels => tunnel::tag(frame, cursor, 8),
        tunnel::FABRIC_PATH if tunnels => tunnel::around_ethernet(cursor, 2, packet),
        tunnel::BACKBONE if tunnels => tunnel::around_ethernet(cursor, 4, packet),
        other => {
            if other >= next::protocol(0) {
                packet.transport = Transport::Other;
            }
            Ok(cursor.after(0, next::DONE))
        }
    }
}

#[inline(always)]
fn udp<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Result<(), Fault> {
    packet.transport = Transport::Udp;
    let header = frame.header::<4>(cursor.offset).ok_or(Fault::Cut)?;
    packet.source_port = header.u16(0);
    packet.destination_port = header.u16(2);
    packet.transport_offset = cursor.offset as u16;
    packet.payload_offset = (cursor.offset + 8) as u16;
    Ok(())
}
