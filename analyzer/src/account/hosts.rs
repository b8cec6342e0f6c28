//! Counts by host since they were last handed over: facts of packets that come to it ([`Facts::OF_HOST`]), and who sends
//! them, also of what is not TCP where that is much.
//!
//! Limits: [`ROWS`] hosts; a new one takes a free row, one that was silent for [`LISTENER_IDLE`], or as `index.rs`
//! says. What finds no row is in no host's count, and counted (`hosts_refused`).
//! Handed over at the end of a second, or of a tick in which [`FACTS_IN_EARNEST`] came to one host.

use tidegauge_ebpf::flow::{pair_hash, target_hash};
use tidegauge_ebpf::limits::LISTENER_IDLE;
use tidegauge_ebpf::listener::Askers;
use tidegauge_ebpf::packet::Address;
use tidegauge_ebpf::stamp::Stamp;

use super::index::{Index, Place};
use super::sources::Sources;
use crate::digest::Digest;
use crate::distinct::Distinct;
use crate::fact::{Fact, FactCounts, Facts};
use crate::huge;
use crate::keyed::Keyed;
use crate::window::{HostWindow, Window, ip_addr};

/// Rows, 1.8 MiB.
pub const ROWS: usize = 4_096;
/// Facts in a row from which on it is handed over at the end of the tick: of 200/s, the least that is a flood.
pub const FACTS_IN_EARNEST: u32 = 20;
/// Packets noted in a row from which on one in so many has its sender noted.
const NOTED_MAX: u32 = 500;
const NOTED_ONE_IN: u32 = 8;

#[derive(Clone, Debug)]
struct Row {
    id: u64,
    address: Address,
    seen: Stamp,
    /// Since it was handed over.
    facts: FactCounts,
    packets: u32,
    noted: u32,
    askers: Askers,
    touched: bool,
}

impl Row {
    const fn empty() -> Self {
        Self {
            id: 0,
            address: [0; 4],
            seen: Stamp(0),
            facts: FactCounts::EMPTY,
            packets: 0,
            noted: 0,
            askers: Askers::EMPTY,
            touched: false,
        }
    }
}

/// All rows.
pub(super) struct Hosts {
    index: Index,
    rows: huge::Table<Row>,
    /// Rows with something to hand over, and whether one of them has much.
    touched: Vec<u32>,
    in_earnest: bool,
}

impl Hosts {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(ROWS),
            rows: huge::Table::of(ROWS, Row::empty()),
            touched: Vec::with_capacity(ROWS),
            in_earnest: false,
        }
    }

    /// Counts a packet's facts to the host that they are about.
    pub(super) fn count(&mut self, facts: Facts, digest: &Digest, sources: &mut Sources, seed: u64) {
        let answer = [Fact::QueryAnswered, Fact::QueryFailed, Fact::StrayAnswered];
        let answer = answer.iter().any(|fact| facts.has(*fact));
        let packet = &digest.packet;
        let (host, other) =
            if answer { (packet.source, packet.destination) } else { (packet.destination, packet.source) };
        let id = target_hash(host, seed);
        let Some(place) = self.place(id, host, digest.now()) else { return };
        let row = &mut self.rows[place];
        row.facts.count(facts);
        self.note(place, other, digest, sources, seed);
    }

    /// Notes who sends what is not TCP, where it is much.
    pub(super) fn note_sender(&mut self, digest: &Digest, sources: &mut Sources, seed: u64) {
        let id = target_hash(digest.packet.destination, seed);
        if let Some(place) = self.place(id, digest.packet.destination, digest.now()) {
            self.note(place, digest.packet.source, digest, sources, seed);
        }
    }

    fn note(&mut self, place: usize, source: Address, digest: &Digest, sources: &mut Sources, seed: u64) {
        let row = &mut self.rows[place];
        let now = digest.now();
        row.seen = now;
        row.packets = row.packets.saturating_add(1);
        if row.packets < NOTED_MAX || row.packets.is_multiple_of(NOTED_ONE_IN) {
            row.noted += 1;
            row.askers.record(pair_hash(source, row.id, seed), digest.packet.ttl, now);
            sources.note_at(source, row.id, now, seed);
        }
        self.in_earnest |= row.packets >= FACTS_IN_EARNEST;
        if !std::mem::replace(&mut row.touched, true) {
            self.touched.push(place as u32);
        }
    }

    /// The row of a host; `None`: there is none for it.
    fn place(&mut self, id: u64, address: Address, now: Stamp) -> Option<usize> {
        let rows = &self.rows;
        let is_over = |place: usize| !rows[place].touched && now.since(rows[place].seen) > LISTENER_IDLE;
        match self.index.place(id, is_over, |place| !rows[place].touched) {
            Place::Known(place) => Some(place),
            Place::New(place) => {
                let mut row = Row { id, address, seen: now, ..Row::empty() };
                row.askers.start(now);
                self.rows[place] = row;
                Some(place)
            }
            Place::Refused => None,
        }
    }

    /// Moves counts into `window`.
    pub(super) fn hand_over(&mut self, everything: bool, window: &mut Window, sources: &Sources) {
        window.refused.hosts = self.index.take_refused();
        if !(everything || std::mem::take(&mut self.in_earnest)) {
            return;
        }
        let mut newest = None;
        let hosts = self.touched.drain(..).map(|place| {
            let row = &mut self.rows[place as usize];
            row.touched = false;
            let mut host = HostWindow {
                facts: std::mem::take(&mut row.facts),
                distinct: Distinct::of(&row.askers),
                ttl_classes: row.askers.ttl_classes[0] | row.askers.ttl_classes[1],
                ..HostWindow::default()
            };
            let (packets, noted) = (std::mem::take(&mut row.packets), std::mem::take(&mut row.noted));
            // Who asks a name server depends on it, however seldom.
            if packets >= FACTS_IN_EARNEST || host.facts.get(Fact::Query) != 0 {
                let newest = newest.get_or_insert_with(|| sources.newest());
                let [top, prefixes] = newest.busiest(row.id);
                host.add_sources(&top, &prefixes, packets / noted.max(1));
            }
            (ip_addr(row.address), host)
        });
        window.hosts = Keyed::gather(hosts, HostWindow::merge);
    }
}
