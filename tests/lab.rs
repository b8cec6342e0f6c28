//! The lab itself: it joins two real stacks, its floods keep their rate, and nothing of it stays behind.
//! Needs root; says so and passes otherwise.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tidegauge_tests::client::{self, Load};
use tidegauge_tests::flood::{self, Delivery, Flood, Sources};
use tidegauge_tests::netns::{CLIENT_IFACE, Lab, SERVER_IFACE, SERVER_V4, SERVER_V6, Side};
use tidegauge_tests::server::{self, Mode};
use tidegauge_tests::skip::lab_or_skip;

/// What a new interface says by itself in its first seconds (IPv6 multicast listener reports).
const LISTENER_REPORTS_MAX: u64 = 8;

fn namespaces_of(owner: u32) -> Vec<String> {
    let prefix = format!("tg-{owner}-");
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

fn exists(lab: &str) -> bool {
    Path::new("/run/netns").join(lab).exists()
}

#[test]
fn a_dropped_lab_leaves_nothing_even_with_a_process_inside() {
    let Some(lab) = lab_or_skip("a_dropped_lab_leaves_nothing_even_with_a_process_inside") else { return };
    let names = [lab.namespace(Side::Client), lab.namespace(Side::Server)];
    assert!(names.iter().all(|name| exists(name)));
    let mut sleeper = lab.command(Side::Server, "sleep").arg("600").spawn().unwrap();
    drop(lab);
    assert!(names.iter().all(|name| !exists(name)), "{names:?}");
    assert!(!sleeper.wait().unwrap().success(), "the process inside was ended");
}

#[test]
fn labs_of_a_dead_owner_are_swept_by_the_next() {
    let Some(lab) = lab_or_skip("labs_of_a_dead_owner_are_swept_by_the_next") else { return };
    let mut gone = lab.command(Side::Client, "true").spawn().unwrap();
    gone.wait().unwrap();
    Lab::owned_by(gone.id()).unwrap().leave_up();
    assert_eq!(namespaces_of(gone.id()).len(), 2);
    drop(Lab::new().unwrap());
    assert_eq!(namespaces_of(gone.id()), Vec::<String>::new());
}

#[test]
fn clients_complete_over_both_address_families_and_are_refused_where_nobody_listens() {
    let Some(lab) = lab_or_skip("clients_complete_over_both_address_families") else { return };
    let mut listen = vec![(SERVER_V4, 80).into()];
    if lab.has_ipv6() {
        listen.push((SERVER_V6, 80).into());
    }
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = lab.namespace(Side::Server);
    let addresses = listen.clone();
    // Serves until the test process ends; its namespace is deleted before that.
    std::thread::spawn(move || {
        let namespace = std::fs::File::open(Path::new("/run/netns").join(server)).unwrap();
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        server::serve(&addresses, Mode::EchoClose { answer_bytes: 512 }, 4, |_| ready.send(()).unwrap())
    });
    is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    let ask = |target| {
        let load = Load {
            target,
            sources: Vec::new(),
            rate_per_s: 100,
            duration: Duration::from_millis(500),
            workers: 8,
        };
        lab.inside(Side::Client, || client::connect(&load, &AtomicBool::new(false))).unwrap().unwrap()
    };
    for target in listen {
        let counts = ask(target);
        assert_eq!((counts.attempted, counts.completed), (50, 50), "{target}: {counts:?}");
    }
    let counts = ask((SERVER_V4, 81).into());
    assert_eq!((counts.attempted, counts.refused), (50, 50), "{counts:?}");
}

#[test]
fn a_flood_arrives_whole_and_its_answers_leave() {
    let Some(lab) = lab_or_skip("a_flood_arrives_whole_and_its_answers_leave") else { return };
    let flood = Flood {
        iface: CLIENT_IFACE.into(),
        target: SERVER_V4.into(),
        delivery: Delivery::Host,
        dest_ports: vec![81],
        sources: Sources::Spoofed,
        rate_pps: 5_000,
        duration: Duration::from_secs(1),
        seed: 1,
    };
    let report = lab.inside(Side::Client, || flood::run(&flood, |_| {})).unwrap().unwrap();
    assert_eq!((report.sent.accepted, report.sent.refused), (5_000, 0));
    // Nobody listens: every SYN is answered by a reset, which proves the checksums and the way back.
    let counter = |side, iface: &str, name: &str| -> u64 {
        let path = format!("/sys/class/net/{iface}/statistics/{name}");
        let output = lab.command(side, "cat").arg(path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    };
    let received = counter(Side::Server, SERVER_IFACE, "rx_packets");
    assert!((5_000..=5_000 + LISTENER_REPORTS_MAX).contains(&received), "{received}");
    assert!(counter(Side::Server, SERVER_IFACE, "tx_packets") >= 4_900);
}

#[test]
fn a_flood_outside_a_lab_is_refused() {
    let flood = Flood {
        iface: "lo".into(),
        target: SERVER_V4.into(),
        delivery: Delivery::Host,
        dest_ports: vec![80],
        sources: Sources::Fixed(1),
        rate_pps: 1,
        duration: Duration::from_millis(1),
        seed: 1,
    };
    let refused = flood::run(&flood, |_| {}).unwrap_err();
    assert!(refused.to_string().contains("only leave inside a lab"), "{refused}");
}
