//! Link headers: Ethernet with 802.1Q/802.1ad tags and LLC/SNAP, FDDI, Linux cooked v1/v2, BSD loopback, raw IP, SLIP.
//! Others are in `serial.rs` and `wireless.rs`.

use super::wireless::{self, Layout};
use super::{Cursor, Step, next, serial};
use crate::frame::Frame;
use crate::link::LinkType;
use crate::packet::{Fault, Network, Packet};

/// EtherTypes, <https://www.iana.org/assignments/ieee-802-numbers>.
pub(super) const IPV4: u32 = next::ether_type(0x0800);
pub(super) const ARP: u32 = next::ether_type(0x0806);
pub(super) const VLAN: u32 = next::ether_type(0x8100);
pub(super) const IPV6: u32 = next::ether_type(0x86dd);
pub(super) const MPLS: u32 = next::ether_type(0x8847);
pub(super) const MPLS_MULTICAST: u32 = next::ether_type(0x8848);
pub(super) const PPPOE_SESSION: u32 = next::ether_type(0x8864);
pub(super) const VLAN_SERVICE: u32 = next::ether_type(0x88a8);
/// Pre-standard QinQ.
pub(super) const VLAN_OLD: u32 = next::ether_type(0x9100);

/// Below this the field is an 802.3 length and an LLC header follows.
const ETHER_TYPE_MIN: u16 = 0x0600;
/// LLC with SNAP, unnumbered information, and the all-zero organisation of encapsulated EtherTypes (RFC 1042).
const LLC_SNAP: u32 = 0xaaaa_0300;
/// FDDI's frame control without the bits for a priority: a frame for LLC, of any.
const FDDI_CONTROL_KIND: u8 = 0xf0;
const FDDI_FOR_LLC: u8 = 0x50;
/// In front of a SLIP packet: its direction, and its compressed header.
const SLIP_BYTES: u32 = 16;

/// The cursor at the first header of a frame of this link type.
#[inline(always)]
pub(super) fn outermost<F: Frame>(frame: F, link: LinkType, wire_len: u32) -> Step {
    let start = Cursor { offset: 0, end: wire_len, next: next::ETHERNET };
    match link {
        LinkType::CiscoHdlc => serial::cisco(frame, start),
        LinkType::Ethernet => Ok(start),
        LinkType::Fddi => fddi(frame, start),
        LinkType::FrameRelay => serial::frame_relay(frame, start),
        LinkType::Ieee80211 => wireless::data(frame, start, Layout::Plain),
        LinkType::Ip => Ok(start.after(0, next::IP_BY_VERSION)),
        LinkType::LinuxSll => {
            let ether_type = frame.u16(14).ok_or(Fault::Cut)?;
            Ok(start.after(16, next::ether_type(ether_type)))
        }
        LinkType::LinuxSll2 => {
            let ether_type = frame.u16(0).ok_or(Fault::Cut)?;
            Ok(start.after(20, next::ether_type(ether_type)))
        }
        LinkType::Loopback => loopback(frame, start),
        LinkType::NetfilterLog => serial::netfilter_log(frame, start),
        LinkType::Ppp => serial::ppp(frame, start),
        LinkType::Radiotap => wireless::radiotap(frame, start),
        LinkType::Slip => Ok(start.after(SLIP_BYTES, next::IP_BY_VERSION)),
    }
}

/// Frame control, both addresses, LLC; anything but a frame for LLC ends the walk.
#[inline(always)]
fn fddi<F: Frame>(frame: F, start: Cursor) -> Step {
    let control = frame.u8(0).ok_or(Fault::Cut)?;
    let body = start.after(13, next::DONE);
    Ok(if control & FDDI_CONTROL_KIND == FDDI_FOR_LLC { logical(frame, body) } else { body })
}

/// The address family is in the byte order of the host that captured: families are small, so the order shows.
#[inline(always)]
fn loopback<F: Frame>(frame: F, start: Cursor) -> Step {
    let family = frame.u32(0).ok_or(Fault::Cut)?;
    let family = if family > 0xffff { family.swap_bytes() } else { family };
    match family {
        2 => Ok(start.after(4, IPV4)),
        // AF_INET6 of Linux, Windows, NetBSD/OpenBSD, FreeBSD and macOS.
        10 | 23 | 24 | 28 | 30 => Ok(start.after(4, IPV6)),
        _ => Ok(start.after(4, next::DONE)),
    }
}

/// Ethernet II or 802.3 with LLC.
#[inline(always)]
pub(super) fn ethernet<F: Frame>(frame: F, cursor: Cursor) -> Step {
    let ether_type = frame.u16(cursor.offset + 12).ok_or(Fault::Cut)?;
    typed(frame, cursor.after(14, next::DONE), ether_type)
}

/// One 802.1Q or 802.1ad tag.
#[inline(always)]
pub(super) fn vlan<F: Frame>(frame: F, cursor: Cursor, packet: &mut Packet) -> Step {
    let ether_type = frame.u16(cursor.offset + 2).ok_or(Fault::Cut)?;
    packet.vlan_tags += 1;
    typed(frame, cursor.after(4, next::DONE), ether_type)
}

/// The payload behind a type-or-length field; `cursor` stands behind the field.
#[inline(always)]
fn typed<F: Frame>(frame: F, cursor: Cursor, ether_type: u16) -> Step {
    if ether_type >= ETHER_TYPE_MIN {
        return Ok(cursor.after(0, next::ether_type(ether_type)));
    }
    Ok(logical(frame, cursor))
}

/// Behind LLC with SNAP: the EtherType's payload; anything else ends the walk.
#[inline(always)]
pub(super) fn logical<F: Frame>(frame: F, cursor: Cursor) -> Cursor {
    let snap = frame.u32(cursor.offset) == Some(LLC_SNAP) && frame.u16(cursor.offset + 4) == Some(0);
    match frame.u16(cursor.offset + 6) {
        Some(encapsulated) if snap => cursor.after(8, next::ether_type(encapsulated)),
        _ => cursor.after(0, next::DONE),
    }
}

/// ARP is counted, not read further.
#[inline(always)]
pub(super) fn arp(cursor: Cursor, packet: &mut Packet) -> Step {
    packet.network = Network::Arp;
    packet.network_offset = cursor.offset as u16;
    Ok(cursor.after(0, next::DONE))
}
