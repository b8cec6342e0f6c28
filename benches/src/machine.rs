//! What a figure was measured on, and where programs are found.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

/// Where system programs live that need not be on a user's PATH.
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The circumstances that belong to every figure.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    date: String,
    load_average: String,
}

impl Machine {
    /// Asks the kernel; what it does not tell is called unknown.
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let unknown = || "unknown".to_owned();
        let memory = field(&text("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.trim_end_matches("kB").trim().parse().unwrap_or(0);
        Self {
            cpu: field(&text("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_kib >> 20,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown),
            load_average: text("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    /// Load averages of 1, 5 and 15 minutes.
    pub fn load(&self) -> &str {
        &self.load_average
    }

    /// One line for the head of a report.
    pub fn line(&self) -> String {
        let Self { cpu, cores, memory_gib, kernel, date, load_average } = self;
        format!("{date}, {cores} x {cpu}, {memory_gib} GiB, Linux {kernel}, load {load_average}")
    }
}

/// First line that a program prints, on either stream; `None` where it cannot be run.
pub fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let streams = [output.stdout, output.stderr];
    let text = streams.iter().map(|stream| String::from_utf8_lossy(stream)).find(|text| !text.is_empty())?;
    text.lines().next().map(str::to_owned)
}

/// A program on the PATH, or among the system's.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// A program built beside this one.
pub fn sibling_path(name: &str) -> Result<PathBuf> {
    Ok(own_directory()?.join(name))
}

/// The same, which must be there; `package` is what to build where it is not.
pub fn sibling(name: &str, package: &str) -> Result<PathBuf> {
    let path = sibling_path(name)?;
    let advice = || format!("{} is not there: cargo build --release --package {package}", path.display());
    ensure!(path.is_file(), advice());
    Ok(path)
}

/// Where generated captures are kept: `bench-data` in the build's target directory.
pub fn data_directory() -> Result<PathBuf> {
    let own = own_directory()?;
    Ok(own.parent().unwrap_or(&own).join("bench-data"))
}

fn own_directory() -> Result<PathBuf> {
    let executable = env::current_exe().context("find the running program")?;
    Ok(executable.parent().unwrap_or(Path::new(".")).to_owned())
}
