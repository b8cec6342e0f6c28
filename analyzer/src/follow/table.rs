//! One partition's connections: an index by hash, one cache line a bucket, over pools of connections and stories.
//!
//! Limits: as many connections and stories as at creation. A new connection takes a free place, else that of a closed,
//! silent or unproven one: in its bucket where that is full, else wherever a hand that goes round the pool finds one
//! ([`super::hand`]). A proven, living one never gives way. Where a connection gets no story it is judged like any
//! other and has no record.
//! What happens depends on this partition's packets alone, so it is the same on every machine.

use std::collections::VecDeque;

use tidegauge_capture::memory::{prefetch, prefetch_lines};
use tidegauge_ebpf::flow::{Side, fingerprint};
use tidegauge_ebpf::stamp::Stamp;
use tidegauge_ebpf::tcp::connection::{Connection, KeepRank, Story};

use super::hand::Hand;
use crate::huge;

/// Connections of a bucket: eight pairs of fingerprint and place are a cache line.
const WAYS: usize = 8;
/// Connections for each bucket where the table is full: of random hashes hardly one in a hundred finds its bucket full.
const PER_BUCKET: usize = 3;
/// Buckets to begin with. The index doubles when a bucket is full, up to its limit: a small one stays in the caches.
const BUCKETS_FIRST: usize = 256;
/// Places that are taken before any is used again: a small capture's connections are all remembered to its end.
const FRESH_FIRST: usize = 2_048;

/// Fingerprints and places of connections whose hashes fall together; place 0 is none, others are one more than theirs.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    fingerprints: [u32; WAYS],
    places: [u32; WAYS],
}

/// The pools and their index.
pub(super) struct Table {
    buckets: huge::Table<Bucket>,
    /// Grows to its capacity, which never changes: memory that no connection ever needed is not touched.
    connections: Vec<Connection>,
    /// Lowest bits of each connection's hash: they say which bucket it is in.
    hashes: Vec<u32>,
    stories: Vec<Story>,
    /// Connection of each story in use.
    owners: Vec<u32>,
    /// Places of connections that closed long ago, or were told where there is no other place, for the next new ones.
    offered: VecDeque<u32>,
    free_stories: Vec<u32>,
    /// Connections that were told while all stories were in use, and have one.
    over: VecDeque<u32>,
    /// By whether who needs a place is proven: more gives way to those.
    hands: [Hand; 2],
    story_hand: Hand,
    /// Where connections without a story write theirs; nobody reads it.
    no_story: Box<Story>,
    /// Most connections and stories.
    limits: (usize, usize),
    /// Most buckets.
    buckets_max: usize,
}

/// What became of a connection that needed a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// A free place.
    Free(u32),
    /// The place of a closed one.
    Reused(u32),
    /// The place of one that was open, silent or unproven.
    Evicted(u32),
    /// None.
    Refused,
}

impl Table {
    /// For so many connections and stories.
    pub(super) fn new(connections: u32, stories: u32) -> Self {
        let buckets = (connections as usize).div_ceil(PER_BUCKET).next_power_of_two().max(1);
        Self {
            buckets: huge::Table::new(buckets.min(BUCKETS_FIRST)),
            connections: huge::pool(connections as usize),
            hashes: Vec::with_capacity(connections as usize),
            stories: huge::pool(stories as usize),
            owners: Vec::with_capacity(stories as usize),
            offered: VecDeque::with_capacity(connections as usize),
            free_stories: huge::pool(stories as usize),
            over: VecDeque::with_capacity(stories as usize),
            hands: Default::default(),
            story_hand: Hand::default(),
            no_story: Box::default(),
            limits: (connections as usize, stories as usize),
            buckets_max: buckets,
        }
    }

