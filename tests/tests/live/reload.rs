//! SIGHUP: thresholds are read again, and a wrong file changes nothing.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tidegauge_tests::netns::SERVER_IFACE;
use tidegauge_tests::skip::lab_or_skip;

use crate::load::{Server, connect};
use crate::running::{Live, alone};
use crate::server_port;
use crate::support::incidents;

const PATIENCE: Duration = Duration::from_secs(5);

fn hang_up(live: &Live) {
    kill(Pid::from_raw(live.pid() as i32), Signal::SIGHUP).unwrap();
}

/// Both sources: they give rights up at different moments.
#[test]
fn a_hangup_reads_the_thresholds_again_and_a_wrong_file_changes_nothing() {
    let test = "a_hangup_reads_the_thresholds_again_and_a_wrong_file_changes_nothing";
    let Some(lab) = lab_or_skip(test) else { return };
    let _alone = alone();
    for source in ["xdp", "ring"] {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("thresholds.toml");
        // Nothing is a surge.
        fs::write(&file, "conn_rate_limit_per_s = 1e9\nconn_rise_floor_per_s = 1e9\n").unwrap();
        let _server = Server::start(&lab, server_port(80), &["echo-close"]);
        let arguments = [SERVER_IFACE, "--source", source, "--config", file.to_str().unwrap()];
        let mut live = Live::start(&lab, &arguments);
        connect(&lab, server_port(80), 400, "2s");
        fs::write(&file, "conn_rate_limit_per_s = many").unwrap();
        hang_up(&live);
        live.wait_for(PATIENCE, |event| event["event"] == "config" && event["state"] == "kept");
        // As editors do it: another file under the same name.
        let new = directory.path().join("new");
        fs::write(&new, "conn_rate_limit_per_s = 100").unwrap();
        fs::rename(&new, &file).unwrap();
        hang_up(&live);
        live.wait_for(PATIENCE, |event| event["event"] == "config" && event["state"] == "reloaded");
        connect(&lab, server_port(80), 400, "2s");
        let ended = live.interrupt();
        let opened: Vec<_> = incidents(&ended.events, "conn_surge")
            .into_iter()
            .filter(|incident| incident["state"] == "opened")
            .collect();
        assert_eq!(opened.len(), 1, "{source}: {:#?}", ended.events);
        assert_eq!(opened[0]["limit"], 100.0, "{source}");
        let why = ended.events.iter().find(|event| event["state"] == "kept").unwrap();
        assert!(why["why"].as_str().unwrap().contains("line 1"), "{why}");
    }
}
