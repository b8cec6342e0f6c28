//! The last step of a batch: every packet is booked, in order, and what comes of it is told.

use std::ops::Range;

use tidegauge_ebpf::packet::Transport;

use crate::account::Accounts;
use crate::batch::{Batch, Turn};
use crate::digest::{Digest, NOT_FOLLOWED, PARTITIONS};
use crate::flow_record::FlowRecord;
use crate::follow::{Said, Share, Verdict};
use crate::window::Window;

/// How far ahead table lines are asked for: which row a listener has, and so much later the row.
const IDS_AHEAD: usize = 8;
const ROW_BEHIND: usize = 4;
const _: () = assert!(ROW_BEHIND < IDS_AHEAD);

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
    /// Frames of a batch, before what comes of them is told.
    Frames(&'a Batch, Range<usize>),
}

/// The accounts, and what is told beside them.
pub struct Books {
    accounts: Accounts,
    /// Whether judgements of single packets are told.
    judgements: bool,
    /// Whether the frames themselves are told.
    frames: bool,
}

/// Where in each partition's verdicts a reader of the batch is.
#[derive(Clone, Copy, Default)]
struct Cursor {
    index: usize,
    places: [u16; PARTITIONS],
}

/// A packet's verdict: its partition and its place there.
type Found = (u8, u16);

impl Cursor {
    /// Where the verdict of the next packet is; with [`NOT_FOLLOWED`] nowhere.
    #[inline]
    fn next(&mut self, batch: &Batch) -> Found {
        let partition = batch.digests[self.index].partition;
        self.index += 1;
        let place = &mut self.places[usize::from(partition) & (PARTITIONS - 1)];
        let found = (partition, *place);
        *place += u16::from(partition != NOT_FOLLOWED);
        found
    }
}

#[inline]
fn verdict<'a>(found: Found, shares: &'a [&mut Share; PARTITIONS]) -> Option<&'a Verdict> {
    let (partition, place) = found;
    if partition == NOT_FOLLOWED {
        return None;
    }
    shares[usize::from(partition) & (PARTITIONS - 1)].verdicts.get(usize::from(place))
}

impl Books {
    /// Books on these accounts.
    pub const fn new(accounts: Accounts, judgements: bool) -> Self {
        Self { accounts, judgements, frames: false }
    }

    /// Tells the frames too, if asked for.
    pub const fn with_frames(mut self, frames: bool) -> Self {
        self.frames = frames;
        self
    }

    /// The accounts, with all that was booked.
    pub const fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The accounts, when all is booked.
    pub fn into_accounts(self) -> Accounts {
        self.accounts
    }

    /// Books a batch that all partitions have followed; `tell` gets what comes of it.
    pub(crate) fn book<E>(
        &mut self,
        batch: &Batch,
        mut shares: [&mut Share; PARTITIONS],
        tell: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let count = batch.len();
        let mut far = Cursor::default();
        let mut found = [(NOT_FOLLOWED, 0); IDS_AHEAD];
        let (mut cut, mut told) = (0, 0);
        for index in 0..count + IDS_AHEAD {
            // The packet that is booked now came by here before; its place is then the far one's.
            if let Some(index) = index.checked_sub(IDS_AHEAD) {
                while batch.cuts.get(cut).is_some_and(|cut| cut.index <= index) {
                    told = self.frames(batch, told..index, tell)?;
                    self.turn(batch, cut, &mut shares, tell)?;
                    cut += 1;
                }
                self.packet(batch, index, verdict(found[index % IDS_AHEAD], &shares), tell)?;
            }
            if index < count {
                found[index % IDS_AHEAD] = far.next(batch);
                if let Some(verdict) = verdict(found[index % IDS_AHEAD], &shares) {
                    self.accounts.look_ahead(&batch.digests[index], verdict);
                }
            }
            if let Some(index) = index.checked_sub(ROW_BEHIND)
                && index < count
                && let Some(verdict) = verdict(found[index % IDS_AHEAD], &shares)
            {
                self.accounts.look_near(&batch.digests[index], verdict);
            }
        }
        self.frames(batch, told..count, tell)?;
        while cut < batch.cuts.len() {
            self.turn(batch, cut, &mut shares, tell)?;
            cut += 1;
        }
        if let Some(headers) = batch.headers.last() {
            self.accounts.headers(headers);
        }
        Ok(())
    }

    #[inline]
    fn packet<E>(
        &mut self,
        batch: &Batch,
        index: usize,
        verdict: Option<&Verdict>,
        tell: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let digest = &batch.digests[index];
        let Some(verdict) = verdict else {
            // Segments of flows that are not in the sample: their header facts are all that is told of them.
            if digest.packet.transport != Transport::Tcp {
                self.accounts.count(digest, &Verdict::default());
            }
            return Ok(());
        };
        self.accounts.count(digest, verdict);
        if self.judgements && verdict.judged.marks != 0 {
            tell(Told::Judgement(batch.first_packet + index as u64, digest, verdict))?;
        }
        Ok(())
    }

    /// Tells frames, where they are asked for; returns the end of the range.
    fn frames<E>(
        &self,
        batch: &Batch,
        range: Range<usize>,
        tell: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let end = range.end;
        if self.frames && !range.is_empty() {
            tell(Told::Frames(batch, range))?;
        }
        Ok(end)
    }

    /// Cut number `cut` of a batch.
    fn turn<E>(
        &mut self,
        batch: &Batch,
        cut: usize,
        shares: &mut [&mut Share; PARTITIONS],
        tell: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.accounts.headers(&batch.headers[cut]);
        let said = shares.iter_mut().filter_map(|share| share.said.get_mut(cut)).map(std::mem::take);
        let flows = self.take(said.collect());
        let window = match batch.cuts[cut].turn {
            Turn::TickEnds { start_ns, end_ns, ends_second } => {
                self.accounts.end_tick(start_ns, end_ns, ends_second)
            }
            Turn::JumpBack { start_ns } => return tell(Told::JumpBack(start_ns)),
        };
        tell(Told::Window(Box::new(window)))?;
        tell_flows(flows, tell)
    }

    /// The capture is over: `said` is what the partitions had left.
    pub(crate) fn finish<E>(
        &mut self,
        (start_ns, end_ns): (u64, u64),
        said: Vec<Said>,
        tell: &mut impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let flows = self.take(said);
        let window = self.accounts.end_tick(start_ns, end_ns, true);
        tell(Told::Window(Box::new(window)))?;
        tell_flows(flows, tell)
    }

    /// Adds what partitions said; returns the connections that ended, in the order of their first packets.
    fn take(&mut self, said: Vec<Said>) -> Vec<FlowRecord> {
        let (mut flows, mut watches, mut impairments) = (Vec::new(), Vec::new(), Vec::new());
        let truth = self.accounts.truth();
        for said in said {
            if let Some(watched) = said.watched {
                watches.push(watched);
            }
            if let Some(layers) = said.layers {
                truth.layers.merge(&layers);
            }
            truth.misfits.merge(said.misfits);
            flows.extend(said.told);
            impairments.extend(said.impairments);
        }
        watches.into_iter().for_each(|watched| self.accounts.watched(*watched));
        self.accounts.impairments(impairments);
        flows.sort_by_key(|flow| (flow.told_ns, flow.number));
        flows
    }
}

fn tell_flows<E>(flows: Vec<FlowRecord>, tell: &mut impl FnMut(Told<'_>) -> Result<(), E>) -> Result<(), E> {
    flows.into_iter().try_for_each(|flow| tell(Told::Flow(Box::new(flow))))
}