    /// Bytes of a connection without its story, and of a story. The index has two to four places a connection.
    pub(super) const BYTES: (usize, usize) =
        (size_of::<Connection>() + 3 * size_of::<u32>() + size_of::<Bucket>() / 2, size_of::<Story>() + 12);

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        hash as u32 as usize & (self.buckets.len() - 1)
    }

    /// Has the index line of `hash` fetched.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.buckets[self.bucket(hash)]);
    }

    /// Has a connection fetched.
    #[inline]
    pub(super) fn prefetch_connection(&self, place: u32) {
        prefetch_lines(&self.connections[place as usize]);
    }

    /// Has the story of a connection fetched; which it is, as [`Connection::story`].
    #[inline]
    pub(super) fn prefetch_story(&self, place: u32) -> u32 {
        let story = self.connections[place as usize].story;
        if story != 0 {
            prefetch_lines(&self.stories[story as usize - 1].details);
        }
        story
    }

    /// Where the connection of `hash` is.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Option<u32> {
        let bucket = &self.buckets[self.bucket(hash)];
        let wanted = fingerprint(hash);
        let way = bucket.fingerprints.iter().position(|known| *known == wanted)?;
        Some(bucket.places[way] - 1)
    }

    /// A connection.
    #[inline]
    pub(super) fn connection(&self, place: u32) -> &Connection {
        &self.connections[place as usize]
    }

    /// A connection, and its story or a place to write to.
    #[inline]
    pub(super) fn pair(&mut self, place: u32) -> (&mut Connection, &mut Story) {
        let connection = &mut self.connections[place as usize];
        let story = match connection.story {
            0 => &mut *self.no_story,
            story => &mut self.stories[story as usize - 1],
        };
        (connection, story)
    }

    /// The story of a connection, and its place.
    pub(super) fn story(&self, place: u32) -> Option<(u32, &Story)> {
        let story = self.connections[place as usize].story.checked_sub(1)?;
        Some((story, &self.stories[story as usize]))
    }

    /// Finds a place for the connection of `hash`, which has none; `proven` says whether it brings its handshake. What
    /// was there is still there: the caller tells of it and then calls [`Table::settle`].
    pub(super) fn admit(&mut self, hash: u64, proven: bool, now: Stamp) -> Admitted {
        while self.is_full(hash) && self.buckets.len() < self.buckets_max {
            self.grow();
        }
        let bucket = self.buckets[self.bucket(hash)];
        let gives_way = |rank: KeepRank| rank < KeepRank::Unproven || (rank == KeepRank::Unproven && proven);
        if self.is_full(hash) {
            let ranked = bucket.places.iter().map(|place| {
                let place = place - 1;
                (self.connections[place as usize].keep_rank(now), place)
            });
            return match ranked.min_by_key(|(rank, _)| *rank) {
                Some((rank, place)) if gives_way(rank) => Admitted::of(rank, place),
                _ => Admitted::Refused,
            };
        }
        while self.connections.len() >= FRESH_FIRST
            && let Some(place) = self.offered.pop_front()
        {
            if self.connections[place as usize].keep_rank(now) == KeepRank::Closed {
                return Admitted::Reused(place);
            }
        }
        if self.connections.len() < self.limits.0 {
            self.connections.push(Connection::default());
            self.hashes.push(0);
            return Admitted::Free(self.connections.len() as u32 - 1);
        }
        let connections = &self.connections;
        let found = self.hands[usize::from(proven)].find(connections.len(), now, |place| {
            let rank = connections[place as usize].keep_rank(now);
            gives_way(rank).then(|| Admitted::of(rank, place))
        });
        found.unwrap_or(Admitted::Refused)
    }

    fn is_full(&self, hash: u64) -> bool {
        self.buckets[self.bucket(hash)].places.iter().all(|place| *place != 0)
    }

    /// Doubles the index: each bucket's connections go to it and to the one as far behind as there were buckets.
    #[cold]
    fn grow(&mut self) {
        let len = self.buckets.len();
        let mut grown = huge::Table::<Bucket>::new(2 * len);
        for index in 0..len {
            let bucket = self.buckets[index];
            let mut counts = [0; 2];
            for (fingerprint, place) in bucket.fingerprints.into_iter().zip(bucket.places) {
                if place == 0 {
                    continue;
                }
                let half = usize::from(self.hashes[place as usize - 1] as usize & len != 0);
                let (new, way) = (&mut grown[index + half * len], counts[half]);
                (new.fingerprints[way], new.places[way]) = (fingerprint, place);
                counts[half] += 1;
            }
        }
        self.buckets = grown;
    }

    /// Puts a new connection into the place that [`Table::admit`] found; `false`: without a story.
    pub(super) fn settle(&mut self, hash: u64, place: u32) -> bool {
        if self.connections[place as usize].fingerprint != 0 {
            self.leave(place);
        }
        let home = self.bucket(hash);
        let bucket = &mut self.buckets[home];
        let Some(way) = bucket.places.iter().position(|place| *place == 0) else { return false };
        (bucket.fingerprints[way], bucket.places[way]) = (fingerprint(hash), place + 1);
        self.hashes[place as usize] = hash as u32;
        let story = self.new_story(place);
        self.connections[place as usize].begin(fingerprint(hash), story.map_or(0, |story| story + 1));
        story.is_some()
    }

    /// Begins a new connection where one of the same ends was; its story goes on to the new one.
    pub(super) fn renew(&mut self, place: u32) -> bool {
        let mut story = self.connections[place as usize].story;
        if story == 0 {
            story = self.new_story(place).map_or(0, |story| story + 1);
        }
        let connection = &mut self.connections[place as usize];
        connection.begin(connection.fingerprint, story);
        story != 0
    }

    fn new_story(&mut self, place: u32) -> Option<u32> {
        let story = match self.free_stories.pop() {
            Some(story) => story,
            None if self.stories.len() < self.limits.1 => {
                self.stories.push(Story::default());
                self.owners.push(0);
                self.stories.len() as u32 - 1
            }
            None => return None,
        };
        self.owners[story as usize] = place;
        Some(story)
    }

    /// A connection that closed was told: where room is short the next new ones get its place and its story; what finds no
    /// place in these lists is found by the hands. Whether its place was offered.
    pub(super) fn is_wanted(&mut self, place: u32) -> bool {
        if self.needs_story() && self.over.len() < self.over.capacity() {
            self.over.push_back(place);
        }
        let is_full = self.connections.len() >= self.limits.0;
        if is_full {
            self.offer(place);
        }
        is_full
    }

    /// Offers the place of a closed connection to the next new one.
    pub(super) fn offer(&mut self, place: u32) {
        if self.offered.len() < self.offered.capacity() {
            self.offered.push_back(place);
        }
    }

    /// Takes a connection out of the index.
    fn leave(&mut self, place: u32) {
        let home = self.bucket(u64::from(self.hashes[place as usize]));
        let bucket = &mut self.buckets[home];
        if let Some(way) = bucket.places.iter().position(|known| *known == place + 1) {
            (bucket.fingerprints[way], bucket.places[way]) = (0, 0);
        }
        self.release_story(place);
        self.connections[place as usize].fingerprint = 0;
    }

    /// Gives a connection's story back.
    pub(super) fn release_story(&mut self, place: u32) {
        let story = std::mem::take(&mut self.connections[place as usize].story);
        if story != 0 {
            self.free_stories.push(story - 1);
        }
    }

    /// Whether a new connection would get no story.
    pub(super) fn needs_story(&self) -> bool {
        self.free_stories.is_empty() && !self.owners.is_empty() && self.stories.len() >= self.limits.1
    }

    /// A connection that is over and still has its story, if the hand finds one.
    pub(super) fn story_to_tell(&mut self, now: Stamp) -> Option<u32> {
        while let Some(place) = self.over.pop_front() {
            let connection = &self.connections[place as usize];
            if connection.story != 0 && connection.keep_rank(now) == KeepRank::Closed {
                return Some(place);
            }
        }
        let (owners, connections) = (&self.owners, &self.connections);
        self.story_hand.find(owners.len(), now, |story| {
            let owner = owners[story as usize];
            (connections[owner as usize].keep_rank(now) < KeepRank::Waiting).then_some(owner)
        })
    }

    /// Most connections.
    pub(super) const fn connections_max(&self) -> usize {
        self.limits.0
    }

    /// All connections.
    pub(super) fn connections(&self) -> &[Connection] {
        &self.connections
    }
}

impl Admitted {
    const fn of(rank: KeepRank, place: u32) -> Self {
        match rank {
            KeepRank::Free => Self::Free(place),
            KeepRank::Closed => Self::Reused(place),
            _ => Self::Evicted(place),
        }
    }
}

/// The sender's place in arrays by [`Side`].
#[inline]
pub(super) const fn index_of(side: Side) -> usize {
    side as usize & 1
}
