//! What rtnetlink tells of a link: MTU, state, statistics, the XDP program. Unlike sysfs it is always that of the
//! namespace we are in, whatever is mounted, and needs no rights. It makes the doctor's trial pair, too, which does.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, recv, send, socket};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_CREATE_NEW: u16 = 0x600;
/// Attributes (linux/if_link.h).
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_STATS64: u16 = 23;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_EXT_MASK: u16 = 29;
/// Not the virtual functions' lists, which can be long.
const EXT_MASK: u32 = 0;
/// It answers while it is asked. There are questions that some kernels leave without an answer, and a run must not
/// wait for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// `nlmsghdr` and `ifinfomsg`.
const HEAD_BYTES: usize = 16 + 16;
/// One link's answer, by far.
const ANSWER_BYTES: usize = 32 * 1024;
const OPER_UP: u8 = 6;
const OPER_UNKNOWN: u8 = 0;
/// `net_device_flags`.
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;

/// A link as the kernel tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `ARPHRD_*` (linux/if_arp.h): 1 is Ethernet, 772 a loopback.
    pub hardware_type: u16,
    /// Switched on.
    pub is_up: bool,
    /// Frames can come: there is a carrier, or nobody can tell.
    pub is_running: bool,
    /// Largest packet, bytes, link header apart.
    pub mtu_bytes: u32,
    /// The XDP program.
    pub xdp: Option<AttachedXdp>,
    /// Since the interface was made.
    pub statistics: LinkStatistics,
}

/// An XDP program on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    /// `native`, `generic`, `offloaded` or `several`.
    pub mode: &'static str,
    /// The kernel's number of it.
    pub program_id: u32,
}

/// Of `rtnl_link_stats64`, what frames in receipt are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Frames that came.
    pub rx_packets: u64,
    /// Frames the stack or the driver dropped on the way in, for want of room or of a reader.
    pub rx_dropped: u64,
    /// Frames that came when the receive buffer overflowed.
    pub rx_over_errors: u64,
    /// The same, as other drivers count it.
    pub rx_fifo_errors: u64,
    /// Frames the host missed: no buffer was ready.
    pub rx_missed_errors: u64,
}

/// Asks for the link of this index.
///
/// # Errors
/// The kernel's: ENODEV where it is not there.
pub fn link(index: u32) -> io::Result<Link> {
    let attributes = attribute(IFLA_EXT_MASK, &EXT_MASK.to_ne_bytes());
    read_link(&ask(&message(RTM_GETLINK, FLAG_REQUEST, index, &attributes))?)
}

/// Makes a pair of veth interfaces in the calling thread's namespace; the other one gets a name of the kernel's.
///
/// # Errors
/// The kernel's: EPERM without CAP_NET_ADMIN, EOPNOTSUPP where it has no veth.
pub(crate) fn make_pair(name: &str) -> io::Result<()> {
    let kind = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth"));
    let attributes = [attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()), kind].concat();
    let answer = ask(&message(RTM_NEWLINK, FLAG_REQUEST | FLAG_ACK | FLAG_CREATE_NEW, 0, &attributes))?;
    match error_of(&answer)? {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error)),
        None => Err(too_short()),
    }
}

/// Sends a message and reads the answer, which is one.
fn ask(message: &[u8]) -> io::Result<Vec<u8>> {
    let socket = question(message)?;
    let mut answer = vec![0; ANSWER_BYTES];
    let len = receive(&socket, &mut answer)?;
    answer.truncate(len);
    Ok(answer)
}

/// Sends a message; the answer is to be received from the socket.
pub(crate) fn question(message: &[u8]) -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    question_of(message, None)
}

/// The same of another netlink protocol.
pub(crate) fn question_of(message: &[u8], protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    send(&socket, message, SendFlags::empty())?;
    Ok(socket)
}

/// Receives an answer or a part of it: how many bytes.
pub(crate) fn receive(socket: &OwnedFd, answer: &mut [u8]) -> io::Result<usize> {
    match recv(socket, &mut *answer, RecvFlags::empty()) {
        Ok((_, len)) => Ok(len.min(answer.len())),
        Err(Errno::AGAIN) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the kernel has not answered for {} s", PATIENCE.as_secs()),
        )),
        Err(error) => Err(error.into()),
    }
}

