//! Ready frames at their own times: scenes, played through an interface of a lab as they would happen.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::netns;
use crate::packet_socket::PacketSocket;

/// Shorter waits are spent looking at the clock: the system's own take longer.
const SPIN_NS: u64 = 100_000;

/// A frame, and when it is to leave, nanoseconds after the first.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Its time.
    pub after_ns: u64,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// How a scene was played.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    /// Wall-clock time of its beginning, nanoseconds since the epoch.
    pub began_ns: u64,
    /// Frames that the device took.
    pub sent: u64,
    /// How late the latest frame was.
    pub late_ns_max: u64,
}

/// Sends `frames`, in the order of their times, through `iface`.
///
/// # Errors
/// Outside a lab, without CAP_NET_RAW, or when the interface is missing, vanishes or has no room.
pub fn play(iface: &str, frames: &[Timed]) -> Result<Played> {
    ensure!(netns::inside_a_lab()?, "scenes are only played inside a lab's network namespace");
    let socket = PacketSocket::open(iface).with_context(|| format!("open a packet socket on {iface}"))?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let started = Instant::now();
    let elapsed_ns = || u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut late_ns_max = 0;
    for Timed { after_ns, bytes } in frames {
        let mut now_ns = elapsed_ns();
        while now_ns < *after_ns {
            if after_ns - now_ns > SPIN_NS {
                std::thread::sleep(Duration::from_nanos(after_ns - now_ns - SPIN_NS));
            }
            now_ns = elapsed_ns();
        }
        late_ns_max = late_ns_max.max(now_ns - after_ns);
        socket.send_frame(bytes).context("send a frame")?;
    }
    let began_ns = u64::try_from(began.as_nanos()).unwrap_or(u64::MAX);
    Ok(Played { began_ns, sent: frames.len() as u64, late_ns_max })
}
