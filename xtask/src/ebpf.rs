//! `cargo xtask ebpf`: the BPF object that `tidegauge` embeds, rebuilt or checked.
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
const BINARY: &str = "tidegauge-bpf";

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
    build(&committed_object())?;
    fs::write(built_with_file(), format!("{}\n", builder()?)).context("write BUILT_WITH")?;
    println!("wrote {} ({})", committed_object().display(), builder()?);
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

/// Builds the object aside and compares; `lacking` says why the toolchain is not complete, where it is not.
pub(crate) fn check(lacking: Option<String>) -> Result<Comparison> {
    if let Some(why) = lacking {
        return Ok(Comparison::Skipped(why));
    }
    let built = target_dir().join("check.o");
    build(&built)?;
    let built = fs::read(&built).context("read the object just built")?;
    let here = builder()?;
    let committed = match fs::read(committed_object()) {
        Ok(committed) => committed,
        Err(error) => {
            let said =
                format!("{}: {error}; run `cargo xtask ebpf` and commit it", committed_object().display());
            return Ok(Comparison::Different(said));
        }
    };
    if built == committed {
        return Ok(Comparison::Same(format!("the committed BPF object is what its source builds ({here})")));
    }
    // Without a builder's name the difference cannot be excused.
    if let Ok(there) = fs::read_to_string(built_with_file())
        && there.trim() != here
    {
        return Ok(Comparison::Skipped(format!(
            "not comparable: built with {}, here is {here}",
            there.trim()
        )));
    }
    Ok(Comparison::Different(format!(
        "the committed BPF object ({} bytes) is not what its source builds ({} bytes, {here}); \
         run `cargo xtask ebpf` and commit capture/bpf",
        committed.len(),
        built.len()
    )))
}

/// `cargo clippy` for the program itself, which the host's clippy never sees.
pub(crate) fn clippy() -> Result<()> {
    shell::run(cargo("clippy")?.args(["--", "-D", "warnings"]))
}

/// Builds the object to `out`, without debug sections but with BTF.
fn build(out: &Path) -> Result<()> {
    shell::run(&mut cargo("build")?)?;
    let linked = target_dir().join(TARGET).join(PROFILE).join(BINARY);
    fs::create_dir_all(out.parent().unwrap_or(out)).context("make the object's directory")?;
    let objcopy = Path::new(LLVM_PREFIX).join("bin/llvm-objcopy");
    shell::run(Command::new(objcopy).arg("--strip-debug").arg(linked).arg(out))
}

/// A cargo command on the BPF program. `RUSTC_BOOTSTRAP` lets the stable compiler build `core` for the target.
fn cargo(command: &str) -> Result<Command> {
    let mut cargo = shell::cargo([command, "--package", "tidegauge-ebpf", "--bin", BINARY]);
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

fn committed_object() -> PathBuf {
    shell::root().join("capture/bpf/tidegauge.bpf.o")
}

fn built_with_file() -> PathBuf {
    shell::root().join("capture/bpf/BUILT_WITH")
}
