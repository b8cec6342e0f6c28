//! Rights: with which a run works, which it names when they are missing, and that none is left once it runs.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegauge_capture::confine::{Confined, Needs, confine};
use tidegauge_capture::interface::Interface;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::skip::{lab_or_skip, root_or_skip, skip};

use crate::hooks::{Hooks, in_a_child, wait_until_none};
use crate::load::{Server, connect, connect_from};
use crate::running::{Live, alone};
use crate::support::{Ran, events, run, tidegauge};

/// A user without any right.
const NOBODY: &str = "65534";
/// Where a confined child tries to write.
const DIR_VARIABLE: &str = "TIDEGAUGE_TEST_DIR";
/// Below it, where that child may rename files.
const NAMING: &str = "naming";
const PATIENCE: Duration = Duration::from_secs(15);
const FOR_XDP: [&str; 3] = ["bpf", "net_admin", "perfmon"];

/// The program where anybody may run it: the build directory may be out of reach for others.
struct Anybodys(#[expect(dead_code, reason = "removed when it goes")] TempDir, PathBuf);

impl Anybodys {
    fn copied() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("tidegauge");
        fs::copy(tidegauge(), &program).unwrap();
        Self(dir, program)
    }

    /// A live run by nobody with these capabilities and no other.
    fn live(&self, lab: &Lab, capabilities: &[&str], args: &[&str]) -> Command {
        let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        let mut command = lab.command(Side::Server, "setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        for kind in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
            command.arg(format!("{kind}=-all{set}"));
        }
        command.arg(&self.1).args(["live", "--json"]).args(args);
        command
    }
}

fn has_setpriv(test: &str) -> bool {
    let has = Command::new("setpriv").arg("--version").output().is_ok();
    if !has {
        skip(test, "needs setpriv (Debian package util-linux)");
    }
    has
}

/// Fields of a process's status that tell of its rights.
fn status(pid: u32) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn assert_no_rights(pid: u32, bounding_is_dropped: bool) {
    let status = status(pid);
    let field = |wanted: &str| {
        status.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}: {status:?}");
    }
    assert_eq!(field("CapBnd") == "0000000000000000", bounding_is_dropped, "{status:?}");
    // Mode 2 is a filter.
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"), "{status:?}");
}

/// What a kernel with all of it says; an older one has its reasons in brackets.
fn assert_confined(source: &Value) {
    let confined = &source["source"]["confined"];
    assert_eq!((&confined["capabilities"], &confined["seccomp"]), (&json!("dropped"), &json!("on")));
    let landlock = confined["landlock"].as_str().unwrap();
    assert!(landlock.starts_with("abi ") || landlock.starts_with("none ("), "{landlock}");
}

#[test]
fn three_capabilities_are_enough_and_none_is_left() {
    let test = "three_capabilities_are_enough_and_none_is_left";
    let Some(lab) = lab_or_skip(test) else { return };
    if !has_setpriv(test) {
        return;
    }
    let _alone = alone();
    let program = Anybodys::copied();
    let _server = Server::start(&lab, (SERVER_V4, 80).into(), &["echo-close"]);
    let mut live = Live::spawn(&mut program.live(&lab, &FOR_XDP, &[SERVER_IFACE]));
    live.wait_for(PATIENCE, |event| event["event"] == "source");
    // Dropping from the bounding set is itself a right that it did not have.
    assert_no_rights(live.pid(), false);
    let counts = connect(&lab, (SERVER_V4, 80).into(), 100, "2s");
    let ended = live.interrupt();
    assert_confined(&ended.events[0]);
    assert_eq!(ended.summary()["handshake"]["completed"], counts["completed"]);
    wait_until_none(&lab);
}

