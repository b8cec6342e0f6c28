//! A box between client and server that loses, delays, doubles and reorders frames by a seed, and writes down each act:
//! the truth that a measurement is compared with.
//!
//! It runs as a thread with packet sockets in the middle of a [`Lab::with_middle`]. Only TCP segments, by default only those
//! with payload, are lost, doubled or overtaken; the delay is every frame's. What the box loses itself is counted in [`Record::lost`] and
//! must be 0 for the record to be the truth; frames must not be merged or left without checksums on their way to it, see
//! [`frames_as_on_the_wire`]. Good for some 50,000 frames per second.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::netns::{CLIENT_IFACE, Lab, MIDDLE_CLIENT_IFACE, MIDDLE_SERVER_IFACE, SERVER_IFACE, Side};
use crate::packet_socket::Tap;
use crate::random::Random;

/// A quarter of a second of full frames at 1 Gbit/s.
const QUEUE_BYTES: i32 = 32 << 20;
/// Longest frame: nothing is merged here.
const FRAME_BYTES_MAX: usize = 2_048;
/// Frames taken from one side before the other one has its turn.
const TURN_FRAMES: usize = 64;
/// Longest sleep, so that the end is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// Where a frame is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// Which segments may be lost, doubled or overtaken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affected {
    /// Those with payload.
    #[default]
    Payload,
    /// All of TCP: SYN, FIN and pure ACKs, too.
    All,
}

/// What happens to the frames of one way. The default passes them on as they come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Impairment {
    /// How long each frame takes.
    pub delay: Duration,
    /// Whom the following concerns.
    pub affected: Affected,
    /// Of a thousand segments with payload, those that are dropped.
    pub dropped_per_mille: u32,
    /// Those that are sent twice.
    pub doubled_per_mille: u32,
    /// Those that take `overtaken_by` longer.
    pub overtaken_per_mille: u32,
    /// See there.
    pub overtaken_by: Duration,
}

/// What was done to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sent twice.
    Doubled,
    /// Not sent.
    Dropped,
    /// Held back, so that later ones overtake it.
    HeldBack,
    /// Passed on.
    Passed,
}

/// What counts of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sender's port.
    pub source_port: u16,
    /// Receiver's port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// TCP payload, bytes.
    pub payload_bytes: u32,
    /// The flags' byte.
    pub flags: u8,
}

/// One frame's passage.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// `None` for what is not TCP over IPv4.
    pub segment: Option<Segment>,
    /// What was done.
    pub act: Act,
    /// When it came.
    pub entered: Instant,
}

/// All that went one way.
#[derive(Clone, Debug, Default)]
pub struct Passages {
    /// In the order in which they came.
    pub entered: Vec<Passage>,
    /// Indices of these in the order in which they left.
    pub left: Vec<usize>,
    /// The longest that a frame left later than it was to.
    pub late_max: Duration,
}

/// What the box did.
#[derive(Clone, Debug, Default)]
pub struct Record {
    ways: [Passages; 2],
    /// Frames that the box or the interfaces of the lab lost without meaning to.
    pub lost: u64,
}

impl Record {
    /// What went one way.
    pub const fn of(&self, way: Way) -> &Passages {
        &self.ways[way as usize]
    }
}

impl Passages {
    /// TCP segments as the sender's side saw them.
    pub fn sent(&self) -> impl Iterator<Item = Segment> {
        self.entered.iter().filter_map(|passage| passage.segment)
    }

    /// TCP segments as the receiver's side saw them.
    pub fn received(&self) -> impl Iterator<Item = Segment> {
        self.left.iter().filter_map(|index| self.entered[*index].segment)
    }

    /// How many frames had this done to them.
    pub fn count(&self, act: Act) -> u64 {
        self.entered.iter().filter(|passage| passage.act == act).count() as u64
    }
}

/// A box at work; ends with [`MiddleBox::finish`].
pub struct MiddleBox<'a> {
    lab: &'a Lab,
    orders: Arc<Orders>,
    worker: JoinHandle<Result<Record>>,
}

/// What the thread is told.
#[derive(Default)]
struct Orders {
    stop: AtomicBool,
    impairments: Mutex<[Impairment; 2]>,
}

impl<'a> MiddleBox<'a> {
    /// Joins the two sides of a lab with a middle. Equal seeds give equal draws.
    ///
    /// # Errors
    /// Where the lab has no middle, or a packet socket cannot be had.
    pub fn start(lab: &'a Lab, seed: u64) -> Result<Self> {
        let open = || -> Result<[Tap; 2]> {
            let tap = |iface| {
                Tap::open(iface, QUEUE_BYTES).with_context(|| format!("open a packet socket on {iface}"))
            };
            Ok([tap(MIDDLE_CLIENT_IFACE)?, tap(MIDDLE_SERVER_IFACE)?])
        };
        keep_order(lab)?;
        let taps = lab.inside_middle(open)??;
        let orders = Arc::<Orders>::default();
        let worker = Worker {
            taps,
            orders: Arc::clone(&orders),
            random: Random::new(seed),
            held: BinaryHeap::new(),
            record: Record::default(),
        };
        Ok(Self { lab, orders, worker: std::thread::spawn(move || worker.run()) })
    }

