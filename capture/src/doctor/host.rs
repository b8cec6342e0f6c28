//! The host: the kernel's features, our rights, what the sources need.

use std::fs;
use std::path::Path;
use std::time::Instant;

use aya::TestRun;
use aya::programs::{SchedClassifier, TcAttachType, TestRunOptions};
use rustix::fs::statfs;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;

use super::{Check, State, host_check, libpcap};
use crate::confine::capability::{Right, missing, names};
use crate::confine::{landlock_abi, seccomp_is_there};
use crate::nic::softnet::{Backlog, backlogs};
use crate::xdp::XdpError;
use crate::xdp::object::{Object, Settings};
use crate::xdp::pin::DEFAULT_ROOT;
use crate::xdp::stats::measure;

/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS: u64 = 0xcafe_4a11;
/// The shortest frame, of zeros, and what the program says to any.
const FRAME: [u8; 60] = [0; 60];
const XDP_PASS: u32 = 2;
/// Share of frames above which backlogs are too small: fewer may be of one bad moment long ago.
const DROPPED_SHARE_MAX: f64 = 1e-4;
/// Clock sources that are read without leaving the CPU.
const FAST_CLOCKS: [&str; 5] =
    ["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "riscv_clocksource"];

/// Whether XDP and packet rings work.
pub(super) fn examine(checks: &mut Vec<Check>) -> (bool, bool) {
    checks.push(kernel());
    checks.push(rights());
    let (program, translated) = program();
    let ring = ring();
    let works = (program.state != State::Missing, ring.state != State::Missing);
    checks.extend([
        program,
        egress(),
        ring,
        af_xdp(),
        btf(),
        jit(translated),
        unprivileged(),
        memlock(),
        statistics(),
        pins(),
    ]);
    checks.extend([confinement(), libpcap_version(), clock(), cpus(), backlog()]);
    works
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Check {
    let name = uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    host_check("kernel", "what it can do is tried below, not read from its version").ok(format!(
        "{} {} {}",
        text(name.sysname()),
        text(name.release()),
        text(name.machine())
    ))
}

fn rights() -> Check {
    let check = host_check(
        "rights",
        "loading programs and opening rings needs them; they are dropped once all is open",
    );
    let lacking = missing(&[&Right::FOR_BPF[..], &Right::FOR_RING].concat());
    let grant =
        "run as root, or setcap cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep $(command -v tidegauge)";
    if lacking.is_empty() {
        let who = if rustix::process::geteuid().is_root() { "root" } else { "not root, by capabilities" };
        return check.ok(format!("all there ({who})"));
    }
    check.limits(format!("{} missing", names(&lacking)), grant)
}

/// Loads our own program: map creation, memory mapping, the verifier, both program types in one. Also, whether it was
/// translated to machine code, where that is told.
fn program() -> (Check, Option<bool>) {
    let check = host_check("bpf program", "the default source counts in the kernel: its program must load");
    let started = Instant::now();
    match Object::load(&Settings::with_seed(0)) {
        Ok(mut object) => {
            let (took_ms, map_mib) = (started.elapsed().as_millis(), object.maps().memory_bytes() >> 20);
            let info = object.ingress().ok().and_then(|program| program.info().ok());
            let ran = ran(&mut object);
            let found = format!("loads in {took_ms} ms, maps take {map_mib} MiB, {ran}");
            (check.ok(found), info.map(|info| info.size_jitted() != 0))
        }
        Err(error @ XdpError::NotPermitted { .. }) => {
            (check.missing(error.to_string(), "run as root, or grant the capabilities above"), None)
        }
        Err(error) => {
            (check.missing(error.to_string(), "use `--source ring`, or a kernel from 5.15 on"), None)
        }
    }
}

/// One frame through the XDP program, on no interface (`BPF_PROG_TEST_RUN`).
fn ran(object: &mut Object) -> String {
    let Ok(program) = object.ingress() else { return "not run".to_owned() };
    match program.test_run(TestRunOptions { data_in: Some(&FRAME), ..TestRunOptions::new() }) {
        Ok(result) if result.return_value == XDP_PASS => "passes a frame on".to_owned(),
        Ok(result) => format!("gives {} for a frame", result.return_value),
        Err(error) => format!("not run: {error}"),
    }
}

fn egress() -> Check {
    let check = host_check(
        "egress hook",
        "outgoing frames are counted by TCX (Linux 6.6), else by clsact, which a crash leaves",
    );
    match SchedClassifier::query_tcx("lo", TcAttachType::Egress) {
        Ok(_) => check.ok("TCX"),
        Err(_) if !missing(&Right::FOR_BPF).is_empty() => check.unasked(
            "asking needs CAP_BPF and CAP_NET_ADMIN",
            "run as root, or grant the capabilities above",
        ),
        Err(error) => check
            .limits(format!("clsact ({error})"), "a kernel from 6.6 on has TCX; clsact serves until then"),
    }
}

fn ring() -> Check {
    let check = host_check("packet ring", "the source where XDP is not to be had, and for --filter");
    match socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None) {
        Ok(_) => check.ok("sockets can be opened"),
        Err(error) => check.missing(format!("AF_PACKET: {error}"), "run as root, or grant CAP_NET_RAW"),
    }
}

fn af_xdp() -> Check {
    let check = host_check("af_xdp", "mirror ports are read past the stack by it");
    match socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None) {
        Ok(_) => check.ok("sockets can be opened"),
        Err(error) => {
            let mend = "run as root, or grant CAP_NET_RAW; else the kernel lacks CONFIG_XDP_SOCKETS: use --source ring";
            check.limits(format!("AF_XDP: {error}"), mend)
        }
    }
}

