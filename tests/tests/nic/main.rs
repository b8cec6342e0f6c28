//! Frames that are lost before a program sees them: what tidegauge says against what the kernel's own tools say, with
//! queues and backlogs that really overflow. Needs root; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../live/running.rs"]
#[expect(dead_code, reason = "delays are the live tests'")]
mod running;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "incidents are the live tests'")]
mod support;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use tidegauge_capture::af_xdp::{self, AfXdpOptions};
use tidegauge_capture::interface::Interface;
use tidegauge_capture::nic::{Losses, NicLoss, SoftnetLoss};
use tidegauge_tests::netns::{CLIENT_IFACE, CLIENT_MAC, Lab, SERVER_IFACE, SERVER_MAC, Side};
use tidegauge_tests::packet_socket::{BATCH_FRAMES, Batch, PacketSocket};
use tidegauge_tests::skip::{lab_or_skip, skip};

use running::{Live, alone};

/// IEEE's EtherType for experiments: nothing else on the link has it.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// Filters that make a frame cost some ten microseconds.
const FILTERS: u32 = 1_000;
/// A socket lets some 280 frames be on their way, a backlog takes 1,000.
const SOCKETS: usize = 8;
/// Enough for a queue of 1 MiB, several times.
const BATCHES: usize = 400;

/// A datagram to a port that no filter knows; the checksums are left out, because nobody gets to see them.
fn datagram() -> Vec<u8> {
    let ip = [0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2];
    let udp = [0xff, 0xfe, 0xff, 0xff, 0, 26, 0, 0];
    [&SERVER_MAC[..], &CLIENT_MAC, &[8, 0], &ip, &udp, &[0; 18]].concat()
}

/// Sends a frame so many times 64, from the first CPU.
fn send(lab: &Lab, frame: &[u8], batches: usize) {
    let send = || {
        let mut first = CpuSet::new();
        first.set(0).unwrap();
        sched_setaffinity(Pid::from_raw(0), &first).unwrap();
        let sockets: Vec<_> = (0..SOCKETS).map(|_| PacketSocket::open(CLIENT_IFACE).unwrap()).collect();
        let mut batch = Batch::default();
        for socket in sockets.iter().cycle().take(batches) {
            batch.fill(BATCH_FRAMES, |bytes| {
                bytes[..frame.len()].copy_from_slice(frame);
                frame.len()
            });
            socket.send(&mut batch).unwrap();
        }
    };
    lab.inside(Side::Client, send).unwrap();
}

/// Sum of the queues' drops, as ethtool tells it.
fn drops_by_ethtool(lab: &Lab) -> u64 {
    let said = support::run(lab.command(Side::Server, "ethtool").args(["-S", SERVER_IFACE])).stdout;
    said.lines()
        .filter_map(|line| line.trim().split_once(": "))
        .filter(|(name, _)| {
            name.starts_with("rx_queue_") && name.ends_with("_drops") && !name.contains("xdp")
        })
        .map(|(_, value)| value.parse::<u64>().unwrap())
        .sum()
}

/// `rx_dropped` of the server's interface, as iproute2 tells it.
/// Frames for which no CPU's backlog had room, of all interfaces.
fn backlog_drops() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap();
    let of_line = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    text.lines().map(of_line).sum()
}

fn rx_dropped(lab: &Lab) -> u64 {
    let mut command = lab.command(Side::Server, "ip");
    let said = support::run(command.args(["-s", "-j", "link", "show", "dev", SERVER_IFACE])).stdout;
    serde_json::from_str::<Value>(&said).unwrap()[0]["stats64"]["rx"]["dropped"].as_u64().unwrap()
}

#[test]
fn a_queue_that_nobody_reads_is_a_loss_of_the_drivers_own_count() {
    let Some(lab) = lab_or_skip("a_queue_that_nobody_reads_is_a_loss_of_the_drivers_own_count") else {
        return;
    };
    let _alone = alone();
    assert_eq!(drops_by_ethtool(&lab), 0);
    let watch = || {
        let interface = Interface::open(SERVER_IFACE).unwrap();
        let (_hold, queues) = af_xdp::open(&interface, &AfXdpOptions { memory_bytes: 1 << 20 }).unwrap();
        let mut loss = NicLoss::open(&interface).unwrap();
        assert_eq!(loss.frames(), Some(0));
        send(&lab, &[&SERVER_MAC[..], &CLIENT_MAC, &EXPERIMENT, &[0; 46]].concat(), BATCHES);
        let by_name = loss.by_name().unwrap().clone();
        let frames = loss.frames().unwrap();
        // Not again what was told already, and the same from one who begins at zero.
        assert_eq!((loss.frames(), Losses::of(&interface).unwrap().frames()), (Some(frames), frames));
        drop(queues);
        (by_name, frames)
    };
    let (by_name, frames) = lab.inside(Side::Server, watch).unwrap();
    assert!(frames > 1_000, "{by_name:?}");
    assert_eq!(frames, drops_by_ethtool(&lab), "{by_name:?}");
    assert!(frames <= rx_dropped(&lab));
    assert_eq!(by_name.known.iter().collect::<Vec<_>>(), [(&"rx_queue_0_drops".to_owned(), &frames)]);
    assert!(by_name.other.is_empty(), "{by_name:?}");
}