    /// From now on, what happens to frames of this way.
    pub fn set(&self, way: Way, impairment: Impairment) {
        let mut impairments = self.orders.impairments.lock().unwrap_or_else(PoisonError::into_inner);
        impairments[way as usize] = impairment;
    }

    /// Ends it: what was done.
    ///
    /// # Errors
    /// Where a packet socket failed meanwhile.
    pub fn finish(self) -> Result<Record> {
        self.orders.stop.store(true, Ordering::Relaxed);
        let mut record = self.worker.join().map_err(|_| anyhow!("the box panicked"))??;
        record.lost += dropped_by_interfaces(self.lab)?;
        Ok(record)
    }
}

/// A frame that waits to leave, first by its time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    /// Keeps the order of those that are due at the same time.
    number: usize,
    way: usize,
    index: usize,
    frame: Vec<u8>,
}

struct Worker {
    /// By the side they face: the client's, the server's.
    taps: [Tap; 2],
    orders: Arc<Orders>,
    random: Random,
    held: BinaryHeap<Reverse<Held>>,
    record: Record,
}

impl Worker {
    fn run(mut self) -> Result<Record> {
        let mut buffer = [0; FRAME_BYTES_MAX];
        while !self.orders.stop.load(Ordering::Relaxed) {
            self.wait()?;
            let impairments = *self.orders.impairments.lock().unwrap_or_else(PoisonError::into_inner);
            for (way, impairment) in impairments.iter().enumerate() {
                for _ in 0..TURN_FRAMES {
                    let Some(len) = self.taps[way].receive(&mut buffer).context("receive a frame")? else {
                        break;
                    };
                    self.enter(way, impairment, &buffer[..len]);
                    self.release();
                }
            }
            self.release();
        }
        for tap in &self.taps {
            self.record.lost += tap.lost().context("ask a packet socket what it lost")?;
        }
        Ok(self.record)
    }

    /// Until a frame comes or one is due.
    fn wait(&self) -> Result<()> {
        let now = Instant::now();
        let due = self.held.peek().map_or(SLEEP_MAX, |Reverse(next)| next.due.saturating_duration_since(now));
        let [client, server] = &self.taps;
        let mut fds = [client, server].map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(due.min(SLEEP_MAX))), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("wait for frames"),
        }
    }

    /// A frame came: decides what becomes of it.
    fn enter(&mut self, way: usize, impairment: &Impairment, frame: &[u8]) {
        let entered = Instant::now();
        let segment = segment(frame);
        let act = match segment {
            Some(segment) if segment.payload_bytes != 0 || impairment.affected == Affected::All => {
                draw(&mut self.random, impairment)
            }
            _ => Act::Passed,
        };
        let index = self.record.ways[way].entered.len();
        self.record.ways[way].entered.push(Passage { segment, act, entered });
        let (copies, held_back) = match act {
            Act::Doubled => (2, Duration::ZERO),
            Act::Dropped => (0, Duration::ZERO),
            Act::HeldBack => (1, impairment.overtaken_by),
            Act::Passed => (1, Duration::ZERO),
        };
        for _ in 0..copies {
            let due = entered + impairment.delay + held_back;
            self.held.push(Reverse(Held { due, number: index, way, index, frame: frame.to_vec() }));
        }
    }

    /// Sends what is due.
    fn release(&mut self) {
        let now = Instant::now();
        while self.held.peek().is_some_and(|Reverse(next)| next.due <= now) {
            let Some(Reverse(next)) = self.held.pop() else { return };
            let passages = &mut self.record.ways[next.way];
            match self.taps[1 - next.way].send(&next.frame) {
                Ok(()) => passages.left.push(next.index),
                Err(_) => self.record.lost += 1,
            }
            passages.late_max = passages.late_max.max(now.saturating_duration_since(next.due));
        }
    }
}

fn draw(random: &mut Random, impairment: &Impairment) -> Act {
    let drawn = random.below(1_000);
    let acts = [
        (impairment.dropped_per_mille, Act::Dropped),
        (impairment.doubled_per_mille, Act::Doubled),
        (impairment.overtaken_per_mille, Act::HeldBack),
    ];
    let mut limit = 0;
    for (per_mille, act) in acts {
        limit += per_mille;
        if drawn < limit {
            return act;
        }
    }
    Act::Passed
}

