//! The table of everything that `cargo`'s stable toolchain and git do not bring along.
//!
//! Package names are those of Debian 12 and Ubuntu 24.04. A package that a release does not have is no error: the
//! steps that need it are skipped with the reason.

use std::path::Path;
use std::process::Command;

use crate::shell;

/// The version that goes with the toolchain's LLVM; the next ones need a newer Rust.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";
/// Where Debian puts LLVM 22.
pub(crate) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// What a need is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Compiling tidegauge. Nothing works without it.
    Build,
    /// Rebuilding the BPF object, or checking it.
    Ebpf,
    /// Network namespaces with traffic in them.
    Lab,
    /// Programs that make ordinary traffic, and much of it.
    Load,
    /// Programs whose speed is compared with ours.
    Peers,
    /// Tests: another opinion on captures, a browser for the page, the fuzzing engine's compiler, formatting and lints.
    Test,
}

impl Group {
    /// The group of a name on the command line.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "build" => Self::Build,
            "ebpf" => Self::Ebpf,
            "lab" => Self::Lab,
            "load" => Self::Load,
            "peers" => Self::Peers,
            "test" => Self::Test,
            _ => return None,
        })
    }
}

/// How to see that it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Present {
    /// `bpf-linker` of the right version.
    BpfLinker,
    /// A file.
    File(&'static str),
    /// A program.
    Program(&'static str),
    /// A directory below the toolchain's own.
    Sysroot(&'static str),
}

/// Where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `cargo install bpf-linker` with the flags that fit.
    BpfLinker,
    /// A package of the distribution.
    Package(&'static str),
    /// A component of the toolchain.
    RustComponent(&'static str),
}

/// One thing that must be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// What it is for.
    pub(crate) group: Group,
    /// How to see it.
    pub(crate) present: Present,
    /// How to get it.
    pub(crate) origin: Origin,
}

/// A package that brings a program.
const fn program(group: Group, package: &'static str, program: &'static str) -> Need {
    Need { group, present: Present::Program(program), origin: Origin::Package(package) }
}

/// A package that brings a file.
const fn file(group: Group, package: &'static str, file: &'static str) -> Need {
    Need { group, present: Present::File(file), origin: Origin::Package(package) }
}

/// A component of the toolchain.
const fn component(group: Group, component: &'static str, present: Present) -> Need {
    Need { group, present, origin: Origin::RustComponent(component) }
}

/// Everything, in the order of installation: bpf-linker needs what stands above it.
pub(crate) const NEEDS: &[Need] = &[
    program(Group::Build, "gcc", "cc"),
    file(Group::Build, "libc6-dev", "/usr/include/stdio.h"),
    file(Group::Build, "libpcap-dev", "/usr/include/pcap/pcap.h"),
    program(Group::Build, "pkg-config", "pkg-config"),
    program(Group::Lab, "ethtool", "ethtool"),
    program(Group::Lab, "iproute2", "ip"),
    program(Group::Lab, "tcpdump", "tcpdump"),
    program(Group::Test, "chromium", "chromium"),
    program(Group::Test, "g++", "c++"),
    program(Group::Test, "openssl", "openssl"),
    program(Group::Test, "prometheus-alertmanager", "prometheus-alertmanager"),
    program(Group::Test, "rsyslog", "rsyslogd"),
    program(Group::Test, "prometheus", "promtool"),
    program(Group::Test, "python3", "python3"),
    program(Group::Test, "nodejs", "node"),
    program(Group::Test, "npm", "npm"),
    program(Group::Test, "tshark", "tshark"),
    component(Group::Test, "clippy", Present::Program("cargo-clippy")),
    component(Group::Test, "rustfmt", Present::Program("cargo-fmt")),
    component(Group::Ebpf, "rust-src", Present::Sysroot("lib/rustlib/src/rust/library/core")),
    program(Group::Ebpf, "g++", "c++"),
    file(Group::Ebpf, "llvm-22", "/usr/lib/llvm-22/bin/llvm-objcopy"),
    file(Group::Ebpf, "llvm-22-dev", "/usr/lib/llvm-22/include/llvm-c/Core.h"),
    file(Group::Ebpf, "libpolly-22-dev", "/usr/lib/llvm-22/lib/libPolly.a"),
    Need { group: Group::Ebpf, present: Present::BpfLinker, origin: Origin::BpfLinker },
    program(Group::Load, "iperf3", "iperf3"),
    program(Group::Load, "iputils-ping", "ping"),
    program(Group::Load, "wget", "wget"),
    program(Group::Load, "wrk", "wrk"),
    program(Group::Peers, "argus-server", "argus"),
    program(Group::Peers, "bpftool", "bpftool"),
    program(Group::Peers, "fastnetmon", "fastnetmon"),
    program(Group::Peers, "softflowd", "softflowd"),
    program(Group::Peers, "tcptrace", "tcptrace"),
    program(Group::Peers, "tshark", "tshark"),
    program(Group::Peers, "xdp-tools", "xdp-filter"),
];

impl Need {
    /// Whether it is there.
    pub(crate) fn is_met(&self) -> bool {
        match self.present {
            Present::BpfLinker => bpf_linker_version().is_some_and(|version| version == BPF_LINKER_VERSION),
            Present::File(path) => Path::new(path).exists(),
            Present::Program(name) => shell::find_program(name).is_some(),
            Present::Sysroot(below) => sysroot().is_some_and(|sysroot| sysroot.join(below).exists()),
        }
    }
}

/// The version of the `bpf-linker` on the path.
pub(crate) fn bpf_linker_version() -> Option<String> {
    let version = shell::output(Command::new("bpf-linker").arg("--version")).ok()?;
    version.strip_prefix("bpf-linker ").map(str::to_owned)
}

/// The toolchain's directory.
pub(crate) fn sysroot() -> Option<std::path::PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    shell::output(Command::new(rustc).args(["--print", "sysroot"])).ok().map(Into::into)
}
