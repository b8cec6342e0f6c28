//! What the host itself counts, beside the packets: a listener that does not accept is named by its port, and SYN cookies
//! are counted with the flood that they absorb.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tidegauge_tests::netns::{SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::lab_or_skip;

use crate::load::{Server, connect, flood};
use crate::running::{Live, alone};
use crate::support::incidents;
use crate::{CLOSING_MAX, server_port};

/// The kernel takes one connection more than the backlog says.
const BACKLOG: i32 = 1;
/// Two looks a second apart, and the start of the run.
const NAMED_MAX: Duration = Duration::from_secs(6);

#[test]
fn a_listener_that_does_not_accept_is_named_by_its_port() {
    let Some(lab) = lab_or_skip("a_listener_that_does_not_accept_is_named_by_its_port") else { return };
    let _alone = alone();
    let address: SocketAddr = (SERVER_V4, 8080).into();
    let _listener = lab
        .inside(Side::Server, || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&address.into()).unwrap();
            socket.listen(BACKLOG).unwrap();
            socket
        })
        .unwrap();
    for source in [&[SERVER_IFACE][..], &[SERVER_IFACE, "--source", "ring"]] {
        let mut live = Live::start(&lab, source);
        let clients = || -> Vec<_> {
            let patience = Duration::from_millis(300);
            (0..4).map(|_| TcpStream::connect_timeout(&address, patience)).collect()
        };
        let clients = lab.inside(Side::Client, clients).unwrap();
        live.wait_for(NAMED_MAX, |event| event["kind"] == "capacity");
        let ended = live.interrupt();
        let told = incidents(&ended.events, "capacity");
        assert_eq!(told[0]["target"]["port"], 8080, "{source:?}: {told:#?}");
        assert_eq!(told[0]["facts"]["backlog"], f64::from(BACKLOG));
        let last = told[told.len() - 1];
        assert!(last["cause"][0].as_str().is_some_and(|cause| cause.contains("port 8080")), "{last}");
        // Beside others' listeners in this namespace: there are none.
        let window = |event: &&Value| event["event"] == "window" && !event["host"].is_null();
        let window = ended.events.iter().rfind(window).expect("windows tell of the host");
        let queue = &window["host"]["accept_queues"][0];
        assert_eq!((&queue["port"], &queue["waiting"]), (&8080.into(), &2.into()), "{window}");
        assert!(ended.summary()["host"]["listen_overflows"].is_u64(), "{}", ended.summary()["host"]);
        drop(clients);
    }
}

#[test]
fn syn_cookies_are_counted_with_the_flood_that_they_absorb() {
    let Some(lab) = lab_or_skip("syn_cookies_are_counted_with_the_flood_that_they_absorb") else { return };
    let _alone = alone();
    let set = || std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "1");
    lab.inside(Side::Server, set).unwrap().unwrap();
    let _server = Server::start(&lab, server_port(80), &["echo-close"]);
    let mut live = Live::start(&lab, &[SERVER_IFACE]);
    std::thread::scope(|scope| {
        scope.spawn(|| connect(&lab, server_port(80), 200, "7s"));
        std::thread::sleep(Duration::from_secs(2));
        flood(&lab, server_port(80), 20_000, "3s")
    });
    live.wait_for(CLOSING_MAX, |event| event["kind"] == "syn_flood" && event["state"] == "closed");
    let ended = live.interrupt();
    assert!(incidents(&ended.events, "capacity").is_empty(), "{:#?}", incidents(&ended.events, "capacity"));
    let floods = incidents(&ended.events, "syn_flood");
    let closed = floods[floods.len() - 1];
    let sent = closed["host"]["syncookies_sent"].as_u64().expect("the host tells");
    assert!(sent > 10_000, "{}", closed["host"]);
    assert_eq!(closed["host"]["limits"]["tcp_syncookies"], 1);
    let causes = closed["cause"].to_string();
    assert!(causes.contains("absorbed by SYN cookies"), "{causes}");
    let all = ended.summary()["host"]["syncookies_sent"].as_u64().unwrap_or_default();
    assert!(all >= sent, "{}", ended.summary()["host"]);
}
