//! A SYN flood from one seed: spoofed or fixed sources, one target, a rate kept to a few percent.
//!
//! It leaves only inside a lab: [`run`] refuses any network namespace that [`crate::netns::Lab`] did not make.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::netns::{self, CLIENT_MAC, SERVER_MAC};
use crate::pacing::{Due, Pacer};
use crate::packet_socket::{BATCH_FRAMES, Batch, PacketSocket, Sent};
use crate::random::Random;
use crate::syn_frame::{FRAME_BYTES_MAX, Mac, Stack, Syn, SynTemplate};

/// The /64 of the spoofed IPv6 sources (documentation range, upper half).
const SPOOFED_V6: u128 = 0x2001_0db8_0077_0000 << 64;

/// Hardware address that nobody in a lab has.
const ELSEWHERE_MAC: Mac = [0x02, 0x77, 0, 0, 0, 0xff];

/// What happens to the frames behind the interface they arrive at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server's stack answers them, on the sender's core: a veth pair has no other. That limits the rate.
    Host,
    /// They carry another host's hardware address, as on a mirror port: XDP and packet sockets see them, the stack
    /// drops them at once. For rates beyond what the stack can answer.
    Mirror,
}

/// Where the SYNs claim to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// This many addresses, drawn once.
    Fixed(usize),
    /// A new random address in every frame.
    Spoofed,
}

/// A flood to send.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Interface it leaves by.
    pub iface: String,
    /// Target address; its family decides that of the sources.
    pub target: IpAddr,
    /// Whether the server's stack gets them.
    pub delivery: Delivery,
    /// Destination ports, drawn from in every frame. Not empty.
    pub dest_ports: Vec<u16>,
    /// Who it comes from.
    pub sources: Sources,
    /// Frames per second; 0 is as fast as possible.
    pub rate_pps: u64,
    /// How long.
    pub duration: Duration,
    /// Equal seeds give equal frames.
    pub seed: u64,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Frames the device took, and those it refused.
    pub sent: Sent,
    /// From the first frame to the last.
    pub elapsed: Duration,
}

/// Sends the flood; `first_packet` is told the wall-clock time (ns since the epoch) right after the first frame left.
///
/// # Errors
/// Outside a lab, without CAP_NET_RAW, or when the interface is missing or vanishes.
pub fn run(flood: &Flood, first_packet: impl FnOnce(u64)) -> Result<Report> {
    ensure!(
        netns::inside_a_lab()?,
        "floods only leave inside a lab's network namespace (`traffic lab up` makes one)"
    );
    ensure!(!flood.dest_ports.is_empty(), "a flood needs a destination port");
    let socket = PacketSocket::open(&flood.iface)
        .with_context(|| format!("open a packet socket on {}", flood.iface))?;
    let mut frames = Frames::new(flood);
    let mut batch = Batch::default();
    let pacer = Pacer::new(flood.rate_pps, nanoseconds(flood.duration), BATCH_FRAMES);

    // The first frame goes alone, so that the time told is its own.
    batch.fill(1, |out| frames.write(out));
    let first_ns = nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH)?);
    let started = Instant::now();
    let mut sent = socket.send(&mut batch).context("send the first frame")?;
    first_packet(first_ns);
    loop {
        match pacer.due(nanoseconds(started.elapsed()), sent.accepted + sent.refused) {
            Due::Finished => break,
            Due::Wait { wait_ns } => std::thread::sleep(Duration::from_nanos(wait_ns)),
            Due::Now(count) => {
                batch.fill(count, |out| frames.write(out));
                let batch_sent = socket.send(&mut batch).context("send a batch of frames")?;
                sent.accepted += batch_sent.accepted;
                sent.refused += batch_sent.refused;
            }
        }
    }
    Ok(Report { sent, elapsed: started.elapsed() })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The endless sequence of a flood's frames.
struct Frames<'a> {
    flood: &'a Flood,
    templates: [SynTemplate; 3],
    /// Empty when sources are spoofed.
    fixed: Vec<IpAddr>,
    random: Random,
}

