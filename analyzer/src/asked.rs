//! Handshakes by host and by network, whatever the ports, as windows have them: what is asked of many listeners at once
//! shows at none of them.

use std::net::IpAddr;

use crate::account::actors::Bits;
use crate::distinct::Distinct;
use crate::window::merge_sources;

/// Who is asked. Networks come first: what is spread over one is not told of its hosts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskedKey {
    /// A /24 of IPv4 or /48 of IPv6, by its first address.
    Network(IpAddr),
    /// A host.
    Host(IpAddr),
}

/// What is counted of handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum AskedCount {
    /// First SYNs.
    Attempted,
    /// SYNs again.
    Again,
    /// First SYN-ACKs.
    Answered,
    /// RSTs in place of an answer.
    Refused,
    /// Completed ones, those seen from one side included.
    Completed,
    /// First SYNs whose sender was noted.
    Noted,
}

/// How many [`AskedCount`]s there are.
pub const ASKED_COUNTS: usize = AskedCount::Noted as usize + 1;

/// What was asked of a host or network since it was last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedWindow {
    /// By [`AskedCount`].
    pub counts: [u64; ASKED_COUNTS],
    /// Ports that were asked for in this second.
    pub ports: Bits,
    /// Hosts that were asked in this second.
    pub hosts: Bits,
    /// By how many thousandths of the attempts the busiest port leads over all others in this second, if any has half.
    pub port_lead: u32,
    /// The same of the busiest host.
    pub host_lead: u32,
    /// Sources of noted attempts in the last one to two seconds.
    pub distinct: Distinct,
    /// Classes of their TTLs.
    pub ttl_classes: u64,
    /// Busiest sources: attempts, at least.
    pub sources: Vec<(IpAddr, u32)>,
    /// The same by network.
    pub prefixes: Vec<(IpAddr, u32)>,
    /// Attempts that these are a part of.
    pub noted_in_period: u64,
}

impl AskedWindow {
    /// A count.
    pub const fn get(&self, count: AskedCount) -> u64 {
        self.counts[count as usize]
    }

    /// Adds another shard's or interval's.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(own, more)| *own = own.saturating_add(more));
        self.ports.add_all(&other.ports);
        self.hosts.add_all(&other.hosts);
        self.port_lead = self.port_lead.max(other.port_lead);
        self.host_lead = self.host_lead.max(other.host_lead);
        self.distinct.merge(&other.distinct);
        self.ttl_classes |= other.ttl_classes;
        self.noted_in_period += other.noted_in_period;
        merge_sources(&mut self.sources, &other.sources);
        merge_sources(&mut self.prefixes, &other.prefixes);
    }
}
