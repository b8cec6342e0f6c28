//! What the kernel says of a process: the memory of its BPF maps, and its resident set.

use std::collections::BTreeMap;
use std::fs;

/// A field's number in a file of `name: value` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Memory of all BPF maps that a process has open, each once, as `/proc/PID/fdinfo` accounts it.
pub(crate) fn map_bytes(pid: u32) -> u64 {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap().flatten() {
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if let (Some(map), Some(bytes)) = (field(&text, "map_id"), field(&text, "memlock")) {
            maps.insert(map, bytes);
        }
    }
    assert_ne!(maps.len(), 0, "process {pid} has no BPF maps open");
    maps.values().sum()
}

/// Resident set now.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    field(&status, "VmRSS").unwrap() * 1_024
}
