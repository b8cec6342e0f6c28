//! One interface: what its driver does to frames before we see them, and who is there already.

use super::{Check, State, programs};
use crate::interface::{Interface, XDP_MTU_MAX};
use crate::nic::Losses;
use crate::nic::ethtool::{Ethtool, RxRing};
use crate::nic::netlink::{Link, link};

const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
/// A queue that has this many times its share makes one CPU the limit.
const SKEW_MAX: f64 = 2.0;
/// Share of frames lost above which something is to be done: fewer may be of one bad moment long ago.
const LOSS_SHARE_MAX: f64 = 1e-4;
/// Frames below which a skew says nothing.
const SKEW_FRAMES_MIN: u64 = 10_000;

pub(super) fn examine(interface: &Interface, checks: &mut Vec<Check>) {
    let about = |name, why| Check {
        scope: interface.name.clone(),
        name,
        state: State::Ok,
        found: String::new(),
        why,
        mend: None,
    };
    let name = &interface.name;
    let link_check = about("link", "frames come only while it is up");
    let link = match link(interface.index) {
        Ok(link) => link,
        Err(error) => return checks.push(link_check.unknown(format!("rtnetlink: {error}"))),
    };
    checks.push(state(link_check, name, &link));
    let mtu_check = about(
        "MTU",
        "a frame that takes several buffers wants Linux 5.18 and a driver with XDP frags, and AF_XDP does not take it",
    );
    checks.push(mtu(mtu_check, name, &link));
    let programs_check =
        about("programs", "one XDP program at a time; TCX and clsact programs stay beside ours");
    checks.push(programs::check(programs_check, interface, &link));
    let losses_check = about("NIC losses", "frames lost there are seen by no program; since it was made");
    let ring = Ethtool::open(name).and_then(|ethtool| ethtool.rx_ring()).ok();
    checks.push(losses(losses_check, interface, &link, ring));
    if let Ok(mut ethtool) = Ethtool::open(name) {
        checks.extend(driver(about, &mut ethtool, name));
    }
}

/// What the driver tells.
fn driver(
    about: impl Fn(&'static str, &'static str) -> Check,
    ethtool: &mut Ethtool,
    name: &str,
) -> Vec<Check> {
    let driver = about(
        "driver",
        "native XDP is the driver's; where it has none the generic hook serves, at twice the cost",
    );
    let driver = match ethtool.driver() {
        Ok(found) => driver.ok(found),
        Err(error) => driver.unknown(format!("it does not tell: {error}")),
    };
    let lro = about("LRO", "it merges segments in the NIC, and forbids native XDP with most drivers");
    let gro = about("GRO", "rings and generic XDP see merged frames, counted as the segments they stand for");
    let vlan = about("VLAN offload", "tags that the NIC takes off are not seen by XDP");
    let rx_queues = about("RX queues", "with fewer queues than CPUs some of them never count");
    let rx_ring = about("RX ring", "frames that come while no CPU has time wait there, per queue");
    let rss = about("RSS skew", "the busiest queue's CPU is the limit of all");
    vec![
        driver,
        offload(lro, ethtool, name, ("rx-lro", Some("lro"))),
        offload(gro, ethtool, name, ("rx-gro", None)),
        offload(vlan, ethtool, name, ("rx-vlan-hw-parse", Some("rxvlan"))),
        queues(rx_queues, ethtool, name),
        ring(rx_ring, ethtool),
        skew(rss, ethtool, name),
    ]
}

fn state(check: Check, name: &str, link: &Link) -> Check {
    let kind = match link.hardware_type {
        ETHERNET => "Ethernet",
        LOOPBACK => "loopback",
        _ => {
            return check.limits(
                format!("hardware type {}", link.hardware_type),
                "XDP reads Ethernet: use --source ring",
            );
        }
    };
    match (link.is_up, link.is_running) {
        (false, _) => check.limits(format!("{kind}, down"), format!("ip link set dev {name} up")),
        (true, false) => {
            check.limits(format!("{kind}, up without a carrier"), "plug in the cable, or bring up the peer")
        }
        (true, true) => check.ok(format!("{kind}, up")),
    }
}

fn mtu(check: Check, name: &str, link: &Link) -> Check {
    let found = format!("{} bytes", link.mtu_bytes);
    if link.mtu_bytes <= XDP_MTU_MAX || link.hardware_type == LOOPBACK {
        return check.ok(found);
    }
    check.limits(found, format!("ip link set dev {name} mtu {XDP_MTU_MAX}, where frames need not be longer"))
}

/// An offload; one with a switch takes something from us and should be off.
fn offload(check: Check, ethtool: &Ethtool, name: &str, (feature, switch): (&str, Option<&str>)) -> Check {
    match (ethtool.feature(feature), switch) {
        (Some(true), Some(switch)) => check.limits("on", format!("ethtool -K {name} {switch} off")),
        (Some(true), None) => check.ok("on"),
        (Some(false), _) => check.ok("off"),
        (None, _) => check.unknown("the driver does not tell"),
    }
}

