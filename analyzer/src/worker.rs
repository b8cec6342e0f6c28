//! One worker of a live source: frames into batches, those through the three steps that frames of a capture file take
//! ([`crate::pipeline`]), and a window out of them whenever packet time passes a tick's end.
//!
//! A worker has everything for its own flows: all partitions, all accounts. What several have counted is put together
//! by tick ([`crate::merge`]). Its source takes frames back at once, so they are copied; a batch is worked on when it is
//! full, and at a tick's end.
//!
//! Limits: [`FRAMES_MAX`] frames and [`BYTES_MAX`] bytes a batch; tables as at creation ([`Sizes`]).

use std::convert::Infallible;

use tidegauge_capture::frame::CapturedFrame;
use tidegauge_ebpf::counter::{Counter, Counters};
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;

use crate::account::{Accounts, RoundTrips};
use crate::batch::{Batch, Cut, Ticks, Turn};
use crate::digest::PARTITIONS;
use crate::follow::{Follower, Share, Sizes};
use crate::occupancy::{Occupancy, Sampler, waiting};
use crate::pipeline::{Books, Told};
use crate::sample::{FlowSampler, Pressure};
use crate::window::Window;

/// Frames of a batch: while it is worked on its source fills up, and an AF_XDP ring holds some two thousand.
pub const FRAMES_MAX: usize = 512;
/// Bytes of a batch from which on it is full: it fits a core's second-level cache, beside what is known of its frames.
pub const BYTES_MAX: usize = 256 << 10;
/// Bits that choose the sampled flows begin here: behind those that choose the bucket, and before those that choose the
/// partition, which must all stay in use.
const SAMPLE_SHIFT: u32 = 48;
const _: () = assert!(FRAMES_MAX <= crate::batch::FRAMES_MAX);

/// What a worker has for the engine, in this order.
#[derive(Debug)]
pub enum Passed {
    /// A tick is over.
    Window(Box<Window>),
    /// Packet time jumped back to this tick, nanoseconds.
    JumpBack(u64),
}

/// A worker's tables and its place in time.
pub struct Worker {
    settings: Settings,
    batch: Batch,
    counters: Box<Counters>,
    followers: Vec<Follower>,
    shares: [Share; PARTITIONS],
    books: Books,
    ticks: Ticks,
    /// Frames worked on.
    frames: u64,
    flow_sampler: FlowSampler,
    sampler: Sampler,
}

impl Worker {
    /// A worker with tables of these sizes.
    pub fn new(settings: Settings, sizes: Sizes) -> Self {
        Self {
            settings,
            batch: Batch::default(),
            counters: Box::default(),
            followers: (0..PARTITIONS).map(|_| Follower::new(sizes)).collect(),
            shares: Default::default(),
            books: Books::new(Accounts::new(settings), false),
            ticks: Ticks::default(),
            frames: 0,
            flow_sampler: FlowSampler::default(),
            sampler: Sampler::default(),
        }
    }

    /// Begins at this time, nanoseconds: from now on ticks pass without frames too.
    pub fn begin(&mut self, now_ns: u64) {
        self.ticks.begin(now_ns);
    }

    /// Takes one frame; what is over is appended to `passed`, when the batch is full.
    #[inline]
    pub fn frame(&mut self, frame: &CapturedFrame<'_>, passed: &mut Vec<Passed>) {
        self.batch.frames.push(frame);
        if self.batch.len() == FRAMES_MAX || self.batch.frames.held_bytes() >= BYTES_MAX {
            self.work(None, passed);
        }
    }

    /// Works on the frames that are there.
    pub fn catch_up(&mut self, passed: &mut Vec<Passed>) {
        self.work(None, passed);
    }

    /// Hands the current tick over, and the empty ones up to `now_ns`: for live sources, when no frame comes.
    pub fn idle_until(&mut self, now_ns: u64, passed: &mut Vec<Passed>) {
        self.work(Some(now_ns), passed);
    }

    /// All steps of the batch, and then the ends of ticks up to `until_ns`.
    #[inline(never)]
    fn work(&mut self, until_ns: Option<u64>, passed: &mut Vec<Passed>) {
        let (batch, first) = (&mut self.batch, self.frames + 1);
        batch.time(&mut self.ticks, first);
        self.frames += batch.len() as u64;
        if let Some(until_ns) = until_ns {
            self.ticks.idle_until(until_ns, batch.len(), &mut batch.cuts);
        }
        self.book(passed);
    }

