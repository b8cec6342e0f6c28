//! What each host asks of others: how many of them, how many ports, and what came of it. What tells a scan from a
//! client.
//!
//! Limits: [`ROWS`] hosts and protocols; a new one takes a free row, one whose period is over, or as `index.rs`
//! says; who finds none is counted (`actors_refused`). Counts are of a period of
//! [`PERIOD_NS`], after which a row begins anew; distinct ports and hosts are linear counts (Whang et al. 1990) in 512
//! bits: within 10 % up to a thousand, and at most 3,000.
//! A place that answered in this period or in the one before is known: asking it again is what clients do, also where
//! it has stopped answering since, and is not counted. Where most of what was known falls silent, it stays known. Among some hundred known places some new ones are taken for
//! known; whoever is answered by a thousand (a gateway, a resolver) is not judged at all.
//! Handed over at the end of a tick where at least [`DISTINCT_TOLD_MIN`] questions have no answer, with all its counts.

use std::net::IpAddr;

use tidegauge_ebpf::flow::target_hash;
use tidegauge_ebpf::packet::Address;

use super::index::{Index, Place};
use crate::huge;
use crate::keyed::Keyed;
use crate::most::Most;
use crate::prefix::common_bits;
use crate::window::{ActorKey, ActorProtocol, ActorWindow, ListenerKey, Window, ip_addr};

/// Rows, 2 MiB.
pub const ROWS: usize = 4_096;
/// A minute of packet time.
pub const PERIOD_NS: u64 = 60_000_000_000;
/// Unanswered questions below which a row is not told.
pub const DISTINCT_TOLD_MIN: u64 = 8;
/// Logins, and claims to an address, below which it is not told either.
pub const LOGINS_TOLD_MIN: u32 = 4;
/// Periods before whose logins are remembered: five minutes with the one at hand.
const PERIODS_BEFORE: usize = 4;
const WORDS: usize = 8;

/// A linear count of distinct values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits([u64; WORDS]);

impl Bits {
    const fn bit(hash: u64) -> (usize, u64) {
        let bit = (hash >> 16) as usize % (WORDS * 64);
        (bit / 64, 1 << (bit % 64))
    }

    /// Adds one; whether it is new.
    fn add(&mut self, hash: u64) -> bool {
        let (word, bit) = Self::bit(hash);
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Whether one was added, or another with its bit.
    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = Self::bit(hash);
        self.0[word] & bit != 0
    }

    fn ones(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// What is known of two periods: the later one's, and the earlier one's too where the later has less than half of
    /// it: then not the places changed, but whether they answer.
    fn known_then(self, before: Self) -> Self {
        if self.ones() * 2 >= before.ones() {
            return self;
        }
        let mut both = self;
        both.add_all(&before);
        both
    }

    /// Adds all of another count.
    pub fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, more)| *own |= more);
    }

    /// How many there are, about.
    pub fn estimate(&self) -> u64 {
        let total = (WORDS * 64) as f64;
        let free = f64::from(self.0.iter().map(|word| word.count_zeros()).sum::<u32>()).max(0.5);
        (total * (total / free).ln()).round() as u64
    }
}

#[derive(Clone, Debug, Default)]
struct Row {
    address: Address,
    protocol: ActorProtocol,
    counts: ActorCounts,
    hosts: Bits,
    ports: Bits,
    places: Bits,
    /// Places that answered, in this period and in the one before.
    served: Bits,
    served_before: Bits,
    reach: Reach,
    host: Most<Address>,
    port: Most<u16>,
    /// Where passwords were tried.
    login: Most<(Address, u16)>,
    /// How many there at least, in the periods before; the newest first.
    logins_before: [u16; PERIODS_BEFORE],
}

/// What is asked of a row before it is looked at: most questions need no more.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    began_ns: u64,
    /// Whether its owner was seen to ask for a second place: before that the row is somebody else's old one.
    used: bool,
    touched: bool,
}