fn queues(check: Check, ethtool: &Ethtool, name: &str) -> Check {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    match ethtool.channels() {
        Ok(channels) if channels.rx_queues < cpus.min(channels.rx_queues_max) => {
            let most = cpus.min(channels.rx_queues_max);
            check.limits(
                format!("{} of at most {}, {cpus} CPUs", channels.rx_queues, channels.rx_queues_max),
                format!("ethtool -L {name} combined {most} (or rx {most})"),
            )
        }
        Ok(channels) => {
            check.ok(format!("{} of at most {}, {cpus} CPUs", channels.rx_queues, channels.rx_queues_max))
        }
        Err(error) => check.unknown(format!("the driver does not tell: {error}")),
    }
}

fn ring(check: Check, ethtool: &Ethtool) -> Check {
    match ethtool.rx_ring() {
        Ok(ring) => check.ok(format!("{} frames of at most {}", ring.frames, ring.frames_max)),
        Err(error) => check.unknown(format!("the driver does not tell: {error}")),
    }
}

/// A larger ring helps against moments; where it is as large as can be, only more CPUs do.
fn losses(check: Check, interface: &Interface, link: &Link, ring: Option<RxRing>) -> Check {
    let name = &interface.name;
    let losses = match Losses::of(interface) {
        Ok(losses) => losses,
        Err(error) => return check.unknown(format!("not told: {error}")),
    };
    let (lost, came) = (losses.frames(), link.statistics.rx_packets);
    let named = |(name, frames): (&String, &u64)| (*frames != 0).then(|| format!("{name} {frames}"));
    let known: Vec<_> = losses.known.iter().filter_map(named).collect();
    let other: Vec<_> = losses.other.iter().filter_map(named).collect();
    let mut found = format!("{lost} of {} frames", came.saturating_add(lost));
    for (words, names) in [("", known), ("not counted: ", other)] {
        if !names.is_empty() {
            found.push_str(&format!("; {words}{}", names.join(", ")));
        }
    }
    if lost as f64 <= came as f64 * LOSS_SHARE_MAX {
        return check.ok(found);
    }
    match ring {
        Some(ring) if ring.frames < ring.frames_max => {
            check.limits(found, format!("ethtool -G {name} rx {}", ring.frames_max))
        }
        _ => check.limits(found, format!("ethtool -L {name} combined N, and `ethtool -X {name} equal N`")),
    }
}

fn skew(check: Check, ethtool: &mut Ethtool, name: &str) -> Check {
    let frames = match ethtool.statistics() {
        Ok(statistics) => queue_frames(&statistics),
        Err(error) => return check.unknown(format!("the driver does not tell: {error}")),
    };
    let (sum, most) = (frames.iter().sum::<u64>(), frames.iter().copied().max().unwrap_or_default());
    if frames.len() < 2 || sum < SKEW_FRAMES_MIN {
        return check.unknown("too few frames or queues to tell");
    }
    let skew = most as f64 * frames.len() as f64 / sum as f64;
    let found = format!("the busiest of {} queues has {skew:.1} times its share", frames.len());
    if skew > SKEW_MAX {
        return check.limits(
            found,
            format!(
                "ethtool -X {name} equal {}, or hash on ports: ethtool -N {name} rx-flow-hash tcp4 sdfn",
                frames.len()
            ),
        );
    }
    check.ok(found)
}

/// Frames by RX queue, under the names that drivers give them: `rx_queue_3_packets`, `rx3_packets`, `rx-3.rx_packets`,
/// `rx_queue_3_xdp_packets` (veth).
fn queue_frames(statistics: &[(&str, u64)]) -> Vec<u64> {
    let forms = [
        ("rx_queue_", "_packets"),
        ("rx_queue_", "_xdp_packets"),
        ("rx-", ".rx_packets"),
        ("rx-", ".packets"),
        ("rx", "_packets"),
    ];
    let of_form = |(begins, ends): (&str, &str)| {
        let is_queue = |name: &str| {
            let number = name.strip_prefix(begins).and_then(|rest| rest.strip_suffix(ends));
            number
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        statistics.iter().filter(|(name, _)| is_queue(name)).map(|(_, frames)| *frames).collect::<Vec<_>>()
    };
    forms.into_iter().map(of_form).find(|frames| !frames.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_known_by_the_names_that_drivers_use() {
        let frames = |names: &[&'static str]| {
            queue_frames(&names.iter().map(|name| (*name, 7)).collect::<Vec<_>>()).len()
        };
        assert_eq!(
            frames(&["rx_queue_0_packets", "rx_queue_1_packets", "rx_queue_1_bytes", "tx_queue_0_packets"]),
            2
        );
        assert_eq!(frames(&["rx0_packets", "rx1_packets", "rx_packets"]), 2);
        assert_eq!(frames(&["rx-0.rx_packets"]), 1);
        assert_eq!(frames(&["rx_packets"]), 0);
    }
}