#[test]
fn an_interface_that_is_gone_is_unknown_and_not_without_loss() {
    let Some(lab) = lab_or_skip("an_interface_that_is_gone_is_unknown_and_not_without_loss") else { return };
    let watch = || {
        let interface = Interface::open(SERVER_IFACE).unwrap();
        let (nic, softnet) = (NicLoss::open(&interface).unwrap(), SoftnetLoss::open(&interface).unwrap());
        let delete = ["link", "del", SERVER_IFACE];
        assert!(lab.command(Side::Server, "ip").args(delete).status().unwrap().success());
        let (mut nic, mut softnet) = (nic, softnet);
        (nic.frames(), softnet.frames())
    };
    assert_eq!(lab.inside(Side::Server, watch).unwrap(), (None, None));
}

/// Frames are handed to the second CPU, which is then slow with each: a list of filters of which none matches. Its
/// backlog has to take what the first one sends meanwhile. All of it is the namespace's own.
fn hand_over(lab: &Lab) {
    let script = format!(
        "echo 2 > /sys/class/net/{SERVER_IFACE}/queues/rx-0/rps_cpus && tc qdisc add dev {SERVER_IFACE} clsact && \
         for port in $(seq 1 {FILTERS}); do echo filter add dev {SERVER_IFACE} ingress protocol ip prio 1 \
         u32 match ip dport $port 0xffff match ip sport $port 0xffff classid 1:1; done | tc -batch -"
    );
    let ran = support::run(lab.command(Side::Server, "sh").args(["-ec", &script]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn what_a_backlog_has_no_room_for_is_told_by_a_ring_and_not_by_native_xdp() {
    const TEST: &str = "what_a_backlog_has_no_room_for_is_told_by_a_ring_and_not_by_native_xdp";
    let Some(lab) = lab_or_skip(TEST) else { return };
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return skip(TEST, "needs two CPUs");
    }
    let _alone = alone();
    hand_over(&lab);
    let (dropped_before, backlogs_before) = (rx_dropped(&lab), backlog_drops());
    let live = Live::start(&lab, &[SERVER_IFACE, "--source", "ring", "--workers", "1"]);
    send(&lab, &datagram(), BATCHES);
    let sent = (BATCHES * BATCH_FRAMES) as u64;
    let summary = live.interrupt().summary().clone();
    let dropped = &summary["quality"]["dropped"];
    let by_kernel = rx_dropped(&lab) - dropped_before;
    let by_backlogs = backlog_drops() - backlogs_before;
    println!("sent {sent}, rx_dropped {by_kernel}, softnet_stat {by_backlogs}, {dropped}");
    // Told, where it happened: not `null`, although the run has given up its rights by then.
    assert!(!dropped.as_object().unwrap().get("softnet").is_some_and(Value::is_null), "{dropped}");
    let softnet = dropped["softnet"].as_u64().unwrap_or_default();
    assert!(softnet <= by_kernel, "{dropped}");
    if softnet == 0 {
        return skip(TEST, "the second CPU took all frames");
    }
    assert_ne!(summary["quality"]["verdict"], "complete");
    // Nothing is missing that is not told, but for the stack's own chatter.
    let captured = summary["quality"]["captured"].as_u64().unwrap();
    let lost: u64 = dropped.as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert!((captured + lost).abs_diff(sent) <= 20, "captured {captured}, lost {lost}, sent {sent}");

    let live = Live::start(&lab, &[SERVER_IFACE, "--source", "xdp"]);
    send(&lab, &datagram(), BATCHES);
    let summary = live.interrupt().summary().clone();
    assert!(summary["quality"]["dropped"].get("softnet").is_none(), "{summary}");
}