/// Where the hosts are that somebody asks.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    /// The first of them, and the first bits that all have in common with it.
    first: Address,
    common_bits: u8,
    /// The network of most, small and large; see [`NETWORK_BITS`].
    networks: [Most<Address>; 2],
}

/// Prefix bits of an [`Address`] that make a network: /24 and /16 of IPv4, /64 and /48 of IPv6.
const NETWORK_BITS: [[u8; 2]; 2] = [[96 + 24, 96 + 16], [64, 48]];
/// Prefix bits of an IPv4 address that are those of the mapping.
const MAPPED_BITS: u8 = 96;

fn network_bits(address: Address) -> [u8; 2] {
    NETWORK_BITS[usize::from(address[..3] != [0, 0, 0xffff])]
}

/// The first `bits` of an address.
fn prefix(mut address: Address, bits: u8) -> Address {
    for (word, before) in address.iter_mut().zip([0, 32, 64, 96]) {
        let kept = bits.saturating_sub(before).min(32);
        *word = if kept == 0 { 0 } else { *word & (u32::MAX << (32 - kept)) };
    }
    address
}

impl Reach {
    fn add(&mut self, host: Address) {
        if self.first == [0; 4] {
            (self.first, self.common_bits) = (host, 128);
        }
        self.common_bits = self.common_bits.min(common_bits(self.first, host));
        for (network, bits) in self.networks.iter_mut().zip(network_bits(host)) {
            network.record(prefix(host, bits));
        }
    }

    /// The network that most of `asked` went to.
    fn network(&self, asked: u32) -> Option<(IpAddr, u8)> {
        let sizes = network_bits(self.first);
        let mapped = if sizes == NETWORK_BITS[0] { MAPPED_BITS } else { 0 };
        let of = |address, bits: u8| Some((ip_addr(prefix(address, bits)), bits.saturating_sub(mapped)));
        if self.common_bits >= sizes[1] {
            return of(self.first, self.common_bits);
        }
        let (most, bits) = self.networks.iter().zip(sizes).find(|(network, _)| network.lead > asked / 2)?;
        of(most.value?, bits)
    }
}

/// What came of what was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActorCounts {
    /// First SYNs, datagrams, ARP requests, each to another place than the one before; none to places that are known.
    pub asked: u32,
    /// Places that completed a handshake, sent datagrams back or told their address, for the first time.
    pub answered: u32,
    /// Places that answered a SYN, for the first time, and were sent a RST: a balancer's checks, or a half-open scan.
    pub accepted: u32,
    /// RSTs, ICMP errors.
    pub refused: u32,
    /// Brief connections of protocols that ask for a password.
    pub logins: u32,
    /// ARP packets in which its address moved to other hardware.
    pub moved: u32,
    /// ARP replies for its address that nobody asked for.
    pub unasked: u32,
}

impl ActorCounts {
    /// Adds another worker's.
    pub const fn add(&mut self, other: &Self) {
        self.asked = self.asked.saturating_add(other.asked);
        self.answered = self.answered.saturating_add(other.answered);
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.refused = self.refused.saturating_add(other.refused);
        self.logins = self.logins.saturating_add(other.logins);
        self.moved = self.moved.saturating_add(other.moved);
        self.unasked = self.unasked.saturating_add(other.unasked);
    }
}

