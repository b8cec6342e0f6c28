//! Handshakes by host and by network, whatever the ports ([`crate::asked`]).
//!
//! Limits: [`HOSTS`] and [`NETWORKS`]; a new one takes a free row, one that was silent for [`LISTENER_IDLE`], or as
//! `index.rs` says: what is asked most stays, and what finds no row is counted (`hosts_refused`).
//! Handed over at the end of a tick with [`TOLD_TICK`] SYNs, of a second with [`TOLD_SECOND`]; what is less is forgotten:
//! only floods are looked for here.

use std::net::IpAddr;

use tidegauge_ebpf::event;
use tidegauge_ebpf::flow::{pair_hash, prefix_of, target_hash};
use tidegauge_ebpf::limits::LISTENER_IDLE;
use tidegauge_ebpf::listener::Askers;
use tidegauge_ebpf::packet::Address;
use tidegauge_ebpf::stamp::Stamp;

use super::actors::{Bits, port_hash};
use super::index::{Index, Place};
use super::sources::{Newest, Sources};
use crate::asked::{ASKED_COUNTS, AskedCount, AskedKey, AskedWindow};
use crate::digest::Digest;
use crate::distinct::Distinct;
use crate::keyed::Keyed;
use crate::most::Most;
use crate::window::{Window, ip_addr};

/// Hosts, 2.4 MiB.
pub const HOSTS: usize = 4_096;
/// Networks.
pub const NETWORKS: usize = 1_024;
/// SYNs from which on a row is told at the end of the tick: of 200/s.
const TOLD_TICK: u32 = 20;
/// SYNs from which on it is told at the end of the second.
const TOLD_SECOND: u32 = 100;
/// Attempts in a second from which on it is noted where they go and who makes them: with less there is no flood.
const NOTED_FROM: u32 = 8;
/// Attempts since it was told from which on one in so many is noted.
const NOTED_ALL: u32 = 128;
const NOTED_ONE_IN: u32 = 8;
/// Keeps networks apart from the hosts with their first addresses.
const OF_NETWORKS: u64 = 0x5bd1_e995_97f4_a7c1;
/// What is counted here.
pub(super) const COUNTED: u32 = event::ATTEMPTED
    | event::SYN_AGAIN
    | event::ANSWERED
    | event::REFUSED
    | event::COMPLETED
    | event::COMPLETED_ONE_SIDED;

/// What every segment of a handshake touches: a cache line.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Row {
    address: Address,
    counts: [u32; ASKED_COUNTS],
    /// Attempts in this second.
    this_second: u32,
    seen: Stamp,
    touched: bool,
    /// Whether it was told in this second, or in the one before and is asked on.
    told: bool,
}

/// Where attempts of this second go and who makes them, of those that were noted.
#[derive(Clone, Debug)]
struct Beside {
    ports: Bits,
    hosts: Bits,
    port: Most<u16>,
    host: Most<Address>,
    noted: u32,
    /// Noted in the sketch period of this number: what the busiest sources are a part of.
    in_period: (u32, u32),
    askers: Askers,
}

impl Row {
    const fn new(address: Address, now: Stamp) -> Self {
        Self { address, counts: [0; ASKED_COUNTS], this_second: 0, seen: now, touched: false, told: false }
    }

    fn syns(&self) -> u32 {
        self.counts[AskedCount::Attempted as usize] + self.counts[AskedCount::Again as usize]
    }

    fn add(&mut self, count: AskedCount, segments: u32) {
        let own = &mut self.counts[count as usize];
        *own = own.saturating_add(segments);
    }

    /// Whether the newest attempt is noted.
    fn notes(&self) -> bool {
        let attempts = self.counts[AskedCount::Attempted as usize];
        self.this_second >= NOTED_FROM && (attempts < NOTED_ALL || attempts.is_multiple_of(NOTED_ONE_IN))
    }

    /// A second is over: it begins anew.
    fn end_second(&mut self) {
        self.told = self.told && self.this_second != 0;
        (self.touched, self.this_second) = (false, 0);
        self.counts = [0; ASKED_COUNTS];
    }
}

impl Beside {
    const EMPTY: Self = Self {
        ports: Bits::NONE,
        hosts: Bits::NONE,
        port: Most { value: None, lead: 0 },
        host: Most { value: None, lead: 0 },
        noted: 0,
        in_period: (0, 0),
        askers: Askers::EMPTY,
    };

    fn note(&mut self, digest: &Digest, id: u64, sources: &mut Sources, seed: u64) {
        let packet = &digest.packet;
        self.noted += 1;
        let period = digest.now().period();
        let (number, count) = self.in_period;
        self.in_period = if number == period { (period, count + 1) } else { (period, 1) };
        self.ports.add(port_hash(packet.destination_port));
        self.port.record(packet.destination_port);
        self.hosts.add(target_hash(packet.destination, seed) >> 8);
        self.host.record(packet.destination);
        self.askers.record(pair_hash(packet.source, id, seed), packet.ttl, digest.now());
        sources.note_at(packet.source, id, digest.now(), seed);
    }

    /// By how many thousandths of the attempts something leads.
    fn lead(&self, lead: u32) -> u32 {
        (u64::from(lead) * 1_000 / u64::from(self.noted.max(1))) as u32
    }

    fn end_second(&mut self) {
        (self.ports, self.hosts, self.noted) = (Bits::NONE, Bits::NONE, 0);
        (self.port, self.host) = (Most::default(), Most::default());
    }

