//! The last step of a batch: every packet is booked, in order, and what comes of it is told.

use crate::account::Accounts;
use crate::batch::{Batch, Turn};
use crate::digest::{Digest, NOT_FOLLOWED, PARTITIONS};
use crate::flow_record::FlowRecord;
use crate::follow::{Said, Share, Verdict};
use crate::window::Window;

/// How far ahead table lines are asked for: which row, then the row.
const ROW_AHEAD: usize = 4;
const IDS_AHEAD: usize = 8;

/// What comes of a capture, in its order.
#[derive(Debug)]
pub enum Told<'a> {
    /// A tick is over.
    Window(Box<Window>),
    /// Packet time jumped back to this tick, nanoseconds.
    JumpBack(u64),
    /// A connection ended.
    Flow(Box<FlowRecord>),
    /// A TCP segment that was judged to be something; its number in the run, from 1.
    Judgement(u64, &'a Digest, &'a Verdict),
}

/// The accounts and who is told.
pub struct Books<T> {
    accounts: Accounts,
    tell: T,
    /// Whether judgements of single packets are told.
    judgements: bool,
}

/// Where in each partition's verdicts a reader of the batch is.
#[derive(Clone, Copy, Default)]
struct Cursor {
    index: usize,
    places: [usize; PARTITIONS],
}

impl Cursor {
    /// The verdict of the next packet; none where it was not followed.
    #[inline]
    fn next<'a>(&mut self, batch: &Batch, shares: &'a [&mut Share; PARTITIONS]) -> Option<&'a Verdict> {
        let partition = batch.digests[self.index].partition;
        self.index += 1;
        if partition == NOT_FOLLOWED {
            return None;
        }
        let partition = usize::from(partition) & (PARTITIONS - 1);
        let place = &mut self.places[partition];
        let verdict = shares[partition].verdicts.get(*place);
        *place += 1;
        verdict
    }
}

impl<E, T: FnMut(Told<'_>) -> Result<(), E>> Books<T> {
    /// Books on these accounts; `tell` gets what comes of them.
    pub const fn new(accounts: Accounts, judgements: bool, tell: T) -> Self {
        Self { accounts, tell, judgements }
    }

    /// The accounts, when all is booked.
    pub fn into_accounts(self) -> Accounts {
        self.accounts
    }

    /// Books a batch that all partitions have followed.
    pub(super) fn book(&mut self, batch: &Batch, mut shares: [&mut Share; PARTITIONS]) -> Result<(), E> {
        let count = batch.len();
        let (mut here, mut near, mut far) = (Cursor::default(), Cursor::default(), Cursor::default());
        let mut cut = 0;
        for index in 0..count {
            while batch.cuts.get(cut).is_some_and(|cut| cut.index <= index) {
                self.turn(batch, cut, &mut shares)?;
                cut += 1;
            }
            while far.index < count.min(index + IDS_AHEAD) {
                let digest = &batch.digests[far.index];
                self.accounts.look_ahead(digest, far.next(batch, &shares));
            }
            while near.index < count.min(index + ROW_AHEAD) {
                let digest = &batch.digests[near.index];
                self.accounts.look_near(digest, near.next(batch, &shares));
            }
            let digest = &batch.digests[index];
            let Some(verdict) = here.next(batch, &shares) else {
                self.accounts.count(digest, &Verdict::default());
                continue;
            };
            self.accounts.count(digest, verdict);
            if self.judgements && verdict.judged.marks != 0 {
                (self.tell)(Told::Judgement(batch.first_packet + index as u64, digest, verdict))?;
            }
        }
        while cut < batch.cuts.len() {
            self.turn(batch, cut, &mut shares)?;
            cut += 1;
        }
        if let Some(headers) = batch.headers.last() {
            self.accounts.headers(headers);
        }
        Ok(())
    }

    /// Cut number `cut` of a batch.
    fn turn(&mut self, batch: &Batch, cut: usize, shares: &mut [&mut Share; PARTITIONS]) -> Result<(), E> {
        self.accounts.headers(&batch.headers[cut]);
        let said = shares.iter_mut().filter_map(|share| share.said.get_mut(cut)).map(std::mem::take);
        let flows = self.take(said.collect());
        let window = match batch.cuts[cut].turn {
            Turn::TickEnds { start_ns, end_ns } => {
                let after = batch.cuts.get(cut + 1).map(|cut| cut.turn);
                if matches!(after, Some(Turn::JumpBack { .. })) {
                    self.accounts.end_all(start_ns, end_ns)
                } else {
                    self.accounts.end_tick(start_ns, end_ns)
                }
            }
            Turn::JumpBack { start_ns } => return (self.tell)(Told::JumpBack(start_ns)),
        };
        (self.tell)(Told::Window(Box::new(window)))?;
        self.tell_flows(flows)
    }

    /// The capture is over: `said` is what the partitions had left.
    pub(super) fn finish(&mut self, start_ns: u64, end_ns: u64, said: Vec<Said>) -> Result<(), E> {
        let flows = self.take(said);
        let window = self.accounts.end_all(start_ns, end_ns);
        (self.tell)(Told::Window(Box::new(window)))?;
        self.tell_flows(flows)
    }

    /// Adds what partitions said; returns the connections that ended, in the order of their first packets.
    fn take(&mut self, said: Vec<Said>) -> Vec<FlowRecord> {
        let mut flows = Vec::new();
        let truth = self.accounts.truth();
        for said in said {
            if let Some(layers) = said.layers {
                truth.layers.merge(&layers);
            }
            truth.misfits.merge(said.misfits);
            flows.extend(said.told);
        }
        flows.sort_by_key(|flow| (flow.told_ns, flow.number));
        flows
    }

    fn tell_flows(&mut self, flows: Vec<FlowRecord>) -> Result<(), E> {
        flows.into_iter().try_for_each(|flow| (self.tell)(Told::Flow(Box::new(flow))))
    }
}