fn btf() -> Check {
    let check =
        host_check("kernel BTF", "not needed: the program reads no kernel structure; other BPF tools do");
    let found = if Path::new("/sys/kernel/btf/vmlinux").exists() { "there" } else { "not there" };
    check.ok(found)
}

fn jit(translated: Option<bool>) -> Check {
    let check = host_check("BPF JIT", "interpreted, the program takes ten times as long for each packet");
    let setting = read("/proc/sys/net/core/bpf_jit_enable").map(|setting| setting != "0");
    match translated.or(setting) {
        Some(false) => check.limits("off", "sysctl -w net.core.bpf_jit_enable=1"),
        Some(true) => check.ok("on"),
        None => check.unknown("/proc/sys/net/core/bpf_jit_enable cannot be read"),
    }
}

fn unprivileged() -> Check {
    let check = host_check("unprivileged BPF", "nothing to us: XDP and TC programs need capabilities anyway");
    match read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref() {
        Some("0") => check.ok("allowed"),
        Some("1") => check.ok("forbidden until the next boot"),
        Some(_) => check.ok("forbidden"),
        None => check.unknown("/proc/sys/kernel/unprivileged_bpf_disabled cannot be read"),
    }
}

fn memlock() -> Check {
    let check = host_check(
        "memlock",
        "before Linux 5.11 maps count as locked memory; later only the program's loading decides",
    );
    let limit = getrlimit(Resource::Memlock).current;
    check.ok(limit.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{} KiB", bytes >> 10)))
}

fn statistics() -> Check {
    let check = host_check("run-time statistics", "what our programs cost per packet (--cost)");
    match measure() {
        Ok(_) => check.ok("the kernel measures"),
        Err(why) => {
            check.limits(why, "CAP_SYS_ADMIN beside the others, or `sysctl -w kernel.bpf_stats_enabled=1`")
        }
    }
}

fn pins() -> Check {
    let check = host_check("BPF filesystem", "--pin keeps programs and tables there between runs");
    match statfs("/sys/fs/bpf") {
        Ok(found) if found.f_type as u64 == BPF_FS => {
            check.ok(format!("/sys/fs/bpf (pins in {DEFAULT_ROOT})"))
        }
        _ => check.limits("none at /sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf"),
    }
}

fn confinement() -> Check {
    let check = host_check(
        "confinement",
        "a running tidegauge can open and change nothing: Landlock and seccomp see to it",
    );
    match (landlock_abi(), seccomp_is_there()) {
        (Some(abi), true) => check.ok(format!("Landlock ABI {abi}, seccomp")),
        (None, true) => check.limits("seccomp, no Landlock", "add landlock to the `lsm=` parameter at boot"),
        (abi, false) => {
            let landlock = abi.map_or("no Landlock".to_owned(), |abi| format!("Landlock ABI {abi}"));
            check.limits(format!("{landlock}, no seccomp"), "a kernel with CONFIG_SECCOMP_FILTER")
        }
    }
}

fn libpcap_version() -> Check {
    host_check("libpcap", "packet rings and filters; rings want TPACKET_V3").ok(libpcap::version())
}

fn clock() -> Check {
    let check = host_check("clock source", "a slow one makes every precise time stamp cost a microsecond");
    match read("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        Some(clock) if FAST_CLOCKS.contains(&clock.as_str()) => check.ok(clock),
        Some(clock) => {
            let mend = "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource";
            check.limits(clock, mend)
        }
        None => check.unknown("sysfs does not tell"),
    }
}

fn cpus() -> Check {
    let check = host_check("CPUs", "counters have a section for each CPU that the kernel may ever have");
    let online = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    match aya::util::nr_cpus() {
        Ok(possible) => check.ok(format!("{online} for us, {possible} possible")),
        Err((file, error)) => check.unknown(format!("{file}: {error}")),
    }
}

fn backlog() -> Check {
    let check = host_check(
        "CPU backlogs",
        "frames lost there do not come to rings and generic XDP; of all interfaces, since boot",
    );
    let backlogs = match backlogs() {
        Ok(backlogs) => backlogs,
        Err(error) => return check.unknown(format!("/proc/net/softnet_stat: {error}")),
    };
    let sum = |field: fn(&Backlog) -> u32| backlogs.values().map(|backlog| u64::from(field(backlog))).sum();
    let (processed, dropped, squeezed): (u64, u64, u64) =
        (sum(|backlog| backlog.processed), sum(|backlog| backlog.dropped), sum(|backlog| backlog.squeezed));
    let found = format!("{dropped} of {processed} frames lost, out of time {squeezed} times");
    if dropped as f64 > processed as f64 * DROPPED_SHARE_MAX {
        let mend = "sysctl -w net.core.netdev_max_backlog=10000";
        return check.limits(found, mend);
    }
    check.ok(found)
}
