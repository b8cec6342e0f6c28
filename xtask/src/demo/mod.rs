//! `cargo xtask demo`: real traffic, a spoofed SYN flood in the middle of it, and what tidegauge says about it.
//!
//! As root it plays in two network namespaces that it makes and removes itself, also after Ctrl-C; what a crash left
//! behind is removed by the next run. Otherwise it replays `tests/data/demo.pcap`, which `--record` recorded this way.
//! Nothing leaves the machine, and no interface of the machine is touched.

mod stage;
mod story;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::setup::{self, Group};
use crate::{Verdict, shell};
use stage::{Interrupt, Side, Stage};
use story::{Listener, Story};

const TARGET: &str = "10.77.0.2:80";
const SERVER_IFACE: &str = "vb";
const CALM: Duration = Duration::from_secs(5);
const CLIENTS_PER_S: u32 = 200;
const FLOOD_PPS: u32 = 20_000;
const FLOOD_S: u32 = 6;
/// Longest that an incident may stay open after the flood.
const CLOSE_MAX: Duration = Duration::from_secs(30);
const START_MAX: Duration = Duration::from_secs(10);
const SNAPLEN_BYTES: u32 = 96;
const CLIENTS_LOG: &str = "clients.jsonl";
const FLOOD_LOG: &str = "flood.jsonl";
const SERVER_LOG: &str = "server.jsonl";
/// Keeps the evidence below about 25 MB.
const EVIDENCE_PACKETS_MAX: u32 = 250_000;

/// The recording is cut to what a repository should carry.
const RECORD_BYTES_MAX: u64 = 1_500_000;
const RECORD_PACKETS_MAX: u32 = 50_000;
const RECORD_CLIENTS_PER_S: u32 = 50;
const RECORD_FLOOD_PPS: u32 = 2_500;
const RECORD_FLOOD_S: u32 = 2;
const RECORD_CALM: Duration = Duration::from_secs(3);
const RECORD_AFTER: Duration = Duration::from_secs(5);

/// What stays when the demo is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The namespaces, to look around in.
    Lab,
    /// Only the evidence.
    Nothing,
}

/// Plays the demo, or replays it.
pub(crate) fn run(leave: Leave) -> Result<Verdict> {
    let started = Instant::now();
    if !shell::is_root() {
        setup::ensure(&[Group::Build])?;
        build()?;
        return replay("network namespaces and XDP need root");
    }
    let lacking = setup::ensure(&[Group::Build, Group::Lab])?;
    build()?;
    if let Some(why) = lacking.why_without("iproute2") {
        return replay(&why);
    }
    let interrupt = Interrupt::new()?;
    let stage = match Stage::up(leave, interrupt) {
        Ok(stage) => stage,
        Err(error) => return replay(&format!("no network namespaces here: {error:#}")),
    };
    let verdict = play(stage)?;
    println!("\ndemo: done in {:.0} s", started.elapsed().as_secs_f64());
    Ok(verdict)
}

fn build() -> Result<()> {
    shell::headline("demo: build (release)");
    shell::run(&mut shell::cargo(["build", "--release", "--bin", "tidegauge", "--bin", "traffic"]))
}