/// Ports that follow each other must fall anywhere, or their count is too high.
const fn port_hash(port: u16) -> u64 {
    let mixed = (port as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

const fn place_hash(place: u32) -> u64 {
    (place as u64) << 12
}

/// All rows.
pub(super) struct Actors {
    index: Index,
    slots: Box<[Slot]>,
    rows: huge::Table<Row>,
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
            slots: vec![Slot::default(); ROWS].into_boxed_slice(),
            rows: huge::Table::new(ROWS),
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
        // Whoever asks for one place, once or often, is no scanner, and takes no row.
        let is_first = self.index.last(id).is_none();
        let Some(at) = self.slot(asking, id) else { return };
        self.index.set_last(id, place);
        if is_first {
            return;
        }
        // The first place is counted with the second; which one it was is not known any more.
        let first = u32::from(!self.slots[at].used);
        self.begin(asking, at);
        self.rows[at].counts.asked += first;
        let row = &mut self.rows[at];
        if row.served.may_have(place_hash(place)) || row.served_before.may_have(place_hash(place)) {
            return;
        }
        row.hosts.add(target_hash(asking.host, seed) >> 8);
        row.ports.add(port_hash(asking.port));
        row.places.add(place_hash(place));
        row.reach.add(asking.host);
        row.host.record(asking.host);
        row.port.record(asking.port);
        row.counts.asked = row.counts.asked.saturating_add(1);
        self.touch(at);
    }

    /// It got what it asked for; counted again only where it is another place than the last one that answered.
    pub(super) fn answer(&mut self, asking: &Asking, seed: u64) {
        self.note_answer(asking, seed, |counts| &mut counts.answered);
    }

    /// It was answered, and did not want to go on.
    pub(super) fn accept(&mut self, asking: &Asking, seed: u64) {
        self.note_answer(asking, seed, |counts| &mut counts.accepted);
    }

    fn note_answer(&mut self, asking: &Asking, seed: u64, counted: impl Fn(&mut ActorCounts) -> &mut u32) {
        let (id, place) = (asking.id(seed), asking.place(seed));
        let Some(at) = self.index.find(id).filter(|_| self.index.last_answer(id) != Some(place)) else {
            return;
        };
        self.index.set_last_answer(id, place);
        if !self.slots[at].used {
            return;
        }
        let row = &mut self.rows[at];
        let was_known = row.served_before.may_have(place_hash(place));
        if row.served.add(place_hash(place)) && !was_known {
            let count = counted(&mut row.counts);
            *count = count.saturating_add(1);
        }
    }

    /// It was refused.
    pub(super) fn refuse(&mut self, asking: &Asking, seed: u64) {
        if let Some(at) = self.index.find(asking.id(seed)).filter(|at| self.slots[*at].used) {
            let counts = &mut self.rows[at].counts;
            counts.refused = counts.refused.saturating_add(1);
            self.touch(at);
        }
    }

    /// A connection ended in which a password may have been tried.
    pub(super) fn login(&mut self, asking: &Asking, seed: u64) {
        if let Some(place) = self.slot(asking, asking.id(seed)) {
            self.begin(asking, place);
            let row = &mut self.rows[place];
            let was = row.login.value;
            row.login.record((asking.host, asking.port));
            if row.login.value != was {
                row.logins_before = [0; PERIODS_BEFORE];
            }
            row.counts.logins = row.counts.logins.saturating_add(1);
            self.touch(place);
        }
    }

    /// Its address moved, or was told unasked.
    pub(super) fn claim(&mut self, asking: &Asking, moved: bool, unasked: bool, seed: u64) {
        if !moved && !unasked {
            return;
        }
        if let Some(place) = self.slot(asking, asking.id(seed)) {
            self.begin(asking, place);
            let counts = &mut self.rows[place].counts;
            counts.moved = counts.moved.saturating_add(u32::from(moved));
            counts.unasked = counts.unasked.saturating_add(u32::from(unasked));
            self.touch(place);
        }
    }

    fn touch(&mut self, place: usize) {
        if !std::mem::replace(&mut self.slots[place].touched, true) {
            self.touched.push(place as u32);
        }
    }

    /// The place of somebody's row, which is theirs from here on.
    fn slot(&mut self, asking: &Asking, id: u64) -> Option<usize> {
        let now_ns = asking.now_ns;
        let slots = &self.slots;
        let is_over = |place: usize| now_ns.abs_diff(slots[place].began_ns) >= PERIOD_NS;
        let may_go = |place: usize| !slots[place].touched;
        match self.index.place(id, |place| may_go(place) && is_over(place), may_go) {
            Place::Known(place) if !is_over(place) => Some(place),
            Place::Known(place) => {
                // What answered in the period before is still known.
                if slots[place].used {
                    let over = (now_ns.abs_diff(slots[place].began_ns) / PERIOD_NS) as usize;
                    self.rows[place] = self.rows[place].then(over);
                }
                self.slots[place].began_ns = now_ns;
                Some(place)
            }
            Place::New(place) => {
                self.slots[place] = Slot { began_ns: now_ns, ..Slot::default() };
                Some(place)
            }
            Place::Refused => None,
        }
    }

    /// Begins the row, if it has not.
    fn begin(&mut self, asking: &Asking, place: usize) {
        if !std::mem::replace(&mut self.slots[place].used, true) {
            let Asking { protocol, actor, .. } = *asking;
            self.rows[place] = Row { address: actor, protocol, ..Row::default() };
        }
    }

    /// Tells the rows that are worth it.
    pub(super) fn hand_over(&mut self, window: &mut Window) {
        window.refused.actors = self.index.take_refused();
        let (slots, rows) = (&mut self.slots, &self.rows);
        let told = self.touched.drain(..).filter_map(|place| {
            let (slot, row) = (&mut slots[place as usize], &rows[place as usize]);
            slot.touched = false;
            row.is_worth_telling().then(|| {
                (
                    ActorKey { address: ip_addr(row.address), protocol: row.protocol },
                    row.window(slot.began_ns),
                )
            })
        });
        window.actors = Keyed::gather(told, ActorWindow::merge);
    }
}

impl Row {
    /// The row when so many periods have passed: what answered in the one before is still known, and passwords that were
    /// tried in the last ones.
    fn then(&self, periods: usize) -> Self {
        let Self { address, protocol, login, .. } = *self;
        let served_before = self.served.known_then(self.served_before);
        let mut logins_before = [0; PERIODS_BEFORE];
        let known = std::iter::once(login.lead.min(u16::MAX.into()) as u16).chain(self.logins_before);
        let places = logins_before.iter_mut().skip(periods.saturating_sub(1));
        places.zip(known).for_each(|(place, logins)| *place = logins);
        // The same listener leads on, unless another one takes its place.
        let login = Most { lead: 0, ..login };
        Self { address, protocol, served_before, login, logins_before, ..Self::default() }
    }

    /// Logins of the periods before, at the listener at which most of this one's are.
    fn logins_before(&self) -> u32 {
        self.logins_before.iter().map(|logins| u32::from(*logins)).sum()
    }

    fn is_worth_telling(&self) -> bool {
        let unanswered = u64::from(self.counts.asked.saturating_sub(self.counts.answered));
        let mostly = unanswered * 2 > u64::from(self.counts.asked);
        let logins = self.counts.logins.saturating_add(self.logins_before());
        let claims = self.counts.moved.saturating_add(self.counts.unasked);
        (unanswered >= DISTINCT_TOLD_MIN && mostly) || logins.max(claims) >= LOGINS_TOLD_MIN
    }

    fn window(&self, began_ns: u64) -> ActorWindow {
        ActorWindow {
            began_ns,
            counts: self.counts,
            distinct: [self.hosts, self.ports, self.places],
            hosts: self.hosts.estimate(),
            ports: self.ports.estimate(),
            places: self.places.estimate(),
            host: self.host.value.map(ip_addr),
            host_is_most: self.host.lead * 2 > self.counts.asked,
            port: self.port.value,
            port_is_most: self.port.lead > self.counts.asked / 2,
            network: self.reach.network(self.counts.asked),
            login: self.login.value.map(|(address, port)| ListenerKey { address: ip_addr(address), port }),
            login_lead: self.login.lead,
            logins_before: self.logins_before(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegauge_ebpf::packet::ipv4_mapped;

    use super::*;

    fn asking(host: u32, port: u16, now_s: u64) -> Asking {
        Asking {
            protocol: ActorProtocol::Tcp,
            actor: ipv4_mapped(0x0a00_0001),
            host: ipv4_mapped(host),
            port,
            now_ns: now_s * 1_000_000_000,
        }
    }

    fn told(actors: &mut Actors) -> Option<ActorWindow> {
        let mut window = Window::default();
        actors.hand_over(&mut window);
        window.actors.values().next().cloned()
    }

    #[test]
    fn a_sweep_is_told_with_the_network_it_goes_through() {
        let mut actors = Actors::new();
        (0..200).for_each(|host| actors.ask(&asking(0xc633_6400 + host, 445, 1), 7));
        let window = told(&mut actors).unwrap();
        assert_eq!(window.counts.asked, 200);
        assert!((180..=220).contains(&window.hosts) && window.ports == 1, "{window:?}");
        assert_eq!((window.port, window.port_is_most, window.host_is_most), (Some(445), true, false));
        assert_eq!(window.network, Some(("198.51.100.0".parse().unwrap(), 24)));
    }

    #[test]
    fn places_all_over_have_no_network_and_most_of_them_one_where_there_is_one() {
        let mut actors = Actors::new();
        (1..100_u32).for_each(|host| actors.ask(&asking(host.wrapping_mul(0x9e37_79b9), 443, 1), 7));
        assert_eq!(told(&mut actors).unwrap().network, None);
        (0..400).for_each(|host| actors.ask(&asking(0xc633_6400 + host % 256, 443, 1), 7));
        assert_eq!(told(&mut actors).unwrap().network, Some(("198.51.100.0".parse().unwrap(), 24)));
    }

    #[test]
    fn who_asks_places_that_answered_before_is_not_told_when_they_stop() {
        let mut actors = Actors::new();
        for host in 0..50 {
            actors.ask(&asking(0x0a00_0100 + host, 9_100, 1), 7);
            actors.answer(&asking(0x0a00_0100 + host, 9_100, 1), 7);
        }
        for now_s in [16, 31, 46, 61, 76, 91, 106, 121, 136, 181, 1_000] {
            (0..50).for_each(|host| actors.ask(&asking(0x0a00_0100 + host, 9_100, now_s), 7));
            assert_eq!(told(&mut actors), None, "after {now_s} s");
        }
    }

    #[test]
    fn logins_of_the_last_minutes_are_known_and_those_before_forgotten() {
        let mut actors = Actors::new();
        for minute in 0..8 {
            (0..3)
                .for_each(|second| actors.login(&asking(0xc633_6401, 22, 1 + minute * 60 + second * 10), 7));
            let told = told(&mut actors);
            let before = told.map(|told| (told.login_lead, told.logins_before));
            let periods = minute.min(PERIODS_BEFORE as u64) as u32;
            assert_eq!(before, (minute != 0).then_some((3, 3 * periods)), "minute {minute}");
        }
        // Another listener's are its own, and those of long ago are nobody's.
        actors.login(&asking(0xc633_6402, 22, 541), 7);
        actors.login(&asking(0xc633_6402, 22, 541), 7);
        assert_eq!(told(&mut actors), None);
    }

    #[test]
    fn ports_in_a_row_are_counted_as_many_as_they_are() {
        for ports in [60, 300, 1_000_u16] {
            let mut actors = Actors::new();
            (1..=ports).for_each(|port| actors.ask(&asking(0xc633_6401, port, 1), 7));
            let told = told(&mut actors).unwrap().ports as f64;
            assert!((told / f64::from(ports) - 1.0).abs() < 0.15, "{told} of {ports}");
        }
    }

    #[test]
    fn networks_of_both_families_are_named_in_their_own_bits() {
        let mut reach = Reach::default();
        (0..4).for_each(|host| reach.add([0x2001_0db8, 0, 0, host]));
        assert_eq!(reach.network(4), Some(("2001:db8::".parse().unwrap(), 126)));
    }
}
