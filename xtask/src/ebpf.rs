//! `cargo xtask ebpf`: the BPF objects that `tidegauge` embeds, rebuilt or checked.
//!
//! The object is committed, so that `cargo build` needs no BPF toolchain. It is byte for byte the same from any
//! directory: every path that rustc would write into it is mapped to a fixed one. Another rustc or LLVM gives other
//! bytes, so `BUILT_WITH` beside it says who built it, and a check by another builder is skipped, loudly.
//! One thing the mapping cannot fix: LLVM writes forward declarations in BTF in the order of their addresses in its own
//! memory. The program must not refer to two types that are only declared (the bindings' `__sk_buff` does).
//!
//! `aya-build` is not used: it overwrites the flags that matter (one of them halves the cost of the parser).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, BPF_LINKER_VERSION, Group, LLVM_PREFIX};
use crate::{Verdict, shell};

const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";
/// The programs, and the objects that are committed of them.
const OBJECTS: [(&str, &str); 2] =
    [("tidegauge-bpf", "tidegauge.bpf.o"), ("tidegauge-redirect", "redirect.bpf.o")];

/// Says who built them.
const BUILT_WITH: &str = "BUILT_WITH";

/// What comparing the committed object with its source showed.
#[derive(Debug)]
pub(crate) enum Comparison {
    /// It is not what the source builds.
    Different(String),
    /// It is.
    Same(String),
    /// It could not be compared.
    Skipped(String),
}

/// Rebuilds the committed object.
pub(crate) fn rebuild() -> Result<Verdict> {
    if let Some(why) = setup::ensure(&[Group::Build, Group::Ebpf])?.why(Group::Ebpf) {
        bail!("cannot build the BPF object: {why}");
    }
    for (binary, object) in OBJECTS {
        build(binary, &committed(object))?;
        println!("wrote {} ({})", committed(object).display(), builder()?);
    }
    fs::write(committed(BUILT_WITH), format!("{}\n", builder()?)).context("write BUILT_WITH")?;
    Ok(Verdict::Fine)
}

/// The check as a command of its own.
pub(crate) fn check_alone() -> Result<Verdict> {
    let lacking = setup::ensure(&[Group::Build, Group::Ebpf])?;
    match check(lacking.why(Group::Ebpf))? {
        Comparison::Same(said) => println!("{said}"),
        Comparison::Skipped(why) => println!("SKIPPED: the BPF object was not checked: {why}"),
        Comparison::Different(said) => {
            println!("{said}");
            return Ok(Verdict::Wrong);
        }
    }
    Ok(Verdict::Fine)
}

/// Builds the objects aside and compares; `lacking` says why the toolchain is not complete, where it is not.
pub(crate) fn check(lacking: Option<String>) -> Result<Comparison> {
    if let Some(why) = lacking {
        return Ok(Comparison::Skipped(why));
    }
    for (binary, object) in OBJECTS {
        let comparison = compare(binary, object)?;
        if !matches!(comparison, Comparison::Same(_)) {
            return Ok(comparison);
        }
    }
    Ok(Comparison::Same(format!("the committed BPF objects are what their source builds ({})", builder()?)))
}

fn compare(binary: &str, object: &str) -> Result<Comparison> {
    let built = target_dir().join("check.o");
    build(binary, &built)?;
    let built = fs::read(&built).context("read the object just built")?;
    let here = builder()?;
    let committed_now = match fs::read(committed(object)) {
        Ok(committed_now) => committed_now,
        Err(error) => {
            let said =
                format!("{}: {error}; run `cargo xtask ebpf` and commit it", committed(object).display());
            return Ok(Comparison::Different(said));
        }
    };
    if built == committed_now {
        return Ok(Comparison::Same(object.to_owned()));
    }
    // Without a builder's name the difference cannot be excused.
    if let Ok(there) = fs::read_to_string(committed(BUILT_WITH))
        && there.trim() != here
    {
        return Ok(Comparison::Skipped(format!(
            "not comparable: built with {}, here is {here}",
            there.trim()
        )));
    }
    Ok(Comparison::Different(format!(
        "the committed {object} ({} bytes) is not what its source builds ({} bytes, {here}); run `cargo xtask ebpf` and \
         commit capture/bpf",
        committed_now.len(),
        built.len()
    )))
}

/// `cargo clippy` for the programs themselves, which the host's clippy never sees.
pub(crate) fn clippy() -> Result<()> {
    OBJECTS
        .iter()
        .try_for_each(|(binary, _)| shell::run(cargo("clippy", binary)?.args(["--", "-D", "warnings"])))
}

/// Builds the object to `out`, without debug sections but with BTF.
fn build(binary: &str, out: &Path) -> Result<()> {
    shell::run(&mut cargo("build", binary)?)?;
    let linked = target_dir().join(TARGET).join(PROFILE).join(binary);
    fs::create_dir_all(out.parent().unwrap_or(out)).context("make the object's directory")?;
    let objcopy = Path::new(LLVM_PREFIX).join("bin/llvm-objcopy");
    shell::run(Command::new(objcopy).arg("--strip-debug").arg(linked).arg(out))
}

/// A cargo command on the BPF program. `RUSTC_BOOTSTRAP` lets the stable compiler build `core` for the target.
fn cargo(command: &str, binary: &str) -> Result<Command> {
    let mut cargo = shell::cargo([command, "--package", "tidegauge-ebpf", "--bin", binary]);
    cargo.args(["--features", "program", "--profile", PROFILE, "--target", TARGET, "-Z", "build-std=core"]);
    cargo.env("CARGO_TARGET_DIR", target_dir()).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTFLAGS");
    // Flags with their separator, because paths may contain spaces.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"));
    Ok(cargo)
}

fn flags() -> Result<Vec<String>> {
    let mut flags: Vec<String> = [
        "-Clinker=bpf-linker",
        // Without BTF the maps' definitions do not load.
        "-Clink-arg=--btf",
        "-Cdebuginfo=2",
        // 32-bit jumps and arithmetic: kernels from 5.1.
        "-Ctarget-cpu=v3",
        // Loads of two and four bytes at any offset, instead of single bytes and shifts.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
        // Clears and copies of known length as plain stores. What bpf-linker asks for instead is a call per clear, which
        // goes byte by byte and which the verifier takes for an endless loop when it comes by twice.
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ]
    .map(str::to_owned)
    .to_vec();
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?)
            .join(".cargo"),
    };
    let sysroot = setup::sysroot().context("rustc does not tell its sysroot")?;
    let target_dir = target_dir();
    // The last match wins: a target directory inside the workspace reads like one outside.
    let roots = [
        (shell::root(), "/tidegauge"),
        (&cargo_home, "/cargo"),
        (&sysroot, "/rust"),
        (&target_dir, "/target"),
    ];
    for (from, to) in roots {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    }
    Ok(flags)
}

/// Everything that decides about the bytes besides the source, in one line.
fn builder() -> Result<String> {
    let rustc = shell::output(Command::new("rustc").arg("--version"))?;
    let linker = setup::bpf_linker_version().unwrap_or_else(|| BPF_LINKER_VERSION.to_owned());
    let llvm = shell::output(Command::new(Path::new(LLVM_PREFIX).join("bin/llvm-config")).arg("--version"))?;
    Ok(format!("{rustc}, bpf-linker {linker}, LLVM {llvm}"))
}

/// Apart from the host's, because it holds a `core` of its own.
fn target_dir() -> PathBuf {
    shell::target_dir().join("bpf")
}

/// A file of the committed ones.
fn committed(name: &str) -> PathBuf {
    shell::root().join("capture/bpf").join(name)
}