    fn window(&self, counts: [u32; ASKED_COUNTS], [top, prefixes]: [Vec<(IpAddr, u32)>; 2]) -> AskedWindow {
        AskedWindow {
            counts: counts.map(u64::from),
            ports: self.ports,
            hosts: self.hosts,
            port_lead: self.lead(self.port.lead),
            host_lead: self.lead(self.host.lead),
            distinct: Distinct::of(&self.askers),
            ttl_classes: self.askers.ttl_classes[0] | self.askers.ttl_classes[1],
            sources: top,
            prefixes,
            noted_in_period: self.in_period.1.into(),
        }
    }
}

/// Rows of hosts, or of networks: what is spread over many hosts must not take the rows of their networks.
struct Rows {
    index: Index,
    rows: Box<[Row]>,
    beside: Box<[Beside]>,
    /// Ids of the rows, for what was noted of them.
    ids: Box<[u64]>,
    touched: Vec<u32>,
    /// Whether one of them has enough to be told at the end of the tick.
    in_earnest: bool,
    is_network: bool,
}

impl Rows {
    fn new(count: usize, is_network: bool) -> Self {
        Self {
            index: Index::new(count),
            rows: vec![Row::new([0; 4], Stamp(0)); count].into_boxed_slice(),
            beside: vec![Beside::EMPTY; count].into_boxed_slice(),
            ids: vec![0; count].into_boxed_slice(),
            touched: Vec::with_capacity(count),
            in_earnest: false,
            is_network,
        }
    }

    fn count(&mut self, address: Address, events: u32, digest: &Digest, sources: &mut Sources, seed: u64) {
        let id = target_hash(address, seed ^ if self.is_network { OF_NETWORKS } else { 0 });
        let asks = events & (event::ATTEMPTED | event::SYN_AGAIN) != 0;
        let place = if asks { self.place(id, address, digest.now()) } else { self.index.find(id) };
        let Some(place) = place else { return };
        let row = &mut self.rows[place];
        row.seen = digest.now();
        for (bits, count) in [
            (event::ATTEMPTED, AskedCount::Attempted),
            (event::SYN_AGAIN, AskedCount::Again),
            (event::ANSWERED, AskedCount::Answered),
            (event::REFUSED, AskedCount::Refused),
            (event::COMPLETED | event::COMPLETED_ONE_SIDED, AskedCount::Completed),
        ] {
            if events & bits != 0 {
                row.add(count, digest.segments);
            }
        }
        if events & event::ATTEMPTED != 0 {
            row.this_second = row.this_second.saturating_add(1);
            if row.notes() {
                row.add(AskedCount::Noted, 1);
                self.beside[place].note(digest, id, sources, seed);
            }
        }
        self.in_earnest |= row.syns() >= TOLD_TICK;
        if !std::mem::replace(&mut row.touched, true) {
            self.touched.push(place as u32);
        }
    }

    fn place(&mut self, id: u64, address: Address, now: Stamp) -> Option<usize> {
        let rows = &self.rows;
        let is_over = |place: usize| !rows[place].touched && now.since(rows[place].seen) > LISTENER_IDLE;
        match self.index.place(id, is_over, |place| !rows[place].touched) {
            Place::Known(place) => Some(place),
            Place::New(place) => {
                self.rows[place] = Row::new(address, now);
                self.beside[place] = Beside::EMPTY;
                self.beside[place].askers.start(now);
                self.ids[place] = id;
                Some(place)
            }
            Place::Refused => None,
        }
    }

    /// Rows that are told; with `everything` a second is over.
    fn told(
        &mut self,
        everything: bool,
        sources: &Sources,
        newest: &mut Option<Newest>,
    ) -> Vec<(AskedKey, AskedWindow)> {
        let mut told = Vec::new();
        if !(everything || std::mem::take(&mut self.in_earnest)) {
            return told;
        }
        let Self { rows, beside, ids, is_network, .. } = self;
        self.touched.retain(|place| {
            let place = *place as usize;
            let (row, beside) = (&mut rows[place], &mut beside[place]);
            let syns = row.syns();
            if syns >= TOLD_TICK || (everything && (row.told || syns >= TOLD_SECOND)) {
                row.told = true;
                let address = ip_addr(row.address);
                let key = if *is_network { AskedKey::Network(address) } else { AskedKey::Host(address) };
                let newest = newest.get_or_insert_with(|| sources.newest());
                let counts = std::mem::take(&mut row.counts);
                told.push((key, beside.window(counts, newest.busiest(ids[place]))));
            }
            if everything {
                if row.this_second >= NOTED_FROM {
                    beside.end_second();
                }
                row.end_second();
            }
            !everything
        });
        told
    }
}

/// All rows.
pub(super) struct Asked {
    hosts: Rows,
    networks: Rows,
    /// Apart from those of listeners, who would be crowded out.
    sources: Sources,
}

impl Asked {
    pub(super) fn new() -> Self {
        Self { hosts: Rows::new(HOSTS, false), networks: Rows::new(NETWORKS, true), sources: Sources::new() }
    }

    /// Counts a segment of a handshake; `events` has one of [`COUNTED`].
    pub(super) fn count(&mut self, events: u32, digest: &Digest, seed: u64) {
        let packet = &digest.packet;
        let host = if events & event::FROM_LISTENER != 0 { packet.source } else { packet.destination };
        self.hosts.count(host, events, digest, &mut self.sources, seed);
        self.networks.count(prefix_of(host), events, digest, &mut self.sources, seed);
    }

    /// Moves what is told into `window`; with `everything` a second is over.
    pub(super) fn hand_over(&mut self, everything: bool, window: &mut Window) {
        let (mut told, mut newest) = (Vec::new(), None);
        for rows in [&mut self.networks, &mut self.hosts] {
            window.refused.hosts += rows.index.take_refused();
            told.append(&mut rows.told(everything, &self.sources, &mut newest));
        }
        window.asked = Keyed::gather(told, AskedWindow::merge);
    }
}
