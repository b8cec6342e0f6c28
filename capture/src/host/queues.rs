//! Accept queues of the TCP listeners of this network namespace, by `sock_diag` (netlink, as `ss -ltn` asks).
//!
//! Limits: [`QUEUES_MAX`] listeners are told, those with the longest queues; the others are counted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink;

use crate::nic::netlink::{number, question_of, receive};

/// Listeners told.
pub const QUEUES_MAX: usize = 1_024;
/// Listeners read: hosts that serve a name each on addresses of their own have some thousands.
const READ_MAX: usize = 65_536;
/// linux/sock_diag.h, linux/netlink.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const FLAGS_REQUEST_DUMP: u16 = 0x1 | 0x300;
const HEAD_BYTES: usize = 16;
/// `inet_diag_req_v2`: family, protocol, extensions, padding, states, and a socket's name.
const REQUEST_BYTES: usize = 56;
/// `1 << TCP_LISTEN`.
const STATE_LISTEN: u32 = 1 << 10;
/// A part of the answer: the kernel fills up to 32 KiB.
const ANSWER_BYTES: usize = 64 * 1024;

/// Queues of all listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// The longest first, in relation to what they may hold.
    pub listeners: Vec<ListenQueue>,
    /// Listeners that are not among them.
    pub beyond: u64,
}

/// One listener's accept queue: connections that are complete, and wait for the program to take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenQueue {
    /// Where it listens; unspecified for all addresses.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Connections that wait.
    pub waiting: u32,
    /// How many may: the lesser of `listen(2)`'s and `net.core.somaxconn`. The kernel takes one more.
    pub backlog: u32,
}

impl ListenQueue {
    /// Whether the next connection is turned away (`sk_acceptq_is_full`).
    pub const fn is_full(&self) -> bool {
        self.waiting > self.backlog
    }

    /// Waiting ones per place.
    fn share(&self) -> u64 {
        u64::from(self.waiting) * 1_000 / (u64::from(self.backlog) + 1)
    }
}

/// Asks for all listeners, IPv4 and IPv6.
///
/// # Errors
/// The kernel's: it was built without it, or does not let us ask.
pub fn ask() -> io::Result<Queues> {
    let mut queues = Queues::default();
    let mut answer = vec![0; ANSWER_BYTES];
    for family in [libc::AF_INET, libc::AF_INET6] {
        let socket = question_of(&request(family as u8), Some(netlink::SOCK_DIAG))?;
        let mut parts = 0;
        loop {
            let len = receive(&socket, &mut answer)?;
            parts += 1;
            if read(&answer[..len], &mut queues)? || parts * 8 > READ_MAX {
                break;
            }
        }
    }
    // By name where they are as full: the order is the same each time.
    queues.listeners.sort_by_key(|queue| (std::cmp::Reverse(queue.share()), queue.address, queue.port));
    let beyond = queues.listeners.len().saturating_sub(QUEUES_MAX);
    queues.listeners.truncate(QUEUES_MAX);
    queues.beyond += beyond as u64;
    Ok(queues)
}

fn request(family: u8) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(((HEAD_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    message.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend(FLAGS_REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    message.extend(STATE_LISTEN.to_ne_bytes());
    message.resize(HEAD_BYTES + REQUEST_BYTES, 0);
    message
}

/// Takes the sockets of a part of an answer; whether it was the last part.
fn read(mut answer: &[u8], queues: &mut Queues) -> io::Result<bool> {
    while let Some(len) = number::<4>(answer, 0).map(u32::from_ne_bytes) {
        let len = len as usize;
        let (Some(message), Some(kind)) = (answer.get(..len), number::<2>(answer, 4)) else { break };
        if len < HEAD_BYTES {
            break;
        }
        match u16::from_ne_bytes(kind) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let error = number::<4>(message, HEAD_BYTES).map_or(0, i32::from_ne_bytes);
                return Err(io::Error::from_raw_os_error(error.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => match listener(&message[HEAD_BYTES..]) {
                Some(listener) if queues.listeners.len() < READ_MAX => queues.listeners.push(listener),
                _ => queues.beyond += 1,
            },
            _ => {}
        }
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `inet_diag_msg` (linux/inet_diag.h); of a listener the receive queue is the accept queue, the send queue its backlog.
fn listener(body: &[u8]) -> Option<ListenQueue> {
    let address = match i32::from(*body.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(number::<4>(body, 8)?)),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(number::<16>(body, 8)?)),
        _ => return None,
    };
    Some(ListenQueue {
        address,
        port: number::<2>(body, 4).map(u16::from_be_bytes)?,
        waiting: number::<4>(body, 56).map(u32::from_ne_bytes)?,
        backlog: number::<4>(body, 60).map(u32::from_ne_bytes)?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listener_that_does_not_accept_has_connections_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let _clients = [0; 2].map(|_| TcpStream::connect(address).expect("there is room"));
        let queues = ask().expect("this kernel has sock_diag");
        let own = queues.listeners.iter().find(|queue| queue.port == address.port());
        let own = own.expect("it listens");
        assert_eq!((own.address, own.waiting), (address.ip(), 2));
        assert!(own.backlog >= 2 && !own.is_full(), "{own:?}");
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut queues = Queues::default();
            let _ = read(&answer, &mut queues);
        }

        #[test]
        fn any_message_of_a_right_head_is_read(body in prop::collection::vec(any::<u8>(), 0..90)) {
            let mut answer = ((HEAD_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
            answer.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            answer.resize(HEAD_BYTES, 0);
            answer.extend(&body);
            let mut queues = Queues::default();
            prop_assert!(!read(&answer, &mut queues).expect("no error in it"));
            prop_assert_eq!(queues.listeners.len() as u64 + queues.beyond, 1);
        }
    }
}
