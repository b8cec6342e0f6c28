//! One CPU's loads before our program: the same flow, many in turn, a busy few, and new ones without end.

use std::os::fd::BorrowedFd;

use anyhow::{Result, ensure};

use super::frame::{Kind, NETWORKS, frame};
use super::{Measure, test_run_ns};
use crate::xdp::{BUSY_ONE_IN, Order, PAYLOAD_BYTES, Pass, Spread};

/// So many that no packet of a round meets a flow of another.
const FLOWS_ENDLESS: u32 = 1 << 24;
const FLOWS_SKEWED: u32 = 1 << 20;

/// What comes to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Flows in turn, a power of two.
    Turns(u32),
    /// 2^20 flows, most packets from 1/128 of them.
    Skewed,
    /// Each packet of a flow or source that was never seen.
    New(Kind),
}

impl Load {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Turns(1) => "one flow".to_owned(),
            Self::Turns(flows) => format!("{flows} flows in turn"),
            Self::Skewed => format!("{FLOWS_SKEWED} flows, 7/8 of the packets in 1/{BUSY_ONE_IN} of them"),
            Self::New(Kind::Datagram) => "every datagram from a new source".to_owned(),
            Self::New(kind) => format!("every {} a new flow", kind.name()),
        }
    }

    const fn flows(self) -> (u32, Order) {
        match self {
            Self::Turns(flows) => (flows, Order::Even),
            Self::Skewed => (FLOWS_SKEWED, Order::Skewed),
            Self::New(_) => (FLOWS_ENDLESS, Order::Even),
        }
    }
}

/// A load before our program and before the empty one.
struct Pair {
    load: Load,
    ours: Spread,
    floor: Spread,
    /// Laps that our program has seen: where the sequence number goes on.
    laps: u32,
}

/// One CPU's loads. Lanes of the same program must not share networks.
pub struct Lane {
    pairs: Vec<Pair>,
    /// Source network of the flows that are known.
    network: u8,
    /// Networks whose flows are new, and not yet measured.
    fresh: std::ops::Range<u8>,
}

impl Lane {
    /// Prepares loads before `program`, and lets it see the flows that come in turn; `networks` are for this lane.
    pub fn new(
        loads: &[Load],
        program: BorrowedFd<'_>,
        pass: &Pass,
        networks: std::ops::Range<u8>,
    ) -> Result<Self> {
        ensure!(networks.end <= NETWORKS && networks.start < networks.end, "not enough source networks");
        let mut pairs = Vec::new();
        for load in loads {
            let (flows, order) = load.flows();
            let ours = Spread::load(flows, order, program)?;
            let floor = Spread::load(flows, order, pass.fd())?;
            pairs.push(Pair { load: *load, ours, floor, laps: 0 });
        }
        let mut lane = Self { pairs, network: networks.start, fresh: networks.start + 1..networks.end };
        for load in loads.iter().filter(|load| !matches!(load, Load::New(_))) {
            // A lap that is not measured, so that the rounds measure flows that are known.
            lane.measure(*load, load.flows().0)?;
        }
        Ok(lane)
    }

    /// Runs a load for at least `repeat` packets, in whole laps where it has such.
    pub fn measure(&mut self, load: Load, repeat: u32) -> Result<Measure> {
        let network = match load {
            Load::New(_) => self.fresh.next(),
            Load::Turns(_) | Load::Skewed => Some(self.network),
        };
        let pair = self.pairs.iter_mut().find(|pair| pair.load == load);
        let (Some(network), Some(pair)) = (network, pair) else {
            anyhow::bail!("no more source networks, or not a load of this lane: {load:?}")
        };
        pair.run(network, repeat)
    }
}

impl Pair {
    fn run(&mut self, network: u8, repeat: u32) -> Result<Measure> {
        let (kind, runs) = match self.load {
            Load::Turns(flows) => (Kind::Data, repeat.next_multiple_of(flows)),
            Load::Skewed => (Kind::Data, repeat),
            Load::New(kind) => (kind, repeat.min(FLOWS_ENDLESS)),
        };
        let frame = frame(network, kind, self.laps.wrapping_mul(PAYLOAD_BYTES.into()));
        self.laps = self.laps.wrapping_add(runs.div_ceil(self.load.flows().0));
        let ns = test_run_ns(self.ours.fd(), &frame, runs)?;
        let floor_ns = test_run_ns(self.floor.fd(), &frame, runs)?;
        Ok(Measure { ns, floor_ns })
    }
}