/// The whole play, on a stage that is cleared when this returns.
fn play(mut stage: Stage) -> Result<Verdict> {
    let evidence = new_evidence_directory()?;
    shell::headline(&format!("demo: a server, {CLIENTS_PER_S} clients/s, and tidegauge on {SERVER_IFACE}"));
    stage.serve(TARGET, &evidence.join(SERVER_LOG))?;
    let capture = evidence.join("demo.pcap");
    let recording = record_to(&mut stage, &capture, EVIDENCE_PACKETS_MAX)?;

    let mut tidegauge = stage.command(Side::Server, shell::release_binary("tidegauge"));
    tidegauge.args(["live", SERVER_IFACE, "--json"]).stdout(Stdio::piped());
    let watched = stage.start("tidegauge", &mut tidegauge)?;
    let output = stage.stdout_of(watched).context("take tidegauge's output")?;
    let mut listener = Listener::new(output, &evidence.join("events.jsonl"))?;
    let mut story = Story::new();
    let has_source = listener.listen(&mut story, &stage, START_MAX, Story::has_source)?;
    ensure!(has_source, "tidegauge did not say within {START_MAX:?} which source it uses");

    connect(&mut stage, CLIENTS_PER_S, &evidence)?;
    story.say(&format!("calm for {} s", CALM.as_secs()));
    listener.listen(&mut story, &stage, CALM, |_| false)?;
    let calm_incidents = story.opened();

    story.say(&format!("FLOOD: {FLOOD_PPS} spoofed SYNs per second for {FLOOD_S} s"));
    let flood = start_flood(&mut stage, FLOOD_PPS, FLOOD_S, &evidence)?;
    listener.listen(&mut story, &stage, Duration::from_secs(FLOOD_S.into()), |_| false)?;
    stage.wait(flood)?;
    story.say("the flood is over");
    listener.listen(&mut story, &stage, CLOSE_MAX, Story::all_closed)?;

    stage.stop(watched)?;
    listener.listen(&mut story, &stage, START_MAX, Story::has_summary)?;
    drop(stage);

    report(&story, &evidence)?;
    println!("\nevidence: {}", evidence.display());
    println!("  events.jsonl   what tidegauge said");
    if recording {
        println!("  demo.pcap      the packets: tidegauge read {}", capture.display());
    }
    println!("  {SERVER_LOG}, {CLIENTS_LOG}, {FLOOD_LOG}   what the other side did");
    Ok(judge(&story, calm_incidents))
}

/// Says what was sent, how soon the incident was opened, and how the real clients fared.
fn report(story: &Story, evidence: &Path) -> Result<()> {
    println!();
    let flood = lines(&evidence.join(FLOOD_LOG))?;
    if let Some(sent) = flood.last().filter(|line| line["sent"].is_u64()) {
        println!("flood: {} SYNs sent, {} per second", sent["sent"], sent["achieved_pps"]);
    }
    if let Some(clients) = lines(&evidence.join(CLIENTS_LOG))?.last() {
        println!("clients: {} connections, {} completed", clients["attempted"], clients["completed"]);
    }
    let first_ns = flood.first().and_then(|line| line["first_packet_ns"].as_u64());
    if let (Some(first_ns), Some(opened_ns)) = (first_ns, story.flood_opened_ns()) {
        let took_ms = opened_ns.saturating_sub(first_ns) / 1_000_000;
        println!("syn_flood opened on stdout {took_ms} ms after the flood's first packet");
    }
    Ok(())
}