/// The TCP segment of an Ethernet frame with IPv4.
fn segment(frame: &[u8]) -> Option<Segment> {
    let u16_at = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
    let ip = 14;
    if u16_at(12)? != 0x0800 || *frame.get(ip + 9)? != 6 {
        return None;
    }
    let tcp = ip + usize::from(frame.get(ip)? & 0x0f) * 4;
    let payload = tcp + usize::from(frame.get(tcp + 12)? >> 4) * 4;
    let end = ip + usize::from(u16_at(ip + 2)?);
    Some(Segment {
        source_port: u16_at(tcp)?,
        destination_port: u16_at(tcp + 2)?,
        sequence: u32_at(tcp + 4)?,
        payload_bytes: u32::try_from(end.checked_sub(payload)?).ok()?,
        flags: *frame.get(tcp + 13)?,
    })
}

/// Has both sides' interfaces neither merge nor split frames and write their checksums themselves, so that one frame is
/// one packet everywhere. Attaching an XDP program switches merging on again: then once more.
///
/// # Errors
/// Without ethtool, or where the interface does not allow it.
pub fn frames_as_on_the_wire(lab: &Lab) -> Result<()> {
    checksums_as_on_the_wire(lab)?;
    for (side, iface) in [(Side::Client, CLIENT_IFACE), (Side::Server, SERVER_IFACE)] {
        // TCP hands over several segments as one frame even to interfaces that cannot split it, unless told not to.
        succeed(lab.command(side, "ip").args(["link", "set", "dev", iface, "gso_max_segs", "1"]))?;
    }
    Ok(())
}

/// The same, except that the stack may still hand over several segments as one frame, which it splits itself: behind the
/// TCX program, and before the wire.
///
/// # Errors
/// As [`frames_as_on_the_wire`].
pub fn checksums_as_on_the_wire(lab: &Lab) -> Result<()> {
    for (side, iface) in [(Side::Client, CLIENT_IFACE), (Side::Server, SERVER_IFACE)] {
        let offloads = ["tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off"];
        succeed(lab.command(side, "ethtool").args(["-K", iface]).args(offloads))?;
    }
    Ok(())
}

/// Frames that two CPUs send into a veth pair wait for their delivery on two queues, and may change their order there: all
/// are to wait on one.
fn keep_order(lab: &Lab) -> Result<()> {
    let middle = lab.middle().context("this lab has no middle")?;
    for iface in [MIDDLE_CLIENT_IFACE, MIDDLE_SERVER_IFACE] {
        let write = format!("echo 1 > /sys/class/net/{iface}/queues/rx-0/rps_cpus");
        succeed(Command::new("ip").args(["netns", "exec", &middle, "sh", "-c", &write]))?;
    }
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().context("run `ip` and `ethtool` (Debian packages iproute2, ethtool)")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Frames that the lab's interfaces dropped since they were made.
fn dropped_by_interfaces(lab: &Lab) -> Result<u64> {
    let middle = lab.middle().context("this lab has no middle")?;
    let namespaces = [lab.namespace(Side::Client), middle, lab.namespace(Side::Server)];
    let mut dropped = 0;
    for namespace in namespaces {
        let output = Command::new("ip").args(["-n", &namespace, "-s", "-j", "link"]).output()?;
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).context("read `ip -j`")?;
        for link in links.as_array().into_iter().flatten() {
            let of = |way: &str| link["stats64"][way]["dropped"].as_u64().unwrap_or_default();
            dropped += of("rx") + of("tx");
        }
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_and_nothing_else_is() {
        let mut frame = [0; 70];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&50_u16.to_be_bytes());
        frame[23] = 6;
        frame[34..36].copy_from_slice(&80_u16.to_be_bytes());
        frame[38..42].copy_from_slice(&7_u32.to_be_bytes());
        frame[46..48].copy_from_slice(&[0x50, 0x18]);
        let read = segment(&frame);
        assert_eq!(
            read.map(|read| (read.source_port, read.sequence, read.payload_bytes, read.flags)),
            Some((80, 7, 10, 0x18))
        );
        assert_eq!(segment(&frame[..40]), None);
        frame[23] = 17;
        assert_eq!(segment(&frame), None);
    }

    #[test]
    fn draws_are_as_frequent_as_asked_for() {
        let mut random = Random::new(1);
        let impairment = Impairment { dropped_per_mille: 50, doubled_per_mille: 10, ..Impairment::default() };
        let acts: Vec<Act> = (0..10_000).map(|_| draw(&mut random, &impairment)).collect();
        let count = |act| acts.iter().filter(|drawn| **drawn == act).count();
        assert!((400..600).contains(&count(Act::Dropped)) && (50..150).contains(&count(Act::Doubled)));
        assert_eq!(count(Act::HeldBack), 0);
    }
}
