//! What is attached to an interface of a lab, asked of the kernel; and a BPF filesystem for one test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use tempfile::TempDir;
use tidegauge_tests::netns::{Lab, SERVER_IFACE, Side};

use crate::support::run;

/// The kernel frees the links of a dead process a moment after its death.
const RELEASE_MAX: Duration = Duration::from_secs(2);
/// A debug build on a busy machine takes its time to load the program.
const ATTACH_MAX: Duration = Duration::from_secs(20);

/// Programs by kind, as their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    pub(crate) xdp: Vec<u64>,
    pub(crate) tcx: Vec<u64>,
    /// TC filters on the way out, by name.
    pub(crate) filters: Vec<String>,
    /// Whether the clsact discipline is there.
    pub(crate) clsact: bool,
}

impl Hooks {
    /// Of the server's interface.
    pub(crate) fn of(lab: &Lab) -> Self {
        Self::of_interface(lab, SERVER_IFACE)
    }

    pub(crate) fn of_interface(lab: &Lab, interface: &str) -> Self {
        let ask = |program: &str, args: &[&str]| -> Value {
            let ran = run(lab.command(Side::Server, program).args(args));
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{program}: {error}: {ran:?}"))
        };
        let link = ask("ip", &["-d", "-j", "link", "show", "dev", interface]);
        let filters = ask("tc", &["-j", "filter", "show", "dev", interface, "egress"]);
        let disciplines = ask("tc", &["-j", "qdisc", "show", "dev", interface]);
        let query = || SchedClassifier::query_tcx(interface, TcAttachType::Egress);
        let (_, tcx) = lab.inside(Side::Server, query).unwrap().unwrap();
        let names = filters.as_array().unwrap().iter().filter_map(|f| f["options"]["bpf_name"].as_str());
        Self {
            xdp: link[0]["xdp"]["prog"]["id"].as_u64().into_iter().collect(),
            tcx: tcx.iter().map(|program| u64::from(program.id())).collect(),
            filters: names.map(str::to_owned).collect(),
            clsact: disciplines.as_array().unwrap().iter().any(|d| d["kind"] == "clsact"),
        }
    }

    pub(crate) fn none() -> Self {
        Self::default()
    }
}

/// Waits until nothing is attached any more.
pub(crate) fn wait_until_none(lab: &Lab) {
    let started = Instant::now();
    while Hooks::of(lab) != Hooks::none() {
        assert!(started.elapsed() < RELEASE_MAX, "{:?}", Hooks::of(lab));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a run is attached in both directions.
pub(crate) fn wait_until_attached(lab: &Lab) {
    let started = Instant::now();
    loop {
        let hooks = Hooks::of(lab);
        if !hooks.xdp.is_empty() && !hooks.tcx.is_empty() {
            return;
        }
        assert!(started.elapsed() < ATTACH_MAX, "{hooks:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A BPF filesystem that only the calling thread and the processes it starts can see, gone with them: `ip netns exec`
/// hides the host's, and a test has no business there.
pub(crate) struct BpfFs(TempDir);

impl BpfFs {
    /// Make the lab before: its namespaces must be mounted where everybody sees them.
    pub(crate) fn mounted() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).unwrap();
        let dir = TempDir::new().unwrap();
        mount(Some("bpf"), dir.path(), Some("bpf"), MsFlags::empty(), none).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where an interface's state is pinned.
    pub(crate) fn pins(&self) -> PathBuf {
        self.0.path().join("pins")
    }

    /// The option that asks for it.
    pub(crate) fn option(&self) -> String {
        format!("--pin={}", self.pins().display())
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        // The mount would keep the directory; the thread's own end does the rest.
        let _ = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// One test of this file's binary in a process of its own, for what cannot be undone in a process.
pub(crate) fn in_a_child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}
