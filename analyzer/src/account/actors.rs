//! What each host asks of others: how many of them, how many ports, and what came of it. What tells a scan from a
//! client.
//!
//! Limits: [`ROWS`] hosts and protocols; a new one takes a free row, one whose period is over, or as [`super::index`]
//! says; who finds none is counted (`actors_refused`). Counts are of a period of
//! [`PERIOD_NS`], after which a row begins anew; distinct ports and hosts are linear counts (Whang et al. 1990) in 256
//! bits: within 10 % up to 500, and at most 1,400.
//! Handed over at the end of a tick where at least [`DISTINCT_TOLD_MIN`] questions have no answer, with all its counts.

use tidegauge_ebpf::flow::target_hash;
use tidegauge_ebpf::packet::Address;

use super::index::{Index, Place};
use crate::keyed::Keyed;
use crate::most::Most;
use crate::window::{ActorKey, ActorProtocol, ActorWindow, ListenerKey, Window, ip_addr};

/// Rows, 1 MiB.
pub const ROWS: usize = 4_096;
/// A minute of packet time.
pub const PERIOD_NS: u64 = 60_000_000_000;
/// Unanswered questions below which a row is not told.
pub const DISTINCT_TOLD_MIN: u64 = 8;
/// Logins below which it is not told either.
pub const LOGINS_TOLD_MIN: u32 = 4;
const WORDS: usize = 4;

/// A linear count of distinct values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bits([u64; WORDS]);

impl Bits {
    fn add(&mut self, hash: u64) {
        let bit = (hash >> 16) as usize % (WORDS * 64);
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn estimate(&self) -> u64 {
        let total = (WORDS * 64) as f64;
        let free = f64::from(self.0.iter().map(|word| word.count_zeros()).sum::<u32>()).max(0.5);
        (total * (total / free).ln()).round() as u64
    }
}

#[derive(Clone, Debug, Default)]
struct Row {
    address: Address,
    protocol: ActorProtocol,
    began_ns: u64,
    counts: ActorCounts,
    hosts: Bits,
    ports: Bits,
    places: Bits,
    host: Most<Address>,
    port: Most<u16>,
    /// Where passwords were tried.
    login: Most<(Address, u16)>,
    touched: bool,
}

/// What came of what was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActorCounts {
    /// First SYNs, datagrams, ARP requests, each to another place than the one before.
    pub asked: u32,
    /// Completed handshakes and datagrams that came back, each from another place than the one before.
    pub answered: u32,
    /// RSTs, ICMP errors.
    pub refused: u32,
    /// Brief connections of protocols that ask for a password.
    pub logins: u32,
}

/// All rows.
pub(super) struct Actors {
    index: Index,
    rows: Box<[Row]>,
    touched: Vec<u32>,
}

/// Who asks whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) protocol: ActorProtocol,
    pub(super) actor: Address,
    pub(super) host: Address,
    pub(super) port: u16,
    pub(super) now_ns: u64,
}

impl Asking {
    fn id(&self, seed: u64) -> u64 {
        target_hash(self.actor, seed).rotate_left(self.protocol as u32)
    }

    /// Host and port; never 0.
    fn place(&self, seed: u64) -> u32 {
        let port = u64::from(self.port).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (target_hash(self.host, seed) ^ port).wrapping_mul(0xff51_afd7_ed55_8ccd);
        (mixed >> 32) as u32 | 1
    }
}