#[test]
fn each_missing_capability_is_named() {
    let test = "each_missing_capability_is_named";
    let Some(lab) = lab_or_skip(test) else { return };
    if !has_setpriv(test) {
        return;
    }
    let program = Anybodys::copied();
    let refused = |capabilities: &[&str], args: &[&str]| {
        let ran = run(&mut program.live(&lab, capabilities, args));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        ran.stderr
    };
    for missing in FOR_XDP {
        let rest: Vec<&str> = FOR_XDP.into_iter().filter(|name| *name != missing).collect();
        let said = refused(&rest, &[SERVER_IFACE]);
        assert!(said.contains(&format!("CAP_{} missing", missing.to_uppercase())), "{said}");
    }
    let said = refused(&[], &[SERVER_IFACE]);
    assert!(said.contains("CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON missing"), "{said}");
    let said = refused(&FOR_XDP, &[SERVER_IFACE, "--source", "ring"]);
    assert!(said.contains("CAP_NET_RAW"), "{said}");
    assert_eq!(Hooks::of(&lab), Hooks::none());
}

#[test]
fn one_capability_is_enough_for_the_ring() {
    let test = "one_capability_is_enough_for_the_ring";
    let Some(lab) = lab_or_skip(test) else { return };
    if !has_setpriv(test) {
        return;
    }
    let _alone = alone();
    let program = Anybodys::copied();
    let _server = Server::start(&lab, (SERVER_V4, 80).into(), &["echo-close"]);
    let mut live = Live::spawn(&mut program.live(&lab, &["net_raw"], &[SERVER_IFACE, "--source", "ring"]));
    live.wait_for(PATIENCE, |event| event["event"] == "source");
    assert_no_rights(live.pid(), false);
    let counts = connect(&lab, (SERVER_V4, 80).into(), 100, "2s");
    // The ring hands over in blocks.
    std::thread::sleep(Duration::from_millis(300));
    let ended = live.interrupt();
    assert_confined(&ended.events[0]);
    assert_eq!(ended.summary()["handshake"]["completed"], counts["completed"]);
}

#[test]
fn root_gives_up_the_same_unless_asked_not_to() {
    let Some(lab) = lab_or_skip("root_gives_up_the_same_unless_asked_not_to") else { return };
    let _alone = alone();
    for source in ["xdp", "ring"] {
        let live = Live::start(&lab, &[SERVER_IFACE, "--source", source]);
        assert_no_rights(live.pid(), true);
        // The end of the interface is seen by a look at it each second: still possible.
        connect_from(&lab, Side::Server, (SERVER_V4, 81).into(), 10, "1s");
        assert_confined(&live.interrupt().events[0]);
    }
    wait_until_none(&lab);
    let ended = Live::start(&lab, &[SERVER_IFACE, "--no-confine"]).interrupt();
    let confined = &ended.events[0]["source"]["confined"];
    assert_eq!(confined["capabilities"], "kept (--no-confine)", "{confined}");
}

#[test]
fn a_reader_of_files_gives_up_the_same() {
    if !root_or_skip("a_reader_of_files_gives_up_the_same") {
        return;
    }
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay/ordinary.pcap");
    let bytes = fs::read(capture).unwrap();
    let mut command = Command::new(tidegauge());
    command.args(["read", "--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Enough to be opened and begun; then it waits for the rest.
    let (begin, rest) = bytes.split_at(bytes.len() / 2);
    stdin.write_all(begin).unwrap();
    let confined = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        status(child.id()).iter().any(|(name, value)| name == "Seccomp" && value == "2")
    });
    assert!(confined);
    assert_no_rights(child.id(), true);
    stdin.write_all(rest).unwrap();
    drop(stdin);
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let unconfined = run(Command::new(tidegauge()).args(["read", "--json", "--no-confine", "-"]).stdin(
        fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/replay/ordinary.pcap")).unwrap(),
    ));
    assert_eq!(events(&ran.stdout), events(&unconfined.stdout), "the same numbers");
}

