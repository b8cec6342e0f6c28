//! What connections and paths suffer from, beside counts: windows that stay closed and full-size segments that never
//! arrive, by listener; ICMP errors about packets on their way and packets that come by again, by destination.
//!
//! Only sources of whole packets tell it. Noted by [`crate::follow`] in bounded lists, handed on in windows
//! ([`crate::window::Window`]), judged by detectors of `zero_window`, `mtu_blackhole` and `routing_loop`.

use std::net::IpAddr;

/// Times that a segment was sent again are told apart up to this many.
pub const REPEATS_MAX: usize = 8;
/// Routers counted apart for each destination over seconds, and named in a window: a way has 30 at most.
pub const ROUTERS_MAX: usize = 4;
const ROUTERS_NAMED_MAX: usize = 32;

/// Windows that stay closed at a listener's connections; of several windows the most, as these last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Connections whose client does not read.
    pub by_clients: u32,
    /// Connections whose listener does not read.
    pub by_listener: u32,
    /// Of the one that is known to be closed longest: from the first zero window to the last, nanoseconds.
    pub known_ns: u64,
    /// Its zero windows.
    pub zero_windows: u32,
    /// Who sends them.
    pub receiver: Option<IpAddr>,
    /// To whom.
    pub sender: Option<IpAddr>,
}

/// Full-size segments at a listener's connections that are sent again and again, while nothing of that size was ever
/// acknowledged there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    /// Connections by how often the segment was sent again: once, twice, ...; the last is that often or more.
    pub by_repeats: [u32; REPEATS_MAX],
    /// Most repeats.
    pub repeats: u32,
    /// Connections whose other end was heard since: it lives, and what is small gets through.
    pub alive: u32,
    /// Connections about which an ICMP error said that packets are too big, and nothing changed.
    pub ignored: u32,
    /// Smallest MTU that such an error told; 0: none.
    pub mtu: u32,
    /// Payload of the segment that was repeated most.
    pub payload_bytes: u32,
    /// Who does not get it; of several the one repeated most.
    pub receiver: Option<IpAddr>,
    /// Whether there are several who do not.
    pub is_several: bool,
}

/// Both, of one listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Windows that stay closed.
    pub closed: Closed,
    /// Segments that do not arrive.
    pub stuck: Stuck,
}

/// What was seen of packets to one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathWindow {
    /// ICMP errors that say that the hops of a packet to it ran out.
    pub ttl_exceeded: u32,
    /// Of these, about packets like those of traceroute: echo requests, and datagrams to its ports.
    pub probes: u32,
    /// Who sent them, the most first.
    pub routers: Vec<(IpAddr, u32)>,
    /// Packets that came by again and again, each time with fewer hops left.
    pub passed_again: u32,
    /// Who sends to it, one of them.
    pub sender: Option<IpAddr>,
}

impl Trouble {
    /// Whether there is none any more.
    pub fn is_over(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another partition has seen in the same tick.
    pub fn join(&mut self, other: &Self) {
        self.closed.take(&other.closed, |own, more| own.saturating_add(more));
        self.stuck.take(&other.stuck, |own, more| own.saturating_add(more));
    }

    /// Adds another window's.
    pub fn merge(&mut self, other: &Self) {
        self.closed.take(&other.closed, u32::max);
        self.stuck.take(&other.stuck, u32::max);
    }
}

impl Closed {
    fn take(&mut self, other: &Self, add: impl Fn(u32, u32) -> u32) {
        let by_clients = add(self.by_clients, other.by_clients);
        let by_listener = add(self.by_listener, other.by_listener);
        let rank = |closed: &Self| (closed.known_ns, closed.zero_windows, closed.receiver, closed.sender);
        let longest = if rank(other) > rank(self) { *other } else { *self };
        *self = Self { by_clients, by_listener, ..longest };
    }
}

impl Stuck {
    fn take(&mut self, other: &Self, add: impl Fn(u32, u32) -> u32) {
        for (own, more) in self.by_repeats.iter_mut().zip(other.by_repeats) {
            *own = add(*own, more);
        }
        self.alive = add(self.alive, other.alive);
        self.ignored = add(self.ignored, other.ignored);
        self.mtu = [self.mtu, other.mtu].into_iter().filter(|mtu| *mtu != 0).min().unwrap_or_default();
        let both = self.receiver.is_some() && other.receiver.is_some();
        self.is_several |= other.is_several || (both && self.receiver != other.receiver);
        let rank = |stuck: &Self| (stuck.repeats, stuck.payload_bytes, stuck.receiver);
        if rank(other) > rank(self) {
            (self.repeats, self.payload_bytes, self.receiver) = rank(other);
        }
    }

    /// Connections whose segment was sent again so often or more.
    pub fn connections(&self, repeats_min: u32) -> u32 {
        let from = (repeats_min.max(1) as usize - 1).min(REPEATS_MAX - 1);
        self.by_repeats[from..].iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl PathWindow {
    /// Adds another partition's or interval's.
    pub fn merge(&mut self, other: &Self) {
        self.ttl_exceeded = self.ttl_exceeded.saturating_add(other.ttl_exceeded);
        self.probes = self.probes.saturating_add(other.probes);
        self.passed_again = self.passed_again.saturating_add(other.passed_again);
        self.sender = self.sender.min(other.sender).or(self.sender).or(other.sender);
        crate::window::merge_sources(&mut self.routers, &other.routers);
        self.routers.truncate(ROUTERS_NAMED_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stuck(receiver: [u8; 4], repeats: usize) -> Trouble {
        let mut trouble = Trouble::default();
        trouble.stuck.by_repeats[repeats - 1] = 1;
        trouble.stuck.repeats = repeats as u32;
        trouble.stuck.receiver = Some(IpAddr::from(receiver));
        trouble
    }

    #[test]
    fn partitions_add_and_windows_do_not() {
        let (one, other) = (stuck([192, 0, 2, 1], 3), stuck([192, 0, 2, 2], 5));
        let mut tick = one;
        tick.join(&other);
        assert_eq!((tick.stuck.connections(3), tick.stuck.connections(4)), (2, 1));
        assert!(tick.stuck.is_several && tick.stuck.receiver == other.stuck.receiver);
        let mut second = tick;
        second.merge(&tick);
        assert_eq!(second, tick);
        assert!(Trouble::default().is_over() && !tick.is_over());
    }

    #[test]
    fn routers_are_named_by_how_much_they_say() {
        let note = |router: u8| PathWindow {
            ttl_exceeded: 1,
            routers: vec![(IpAddr::from([192, 0, 2, router]), 1)],
            ..PathWindow::default()
        };
        let mut sum = note(9);
        [1, 2, 3, 4, 5, 9].into_iter().for_each(|router| sum.merge(&note(router)));
        assert_eq!((sum.ttl_exceeded, sum.routers.len()), (7, 6));
        assert_eq!(sum.routers[0], (IpAddr::from([192, 0, 2, 9]), 2));
    }
}