fn message(kind: u16, flags: u16, index: u32, attributes: &[u8]) -> Vec<u8> {
    let bytes = (HEAD_BYTES + attributes.len()) as u32;
    let mut message = Vec::new();
    message.extend(bytes.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and port numbers: there is one answer to one question.
    message.extend([0; 8]);
    // Family, padding and type.
    message.extend([0; 4]);
    message.extend(index.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(attributes);
    message
}

/// An attribute, filled up to where the next one may begin.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = Vec::new();
    attribute.extend((4 + value.len() as u16).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn too_short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "rtnetlink's answer is too short")
}

/// The error number of an answer, 0 for an acknowledgment; `None` where it is of another kind.
fn error_of(answer: &[u8]) -> io::Result<Option<i32>> {
    if number::<2>(answer, 4).map(u16::from_ne_bytes).ok_or_else(too_short)? != NLMSG_ERROR {
        return Ok(None);
    }
    // A negative error number behind the head.
    Ok(Some(number::<4>(answer, 16).map(i32::from_ne_bytes).ok_or_else(too_short)?.saturating_neg()))
}

fn read_link(answer: &[u8]) -> io::Result<Link> {
    let short = too_short;
    if let Some(error) = error_of(answer)? {
        return Err(io::Error::from_raw_os_error(error));
    }
    if number::<2>(answer, 4).map(u16::from_ne_bytes) != Some(RTM_NEWLINK) {
        return Err(short());
    }
    let flags = number::<4>(answer, 24).map(u32::from_ne_bytes).ok_or_else(short)?;
    let mut link = Link {
        hardware_type: number::<2>(answer, 18).map(u16::from_ne_bytes).ok_or_else(short)?,
        is_up: flags & IFF_UP != 0,
        is_running: flags & IFF_RUNNING != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(answer.get(HEAD_BYTES..).ok_or_else(short)?) {
        match kind {
            IFLA_MTU => link.mtu_bytes = number::<4>(value, 0).map_or(0, u32::from_ne_bytes),
            IFLA_OPERSTATE => {
                let state = value.first().copied().unwrap_or(OPER_UNKNOWN);
                link.is_running |= matches!(state, OPER_UP);
            }
            IFLA_STATS64 => link.statistics = statistics(value),
            IFLA_XDP => link.xdp = attached(value),
            _ => {}
        }
    }
    Ok(link)
}

/// The attributes in `bytes`, which end where one does not fit: kind and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(number::<2>(bytes, 0).map(u16::from_ne_bytes)?);
        let kind = number::<2>(bytes, 2).map(u16::from_ne_bytes)?;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        // The upper bits say that it is nested, or in network order.
        Some((kind & 0x3fff, value))
    })
}

/// So many bytes from an offset on, if they are there.
pub(crate) fn number<const BYTES: usize>(bytes: &[u8], offset: usize) -> Option<[u8; BYTES]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// By the order of `rtnl_link_stats64` (linux/if_link.h).
fn statistics(value: &[u8]) -> LinkStatistics {
    let counter = |index: usize| number::<8>(value, index * 8).map_or(0, u64::from_ne_bytes);
    LinkStatistics {
        rx_packets: counter(0),
        rx_dropped: counter(6),
        rx_over_errors: counter(11),
        rx_fifo_errors: counter(14),
        rx_missed_errors: counter(15),
    }
}

fn attached(value: &[u8]) -> Option<AttachedXdp> {
    let (mut mode, mut program_id) = (0, 0);
    for (kind, value) in attributes(value) {
        match kind {
            IFLA_XDP_ATTACHED => mode = value.first().copied()?,
            IFLA_XDP_PROG_ID => program_id = number::<4>(value, 0).map(u32::from_ne_bytes)?,
            _ => {}
        }
    }
    let mode = match mode {
        0 => return None,
        1 => "native",
        2 => "generic",
        3 => "offloaded",
        _ => "several",
    };
    Some(AttachedXdp { mode, program_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_loopback_interface_is_told() {
        let link = link(1).expect("every namespace has one, with this index");
        assert_eq!((link.hardware_type, link.xdp), (772, None));
        assert!(link.mtu_bytes >= 1_500, "{link:?}");
    }

    #[test]
    fn a_link_that_is_not_there_is_an_error() {
        assert_eq!(link(987_654).expect_err("nobody has so many").raw_os_error(), Some(libc::ENODEV));
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_link(&answer);
            let _ = attached(&answer);
        }
    }
}