impl Actors {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(ROWS),
            rows: vec![Row::default(); ROWS].into_boxed_slice(),
            touched: Vec::with_capacity(ROWS),
        }
    }

    /// Has the line fetched that says what somebody asked last.
    #[inline]
    pub(super) fn prefetch(&self, asking: &Asking, seed: u64) {
        self.index.prefetch(asking.id(seed));
    }

    /// Somebody asks. Who asks for the same place as last time is no scanner: that is not counted again.
    #[inline]
    pub(super) fn ask(&mut self, asking: &Asking, seed: u64) {
        let (id, place) = (asking.id(seed), asking.place(seed));
        if self.index.last(id) != Some(place) {
            self.ask_elsewhere(asking, id, place, seed);
        }
    }

    fn ask_elsewhere(&mut self, asking: &Asking, id: u64, place: u32, seed: u64) {
        let Some(at) = self.row(asking, id) else { return };
        self.index.set_last(id, place);
        let row = &mut self.rows[at];
        row.hosts.add(target_hash(asking.host, seed) >> 8);
        row.ports.add(u64::from(asking.port).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16);
        row.places.add(u64::from(place) << 12);
        row.host.record(asking.host);
        row.port.record(asking.port);
        row.counts.asked = row.counts.asked.saturating_add(1);
        self.touch(at);
    }

    /// It got what it asked for; counted again only where it is another place than the last one that answered.
    pub(super) fn answer(&mut self, asking: &Asking, seed: u64) {
        let (id, place) = (asking.id(seed), asking.place(seed));
        let Some(at) = self.index.find(id).filter(|_| self.index.last_answer(id) != Some(place)) else {
            return;
        };
        self.index.set_last_answer(id, place);
        let counts = &mut self.rows[at].counts;
        counts.answered = counts.answered.saturating_add(1);
    }

    /// It was refused.
    pub(super) fn refuse(&mut self, asking: &Asking, seed: u64) {
        if let Some(at) = self.index.find(asking.id(seed)) {
            let counts = &mut self.rows[at].counts;
            counts.refused = counts.refused.saturating_add(1);
            self.touch(at);
        }
    }

    /// A connection ended in which a password may have been tried.
    pub(super) fn login(&mut self, asking: &Asking, seed: u64) {
        if let Some(place) = self.row(asking, asking.id(seed)) {
            let row = &mut self.rows[place];
            row.login.record((asking.host, asking.port));
            row.counts.logins = row.counts.logins.saturating_add(1);
            self.touch(place);
        }
    }

    fn touch(&mut self, place: usize) {
        if !std::mem::replace(&mut self.rows[place].touched, true) {
            self.touched.push(place as u32);
        }
    }

    fn row(&mut self, asking: &Asking, id: u64) -> Option<usize> {
        let Asking { protocol, actor, now_ns, .. } = *asking;
        let is_over = |row: &Row| now_ns.abs_diff(row.began_ns) >= PERIOD_NS;
        let rows = &self.rows;
        let may_go = |place: usize| !rows[place].touched;
        let (place, touched) =
            match self.index.place(id, |place| may_go(place) && is_over(&rows[place]), may_go) {
                Place::Known(place) if !is_over(&rows[place]) => return Some(place),
                Place::Known(place) => (place, rows[place].touched),
                Place::New(place) => (place, false),
                Place::Refused => return None,
            };
        self.rows[place] = Row { address: actor, protocol, began_ns: now_ns, touched, ..Row::default() };
        Some(place)
    }

    /// Tells the rows that are worth it.
    pub(super) fn hand_over(&mut self, window: &mut Window) {
        window.refused.actors = self.index.take_refused();
        let rows = &mut self.rows;
        let told = self.touched.drain(..).filter_map(|place| {
            let row = &mut rows[place as usize];
            row.touched = false;
            row.is_worth_telling()
                .then(|| (ActorKey { address: ip_addr(row.address), protocol: row.protocol }, row.window()))
        });
        window.actors = Keyed::gather(told, ActorWindow::merge);
    }
}

impl Row {
    fn is_worth_telling(&self) -> bool {
        let unanswered = u64::from(self.counts.asked.saturating_sub(self.counts.answered));
        let mostly = unanswered * 2 > u64::from(self.counts.asked);
        (unanswered >= DISTINCT_TOLD_MIN && mostly) || self.counts.logins >= LOGINS_TOLD_MIN
    }

    fn window(&self) -> ActorWindow {
        ActorWindow {
            began_ns: self.began_ns,
            counts: self.counts,
            hosts: self.hosts.estimate(),
            ports: self.ports.estimate(),
            places: self.places.estimate(),
            host: self.host.value.map(ip_addr),
            host_is_most: self.host.lead * 2 > self.counts.asked,
            port: self.port.value,
            login: self.login.value.map(|(address, port)| ListenerKey { address: ip_addr(address), port }),
        }
    }
}