#[test]
fn nothing_can_be_written_run_or_reached_afterwards() {
    if !root_or_skip("nothing_can_be_written_run_or_reached_afterwards") {
        return;
    }
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "text").unwrap();
    fs::create_dir(dir.path().join(NAMING)).unwrap();
    fs::write(dir.path().join(NAMING).join("unfinished"), "text").unwrap();
    let ran = run(in_a_child("confine::what_is_left").env(DIR_VARIABLE, dir.path()));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = ran.stdout.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{ran:?}"));
    let found: Value = serde_json::from_str(line).unwrap();
    println!("{found:#}");
    for (what, possible) in found["possible"].as_object().unwrap() {
        assert_eq!(*possible, json!(what.starts_with("may ")), "{what}");
    }
    // The test harness has a thread of its own, whose capabilities nobody else can take; the rest reaches it.
    let capabilities = found["capabilities"].as_str().unwrap();
    assert_eq!(capabilities, "dropped; 1 threads that ran before keep theirs");
    assert_eq!(found["main_seccomp"], "2");
}

/// Run by the test above in a process of its own: confined, it tries what it should and should not be able to do.
#[test]
#[ignore = "for a process of its own: it cannot be undone"]
fn what_is_left() {
    let dir = PathBuf::from(std::env::var_os(DIR_VARIABLE).unwrap());
    let file = dir.join("file");
    let naming = dir.join(NAMING);
    let needs = Needs { keep: None, host: true, rename_in: &[&naming], ..Needs::default() };
    let Confined { capabilities, landlock, seccomp } = confine(needs);
    let landlocked = landlock.starts_with("abi ");
    let new_thread =
        std::thread::spawn(|| vec![1_u8; 64 << 20].iter().map(|byte| u64::from(*byte)).sum::<u64>());
    let possible = json!({
        "may start threads and take memory": new_thread.join().unwrap() == 64 << 20,
        "may read about itself": fs::read_to_string("/proc/self/status").is_ok(),
        "may read network statistics": fs::read_to_string("/proc/net/dev").is_ok(),
        "may read interface statistics": fs::read_to_string("/sys/class/net/lo/statistics/rx_bytes").is_ok(),
        "may look up an interface": Interface::open("lo").is_ok(),
        "may read its own threads": fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() >= 2),
        "write a new file": fs::write(dir.join("new"), "text").is_ok(),
        "write an old file": fs::write(&file, "text").is_ok(),
        "append to a file": fs::OpenOptions::new().append(true).open(&file).is_ok(),
        "write in sysfs": fs::OpenOptions::new().write(true).open("/sys/class/net/lo/tx_queue_len").is_ok(),
        "remove a file": fs::remove_file(&file).is_ok(),
        "make a directory": fs::create_dir(dir.join("new")).is_ok(),
        // Reading other files is for Landlock alone to forbid.
        "read another file": landlocked && fs::read(&file).is_ok(),
        "may give a file its name": fs::rename(naming.join("unfinished"), naming.join("whole")).is_ok(),
        // Where files may be renamed is for Landlock alone to say.
        "give another file a name": landlocked && fs::rename(&file, dir.join("other")).is_ok(),
        "take a file away": landlocked && fs::rename(&file, naming.join("other")).is_ok(),
        "make a file beside those with names": fs::write(naming.join("new"), "text").is_ok(),
        "remove one of them": fs::remove_file(naming.join("whole")).is_ok(),
        "run a program": Command::new("/bin/true").status().is_ok(),
        "connect": TcpStream::connect("127.0.0.1:9").err().is_none_or(|error| error.raw_os_error() != Some(1)),
        "open a datagram socket": std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        "open a BPF program": aya::programs::loaded_programs().next().is_some_and(|program| program.is_ok()),
        "kill a process": nix::sys::signal::kill(nix::unistd::getppid(), None).is_ok(),
    });
    // The other thread's, by its account.
    let main = status(std::process::id());
    let main_seccomp = main.iter().find(|(name, _)| name == "Seccomp").map(|(_, value)| value.clone());
    let found = json!({
        "possible": possible, "capabilities": capabilities, "landlock": landlock, "seccomp": seccomp,
        "main_seccomp": main_seccomp,
    });
    // On a line of its own, whatever the harness has printed before.
    println!("\n{found}");
}