impl<'a> Frames<'a> {
    fn new(flood: &'a Flood) -> Self {
        let mut random = Random::new(flood.seed);
        let fixed = match flood.sources {
            Sources::Fixed(count) => (0..count).map(|_| spoofed(flood.target, &mut random)).collect(),
            Sources::Spoofed => Vec::new(),
        };
        let target_mac = match flood.delivery {
            Delivery::Host => SERVER_MAC,
            Delivery::Mirror => ELSEWHERE_MAC,
        };
        let templates = Stack::ALL.map(|stack| SynTemplate::new(stack, CLIENT_MAC, target_mac, flood.target));
        Self { flood, templates, fixed, random }
    }

    fn write(&mut self, out: &mut [u8; FRAME_BYTES_MAX]) -> usize {
        let random = &mut self.random;
        let source = match draw(&self.fixed, random) {
            Some(source) => *source,
            None => spoofed(self.flood.target, random),
        };
        let bits = random.next_u64();
        let syn = Syn {
            source,
            // Ephemeral ports only: a source port below 1024 would give the flood away too easily.
            source_port: 1_024 + u16::try_from(random.below(64_512)).unwrap_or_default(),
            dest_port: draw(&self.flood.dest_ports, random).copied().unwrap_or_default(),
            seq: (bits >> 32) as u32,
            ip_id: bits as u16,
            ts_value: random.next_u32(),
        };
        let stack = random.below(3) as usize;
        self.templates[stack].write(&syn, out)
    }
}

/// One of `all`, or `None` when there is nothing to draw from.
fn draw<'a, T>(all: &'a [T], random: &mut Random) -> Option<&'a T> {
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    if count == 0 { None } else { all.get(random.below(count) as usize) }
}

/// A source address of `target`'s family that a router would have let through.
fn spoofed(target: IpAddr, random: &mut Random) -> IpAddr {
    if target.is_ipv6() {
        return Ipv6Addr::from_bits(SPOOFED_V6 | u128::from(random.next_u64())).into();
    }
    loop {
        let address = Ipv4Addr::from_bits(random.next_u32());
        if is_public_unicast(address) {
            return address.into();
        }
    }
}

/// Roughly: addresses that a host drops or answers differently are left out.
fn is_public_unicast(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    (1..224).contains(&first) && !address.is_private() && !address.is_loopback() && !address.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(target: &str, sources: Sources) -> Flood {
        Flood {
            iface: "va".into(),
            target: target.parse().unwrap(),
            delivery: Delivery::Host,
            dest_ports: vec![80, 443],
            sources,
            rate_pps: 1,
            duration: Duration::from_secs(1),
            seed: 42,
        }
    }

    fn frames(flood: &Flood, count: usize) -> Vec<[u8; FRAME_BYTES_MAX]> {
        let mut frames = Frames::new(flood);
        let mut out = [0; FRAME_BYTES_MAX];
        (0..count)
            .map(|_| {
                frames.write(&mut out);
                out
            })
            .collect()
    }

    #[test]
    fn equal_seeds_give_equal_frames() {
        let flood = flood("10.77.0.2", Sources::Spoofed);
        assert_eq!(frames(&flood, 100), frames(&flood, 100));
    }

    #[test]
    fn spoofed_sources_are_public_and_hardly_repeat() {
        let frames = frames(&flood("10.77.0.2", Sources::Spoofed), 10_000);
        let sources: std::collections::HashSet<[u8; 4]> =
            frames.iter().map(|frame| frame[26..30].try_into().unwrap()).collect();
        assert!(sources.len() > 9_990);
        assert!(sources.iter().all(|octets| is_public_unicast(Ipv4Addr::from(*octets))));
    }

    #[test]
    fn ipv6_sources_share_their_64() {
        let frames = frames(&flood("fd77::2", Sources::Spoofed), 100);
        assert!(frames.iter().all(|frame| frame[22..30] == [0x20, 1, 0x0d, 0xb8, 0, 0x77, 0, 0]));
    }

    #[test]
    fn fixed_sources_are_as_many_as_asked_for() {
        let frames = frames(&flood("10.77.0.2", Sources::Fixed(3)), 1_000);
        let sources: std::collections::HashSet<&[u8]> = frames.iter().map(|frame| &frame[26..30]).collect();
        assert_eq!(sources.len(), 3);
    }
}
