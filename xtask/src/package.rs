//! `cargo xtask package`: a Debian package of the release binary and all that goes with it, by `dpkg-deb` alone.
//!
//! The package is put together in `package/` of the target directory. Manual pages, completions and the default thresholds
//! come from the binary itself, so that they say what it does. Conventional places: Debian Policy, chapters 9 and 12.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Verdict, shell};

const NAME: &str = "tidegauge";

/// Files of the repository that are taken as they are: from, to.
const FILES: [(&str, &str); 7] = [
    ("README.md", "usr/share/doc/tidegauge/README.md"),
    ("packaging/grafana/tidegauge.json", "usr/share/tidegauge/grafana/tidegauge.json"),
    ("packaging/prometheus/alerts.yml", "usr/share/tidegauge/prometheus/alerts.yml"),
    ("packaging/prometheus/rules.yml", "usr/share/tidegauge/prometheus/rules.yml"),
    ("packaging/prometheus/tests.yml", "usr/share/tidegauge/prometheus/tests.yml"),
    ("packaging/systemd/tidegauge@.service", "usr/lib/systemd/system/tidegauge@.service"),
    ("LICENSE-MIT", "usr/share/doc/tidegauge/LICENSE-MIT"),
];

/// Completions as the binary names them, and where shells look for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("_tidegauge", "usr/share/zsh/vendor-completions/_tidegauge"),
    ("tidegauge.bash", "usr/share/bash-completion/completions/tidegauge"),
    ("tidegauge.fish", "usr/share/fish/vendor_completions.d/tidegauge.fish"),
];

/// What runs on the machine when the package comes and goes.
const SCRIPTS: [&str; 3] = ["postinst", "postrm", "prerm"];

const THRESHOLDS: &str = "etc/tidegauge/tidegauge.toml";

/// Builds the binary, and the package of it.
pub(crate) fn run() -> Result<Verdict> {
    shell::headline("the binary");
    shell::run(&mut shell::cargo([
        "build",
        "--release",
        "--locked",
        "-p",
        "tidegauge-analyzer",
        "--bin",
        NAME,
    ]))?;
    let package = of_binary(&shell::release_binary(NAME), &shell::target_dir().join("package"))?;
    println!("wrote {}", package.display());
    Ok(Verdict::Fine)
}

/// The package of a binary that was built before.
pub(crate) fn of(binary: &str, directory: &str) -> Result<Verdict> {
    let package = of_binary(Path::new(binary), Path::new(directory))?;
    println!("wrote {}", package.display());
    Ok(Verdict::Fine)
}

/// The package of a binary that is there, in `directory`.
fn of_binary(binary: &Path, directory: &Path) -> Result<PathBuf> {
    if shell::find_program("dpkg-deb").is_none() {
        bail!("there is no dpkg-deb here, which packages are built with: Debian package dpkg");
    }
    let stage = directory.join(NAME);
    if stage.exists() {
        fs::remove_dir_all(&stage).context("remove what an earlier build left")?;
    }
    let installed = stage.join("usr/bin/tidegauge");
    put(binary, &installed, 0o755)?;
    if let Some(strip) = shell::find_program("strip") {
        shell::run(Command::new(strip).arg("--strip-unneeded").arg(&installed))?;
    }
    for (from, to) in FILES {
        put(&shell::root().join(from), &stage.join(to), 0o644)?;
    }
    generated(binary, directory, &stage)?;
    let licence = fs::read_to_string(shell::root().join("LICENSE-MIT")).context("read the licence")?;
    let indented: String =
        licence.lines().map(|line| format!(" {}\n", if line.is_empty() { "." } else { line })).collect();
    let copyright = fs::read_to_string(packaging("copyright")).context("read the copyright")? + &indented;
    write(&stage.join("usr/share/doc/tidegauge/copyright"), &copyright, 0o644)?;
    control(binary, &stage)?;
    let architecture = shell::output(Command::new("dpkg").arg("--print-architecture"))?;
    let package = directory.join(format!("{NAME}_{}_{architecture}.deb", version(binary)?));
    let mut build = Command::new("dpkg-deb");
    shell::run(build.args(["--root-owner-group", "-Zxz", "-z2", "--build"]).args([&stage, &package]))?;
    Ok(package)
}

/// What the binary tells of itself.
fn generated(binary: &Path, directory: &Path, stage: &Path) -> Result<()> {
    let made = directory.join("generated");
    shell::run(Command::new(binary).arg("generate").arg(&made))?;
    for entry in fs::read_dir(made.join("man1")).context("list manual pages")? {
        let entry = entry.context("list manual pages")?;
        let to = stage.join("usr/share/man/man1").join(entry.file_name());
        put(&entry.path(), &to, 0o644)?;
        shell::run(Command::new("gzip").args(["--force", "--best", "--no-name"]).arg(&to))?;
    }
    for (from, to) in COMPLETIONS {
        put(&made.join("completions").join(from), &stage.join(to), 0o644)?;
    }
    let thresholds = shell::output(Command::new(binary).args(["config", "default"]))?;
    write(&stage.join(THRESHOLDS), &(thresholds + "\n"), 0o644)
}

/// What dpkg wants to know.
fn control(binary: &Path, stage: &Path) -> Result<()> {
    let architecture = shell::output(Command::new("dpkg").arg("--print-architecture"))?;
    let kib = shell::output(Command::new("du").args(["--summarize", "--block-size=1024"]).arg(stage))?;
    let kib = kib.split_whitespace().next().unwrap_or("0").to_owned();
    let control = format!(
        "Package: {NAME}\nVersion: {}\nArchitecture: {architecture}\nMaintainer: the tidegauge developers \
         <tidegauge@localhost>\nInstalled-Size: {kib}\nDepends: libc6 (>= 2.{}), libpcap0.8 | libpcap0.8t64\n\
         Section: net\nPriority: optional\nDescription: packet-level traffic analyzer\n \
         Counts packets on the NIC's fast path, in packet rings and in capture files,\n \
         and names what is wrong: floods, surges, loss, low windows.\n",
        version(binary)?,
        glibc_minor(&fs::read(binary).context("read the binary")?)
    );
    write(&stage.join("DEBIAN/control"), &control, 0o644)?;
    write(&stage.join("DEBIAN/conffiles"), &format!("/{THRESHOLDS}\n"), 0o644)?;
    for script in SCRIPTS {
        put(&packaging(script), &stage.join("DEBIAN").join(script), 0o755)?;
    }
    Ok(())
}

/// The newest glibc that a symbol of the binary wants: `GLIBC_2.34` is 34.
fn glibc_minor(binary: &[u8]) -> u32 {
    const MARK: &[u8] = b"GLIBC_2.";
    let after = binary.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
    let minor = |at: usize| {
        let digits = binary[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit()).take(3);
        digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    };
    after.map(|(at, _)| minor(at)).max().unwrap_or(0)
}

fn version(binary: &Path) -> Result<String> {
    let said = shell::output(Command::new(binary).arg("--version"))?;
    said.split_whitespace().nth(1).map(str::to_owned).context("the binary does not say its version")
}

fn packaging(name: &str) -> PathBuf {
    shell::root().join("packaging/debian").join(name)
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).context("set rights")
}

fn write(to: &Path, text: &str, mode: u32) -> Result<()> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::write(to, text).with_context(|| format!("write {}", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).context("set rights")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_counts() {
        assert_eq!(glibc_minor(b"..GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.17\0"), 34);
        assert_eq!(glibc_minor(b"static"), 0);
    }
}