/// The JSON lines of a log.
fn lines(log: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn judge(story: &Story, calm_incidents: usize) -> Verdict {
    let mut wrong = Vec::new();
    if calm_incidents > 0 {
        wrong.push("an incident was opened before the flood began");
    }
    if story.flood_opened_ns().is_none() {
        wrong.push("no syn_flood incident was opened");
    } else if !story.all_closed() {
        wrong.push("an incident was still open at the end");
    }
    if !story.has_summary() {
        wrong.push("tidegauge ended without its summary");
    }
    for what in &wrong {
        println!("demo: WRONG: {what}");
    }
    if wrong.is_empty() { Verdict::Fine } else { Verdict::Wrong }
}

/// Reads the recorded capture instead of playing.
fn replay(why: &str) -> Result<Verdict> {
    let capture = recorded_capture();
    shell::headline(&format!("demo: replaying {} instead of real traffic: {why}", capture.display()));
    ensure!(
        capture.exists(),
        "there is no {}; as root, `cargo xtask demo --record` records it",
        capture.display()
    );
    let evidence = new_evidence_directory()?;
    let mut tidegauge = Command::new(shell::release_binary("tidegauge"));
    tidegauge.args(["read", "--json"]).arg(&capture).stdout(Stdio::piped());
    let mut child = tidegauge.spawn().context("start tidegauge")?;
    let output = child.stdout.take().context("take tidegauge's output")?;
    let mut story = Story::new();
    Listener::new(output, &evidence.join("events.jsonl"))?.listen_to_end(&mut story)?;
    let status = child.wait().context("wait for tidegauge")?;
    ensure!(status.success(), "tidegauge read ended with {status}");
    println!("\nevidence: {}", evidence.display());
    Ok(judge(&story, 0))
}

/// Records the capture that the demo replays where it may not play.
pub(crate) fn record() -> Result<Verdict> {
    ensure!(shell::is_root(), "recording needs root");
    let lacking = setup::ensure(&[Group::Build, Group::Lab])?;
    if let Some(why) = lacking.why(Group::Lab) {
        anyhow::bail!("cannot record: {why}");
    }
    shell::run(&mut shell::cargo(["build", "--release", "--bin", "traffic"]))?;
    let mut stage = Stage::up(Leave::Nothing, Interrupt::new()?)?;
    let logs = new_evidence_directory()?;
    let capture = recorded_capture();
    fs::create_dir_all(capture.parent().unwrap_or(&capture)).context("make tests/data")?;
    stage.serve(TARGET, &logs.join(SERVER_LOG))?;
    ensure!(record_to(&mut stage, &capture, RECORD_PACKETS_MAX)?, "recording needs tcpdump");
    connect(&mut stage, RECORD_CLIENTS_PER_S, &logs)?;
    println!(
        "demo: recording {} s of calm, {RECORD_FLOOD_S} s of flood, and {} s after it",
        RECORD_CALM.as_secs(),
        RECORD_AFTER.as_secs()
    );
    stage.sleep(RECORD_CALM)?;
    let flood = start_flood(&mut stage, RECORD_FLOOD_PPS, RECORD_FLOOD_S, &logs)?;
    stage.wait(flood)?;
    stage.sleep(RECORD_AFTER)?;
    drop(stage);
    let bytes = fs::metadata(&capture).context("look at the recording")?.len();
    println!("demo: recorded {} ({bytes} bytes)", capture.display());
    if bytes > RECORD_BYTES_MAX {
        println!("demo: WRONG: more than {RECORD_BYTES_MAX} bytes");
        return Ok(Verdict::Wrong);
    }
    Ok(Verdict::Fine)
}

/// Starts tcpdump on the server's interface. Without tcpdump there is no capture, which is said and no error.
fn record_to(stage: &mut Stage, capture: &Path, packets_max: u32) -> Result<bool> {
    let Some(tcpdump) = shell::find_program("tcpdump") else {
        println!("demo: no tcpdump here, so no capture among the evidence");
        return Ok(false);
    };
    let mut command = stage.command(Side::Server, tcpdump);
    // It would give up root for a user who cannot write here.
    command.args(["-Z", "root", "-n", "-i", SERVER_IFACE, "-s", &SNAPLEN_BYTES.to_string()]);
    command.args(["-c", &packets_max.to_string(), "-w"]).arg(capture);
    stage.start_when_it_says("tcpdump", &mut command, "listening on")?;
    Ok(true)
}

/// Starts the clients. They go on until the stage is cleared.
fn connect(stage: &mut Stage, per_s: u32, logs: &Path) -> Result<()> {
    let mut command = stage.traffic(Side::Client);
    command.args(["connect", "--target", TARGET, "--duration", "10m", "--rate", &per_s.to_string()]);
    stage.start("clients", command.stdout(stage::log(&logs.join(CLIENTS_LOG))?))?;
    Ok(())
}

fn start_flood(stage: &mut Stage, pps: u32, seconds: u32, logs: &Path) -> Result<stage::Actor> {
    let mut command = stage.traffic(Side::Client);
    command.args(["flood", "--target", TARGET, "--rate", &pps.to_string()]);
    command.args(["--duration", &format!("{seconds}s")]);
    stage.start("flood", command.stdout(stage::log(&logs.join(FLOOD_LOG))?))
}

fn recorded_capture() -> PathBuf {
    shell::root().join("tests/data/demo.pcap")
}

/// `evidence/demo-<n>` with the next free number.
fn new_evidence_directory() -> Result<PathBuf> {
    let directory = (1..u32::MAX)
        .map(|number| shell::root().join(format!("evidence/demo-{number}")))
        .find(|directory| !directory.exists())
        .context("all numbers for evidence are taken")?;
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    Ok(directory)
}