    fn book(&mut self, passed: &mut Vec<Passed>) {
        let (batch, one_in) = (&mut self.batch, self.flow_sampler.one_in());
        if batch.is_empty() && batch.cuts.is_empty() {
            return;
        }
        batch.read(self.settings, &mut self.counters);
        if one_in > 1 {
            let unsampled = batch.sample((u64::from(one_in) - 1) << SAMPLE_SHIFT);
            // In one of a batch's ticks: which one hardly matters.
            if let Some(headers) = batch.headers.last_mut() {
                headers[Counter::SegmentsUnsampled as usize] += unsampled;
            }
        }
        for (partition, (follower, share)) in self.followers.iter_mut().zip(&mut self.shares).enumerate() {
            follower.follow(batch, partition, share);
        }
        let Ok(()) = self.books.book(batch, self.shares.each_mut(), &mut telling(one_in, passed));
        batch.frames.clear();
    }

    /// Hands over what is left.
    pub fn finish(&mut self, passed: &mut Vec<Passed>) {
        self.work(None, passed);
        let Some(Turn::TickEnds { start_ns, end_ns, .. }) = self.ticks.last_turn() else { return };
        let last = self.last_stamp();
        let said = self.followers.iter_mut().map(|follower| follower.finish(end_ns, last)).collect();
        let tell = &mut telling(self.flow_sampler.one_in(), passed);
        let Ok(()) = self.books.finish((start_ns, end_ns), said, tell);
    }

    /// Ends the tick before its time, and hands over all that waits for the end of its second.
    fn end_early(&mut self, passed: &mut Vec<Passed>) {
        self.batch.cuts.clear();
        self.batch.cuts.extend(self.ticks.last_turn().map(|turn| Cut { index: 0, turn }));
        self.book(passed);
    }

    /// A live source's tick is over, and so it kept up: whether all flows are followed from now on is decided here, so
    /// that within a tick the share is one. Call it right after [`Worker::idle_until`].
    pub fn relieve(&mut self, pressure: Pressure, passed: &mut Vec<Passed>) {
        let before = self.flow_sampler;
        let one_in = self.flow_sampler.tick(pressure);
        if one_in != before.one_in() {
            // What was counted already was counted with the share before.
            let after = std::mem::replace(&mut self.flow_sampler, before);
            self.end_early(passed);
            self.flow_sampler = after;
        }
    }

    /// In how many flows one is followed.
    pub const fn one_in(&self) -> u32 {
        self.flow_sampler.one_in()
    }

    /// How full the tables are, by a look at a part of them.
    pub fn look(&mut self, now: Stamp) -> Occupancy {
        let listeners = self.books.accounts().listeners_used();
        self.sampler.look_at_followers(&self.followers, listeners, now)
    }

    /// Times of the first and the last packet that was worked on, nanoseconds.
    pub const fn first_last_ns(&self) -> Option<(u64, u64)> {
        self.ticks.first_last_ns()
    }

    /// Frames counted in a later tick than their own.
    pub const fn late(&self) -> u64 {
        self.ticks.late()
    }

    /// Attempts that still wait for an answer at the end, young enough to get one.
    pub fn waiting_attempts(&self) -> u64 {
        waiting(self.followers.iter().flat_map(Follower::attempts).copied(), self.last_stamp())
    }

    fn last_stamp(&self) -> Stamp {
        Stamp::from_ns(self.first_last_ns().map_or(0, |(_, last)| last))
    }

    /// Round trips by place, when all is over.
    pub fn into_round_trips(self) -> RoundTrips {
        self.books.into_accounts().into_round_trips()
    }
}

/// What is told of a batch whose flows were one in `one_in`.
fn telling(one_in: u32, passed: &mut Vec<Passed>) -> impl FnMut(Told<'_>) -> Result<(), Infallible> {
    move |told| {
        match told {
            Told::Window(mut window) => {
                if one_in > 1 {
                    window.scale(one_in);
                }
                passed.push(Passed::Window(window));
            }
            Told::JumpBack(start_ns) => passed.push(Passed::JumpBack(start_ns)),
            // Sizes without records, books without judgements and frames: there are none.
            Told::Flow(_) | Told::Judgement(..) | Told::Frames(..) => {}
        }
        Ok(())
    }
}
