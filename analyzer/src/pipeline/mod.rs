//! Captured frames to windows, on any number of threads, with the same result as on one.
//!
//! A batch of frames takes four steps: it is *filled* and timed (in order, by one thread at a time), its headers are
//! *read* (by anyone), its flows are *followed* (each partition in order, partitions at the same time), and it is
//! *booked* (in order). Each step depends on the capture alone: partitions are cut by hash, their number is fixed, and
//! batches pass each step in the order of the capture. So the number of workers, and where batches begin, show nowhere.
//!
//! Threads take whatever step is ready (`board`); none is bound to a step, so two workers share all the work.

mod board;
mod books;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use tidegauge_ebpf::counter::Counters;
use tidegauge_ebpf::settings::Settings;
use tidegauge_ebpf::stamp::Stamp;

use crate::batch::{Batch, Ticks, Turn};
use crate::digest::PARTITIONS;
use crate::follow::{Follower, Share, Sizes};
use board::{Board, Task};
pub use books::{Books, Told};

/// Most workers: as many as can follow flows at a time.
pub const WORKERS_MAX: usize = PARTITIONS;
/// Batches under way beside one for each worker: while one worker is at the end of a tick or second, the others get this
/// far ahead. 0.7 MiB each.
const BATCHES_AHEAD: usize = 14;

/// What fills batches, in order.
pub trait Fill: Send {
    /// Why there are no more frames.
    type Error: Send;

    /// Puts the next frames into `batch`; `false`: there are no more.
    ///
    /// # Errors
    /// Where the capture cannot be read any further; what was filled before is worked on.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, Self::Error>;
}

/// What a run leaves behind.
pub struct Outcome<E> {
    /// Where packet time began and ended.
    pub ticks: Ticks,
    /// Packets that were filled in.
    pub packets: u64,
    /// The partitions, for a look at their tables.
    pub followers: Vec<Follower>,
    /// Why it ended early, if it did.
    pub error: Option<E>,
}

/// A batch with what the partitions have to say of it.
#[derive(Default)]
struct Slot {
    batch: RwLock<Batch>,
    shares: [Mutex<Share>; PARTITIONS],
}

struct Filling<'a, F> {
    fill: &'a mut F,
    ticks: Ticks,
    packets: u64,
}

/// All that workers share.
struct Floor<'a, F: Fill, T> {
    settings: Settings,
    board: Board<F::Error>,
    filling: Mutex<Filling<'a, F>>,
    slots: Vec<Slot>,
    followers: Vec<Mutex<Follower>>,
    books: Mutex<(&'a mut Books, T)>,
}

/// Takes all that `fill` has through the steps, on `workers` threads; `tell` gets what comes of it.
pub fn run<F: Fill, T: FnMut(Told<'_>) -> Result<(), F::Error> + Send>(
    fill: &mut F,
    workers: usize,
    sizes: Sizes,
    settings: Settings,
    books: &mut Books,
    tell: T,
) -> Outcome<F::Error> {
    let workers = workers.clamp(1, WORKERS_MAX);
    // One worker goes through a batch from end to end while it is in its cache; several keep one each, and some wait.
    let slots = if workers == 1 { 1 } else { workers + BATCHES_AHEAD };
    let floor = Floor {
        settings,
        board: Board::new(slots),
        filling: Mutex::new(Filling { fill, ticks: Ticks::default(), packets: 0 }),
        slots: (0..slots).map(|_| Slot::default()).collect(),
        followers: (0..PARTITIONS).map(|_| Mutex::new(Follower::new(sizes))).collect(),
        books: Mutex::new((books, tell)),
    };
    std::thread::scope(|scope| {
        for worker in 1..workers {
            let floor = &floor;
            scope.spawn(move || floor.work(worker, workers));
        }
        floor.work(0, workers);
    });
    let mut error = floor.board.into_error();
    let Filling { ticks, packets, .. } = floor.filling.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut followers: Vec<Follower> = floor
        .followers
        .into_iter()
        .map(|follower| follower.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect();
    let (books, mut tell) = floor.books.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(Turn::TickEnds { start_ns, end_ns, .. }) = ticks.last_turn()
        && error.is_none()
    {
        let last = Stamp::from_ns(ticks.first_last_ns().map_or(end_ns, |(_, last_ns)| last_ns));
        let said = followers.iter_mut().map(|follower| follower.finish(end_ns, last)).collect();
        error = books.finish((start_ns, end_ns), said, &mut tell).err();
    }
    Outcome { ticks, packets, followers, error }
}

/// A lock that nobody holds for long, and that no panic leaves half done: the run ends with the panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: Fill, T: FnMut(Told<'_>) -> Result<(), F::Error> + Send> Floor<'_, F, T> {
    /// Works until everything is done.
    fn work(&self, worker: usize, workers: usize) {
        let mut counters = Box::<Counters>::default();
        while let Some(task) = self.board.next(worker, workers) {
            let done = catch_unwind(AssertUnwindSafe(|| match task {
                Task::Fill { slot } => self.fill(slot, &mut counters),
                Task::Follow { slot, partition } => {
                    self.follow(slot, partition);
                    Ok(())
                }
                Task::Book { slot } => self.book(slot),
            }));
            match done {
                Ok(Ok(())) => self.board.done(task),
                Ok(Err(error)) => self.board.fail(error),
                Err(panic) => {
                    self.board.stop();
                    resume_unwind(panic);
                }
            }
        }
    }

    fn fill(&self, slot: usize, counters: &mut Counters) -> Result<(), F::Error> {
        let mut batch = self.slots[slot].batch.write().unwrap_or_else(PoisonError::into_inner);
        let more = {
            let mut filling = lock(&self.filling);
            let Filling { fill, ticks, packets } = &mut *filling;
            let more = fill.fill(&mut batch)?;
            let count = if more { batch.len() as u64 } else { 0 };
            if more {
                batch.time(ticks, *packets + 1);
            }
            *packets += count;
            more
        };
        self.board.filled(more);
        if more {
            batch.read(self.settings, counters);
        }
        Ok(())
    }

    fn follow(&self, slot: usize, partition: usize) {
        let slot = &self.slots[slot];
        let batch = slot.batch.read().unwrap_or_else(PoisonError::into_inner);
        let mut share = lock(&slot.shares[partition]);
        lock(&self.followers[partition]).follow(&batch, partition, &mut share);
    }

    fn book(&self, slot: usize) -> Result<(), F::Error> {
        let slot = &self.slots[slot];
        let batch = slot.batch.read().unwrap_or_else(PoisonError::into_inner);
        let mut shares = slot.shares.each_ref().map(lock);
        let (books, tell) = &mut *lock(&self.books);
        books.book(&batch, shares.each_mut().map(|share| &mut **share), tell)
    }
}
