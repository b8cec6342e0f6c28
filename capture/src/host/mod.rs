//! What the host itself counts of its network stack: procfs, sysctls and the queues of its listeners (`sock_diag`).
//!
//! Of the network namespace in which it was opened, but for what the kernel counts for all of them together: backlogs of
//! CPUs, memory, files. Files are opened ahead and read again with `pread`, so that a process that gave up its rights can
//! go on; what is not there is unknown (`None`), never zero. Live only; read once a second by [`crate::host::Host`]'s
//! caller. Limits: [`FILE_BYTES`] of a file, [`queues::QUEUES_MAX`] listeners; what is beyond is counted.

pub mod counts;
pub mod queues;
mod text;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use counts::{Counts, Gauges, HOST_COUNTERS, HostCounter, Limits};
pub use queues::{ListenQueue, Queues};

use crate::nic::softnet::backlogs_of;

/// Bytes read of a file: `netstat` has some 4 KiB, `softnet_stat` 130 a CPU.
pub const FILE_BYTES: usize = 256 * 1024;

/// One look at the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Counters since the namespace was made.
    pub counts: Counts,
    /// What there is now.
    pub gauges: Gauges,
    /// What there may be.
    pub limits: Limits,
    /// Listeners' queues; `None` where the kernel does not tell.
    pub queues: Option<Queues>,
    /// Lines that could not be read, and files longer than [`FILE_BYTES`].
    pub bad_lines: u64,
}

/// The files, open.
#[derive(Debug)]
pub struct Host {
    snmp: Option<File>,
    netstat: Option<File>,
    softnet: Option<File>,
    sockstat: Option<File>,
    buddyinfo: Option<File>,
    file_nr: Option<File>,
    conntrack_count: Option<File>,
    limits: [Option<File>; LIMITS.len()],
    buffer: Vec<u8>,
}

/// Sysctls that bound something (networking/ip-sysctl, networking/nf_conntrack-sysctl of the kernel's documentation).
const LIMITS: [&str; 7] = [
    "net/netfilter/nf_conntrack_max",
    "net/core/somaxconn",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/tcp_syncookies",
    "net/ipv4/tcp_max_orphans",
    "net/ipv4/tcp_mem",
    "net/ipv4/ip_local_port_range",
];

impl Host {
    /// Opens what there is. What may be opened only later stays unknown.
    pub fn open() -> Self {
        let proc = |name: &str| File::open(format!("/proc/{name}")).ok();
        Self {
            snmp: proc("net/snmp"),
            netstat: proc("net/netstat"),
            softnet: proc("net/softnet_stat"),
            sockstat: proc("net/sockstat"),
            buddyinfo: proc("buddyinfo"),
            file_nr: proc("sys/fs/file-nr"),
            conntrack_count: proc("sys/net/netfilter/nf_conntrack_count"),
            limits: LIMITS.map(|name| proc(&format!("sys/{name}"))),
            buffer: Vec::new(),
        }
    }

    /// Looks at all of it.
    pub fn sample(&mut self) -> Sample {
        let mut sample = Sample::default();
        let Self { buffer, .. } = self;
        let mut read = |file: &Option<File>, take: &mut dyn FnMut(&str, &mut Sample)| {
            let Some(file) = file else { return };
            match read_all(file, buffer) {
                Ok(()) => take(&String::from_utf8_lossy(buffer), &mut sample),
                // Gone, or not for us any more: unknown.
                Err(_) => sample.bad_lines += 1,
            }
        };
        for file in [&self.snmp, &self.netstat] {
            read(file, &mut |text, sample| sample.bad_lines += text::stats(text, sample));
        }
        read(&self.softnet, &mut |text, sample| {
            let backlogs = backlogs_of(text);
            let sum = |of: fn(&crate::nic::softnet::Backlog) -> u32| {
                (!backlogs.is_empty()).then(|| backlogs.values().map(|backlog| u64::from(of(backlog))).sum())
            };
            sample.counts.set(HostCounter::SoftnetProcessed, sum(|backlog| backlog.processed));
            sample.counts.set(HostCounter::SoftnetDropped, sum(|backlog| backlog.dropped));
            sample.counts.set(HostCounter::SoftnetSqueezed, sum(|backlog| backlog.squeezed));
        });
        read(&self.sockstat, &mut |text, sample| sample.bad_lines += text::sockstat(text, sample));
        read(&self.buddyinfo, &mut |text, sample| {
            let (free_pages, bad) = text::free_pages(text);
            (sample.gauges.free_pages, sample.bad_lines) = (free_pages, sample.bad_lines + bad);
        });
        read(&self.file_nr, &mut |text, sample| {
            let numbers = text::numbers(text);
            (sample.gauges.files, sample.limits.files) = (numbers.first().copied(), numbers.get(2).copied());
        });
        read(&self.conntrack_count, &mut |text, sample| {
            sample.gauges.conntrack = text::numbers(text).first().copied();
        });
        for (place, file) in self.limits.iter().enumerate() {
            read(file, &mut |text, sample| sample.limits.set(place, &text::numbers(text)));
        }
        sample.queues = queues::ask().ok();
        sample
    }
}

/// Reads a file from its beginning; one that is longer than can be is an error, not half a truth.
fn read_all(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut len = 0;
    buffer.resize(buffer.len().max(4_096), 0);
    loop {
        let read = file.read_at(&mut buffer[len..], len as u64)?;
        len += read;
        if read == 0 {
            buffer.truncate(len);
            return Ok(());
        }
        if len == buffer.len() {
            if len >= FILE_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            buffer.resize((2 * len).min(FILE_BYTES), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_tells_what_it_counts() {
        let mut host = Host::open();
        let (first, second) = (host.sample(), host.sample());
        assert_eq!(first.bad_lines, 0);
        for counter in [HostCounter::ListenOverflows, HostCounter::SyncookiesSent, HostCounter::RetransSegs] {
            let (before, after) = (first.counts.get(counter), second.counts.get(counter));
            assert!(before.is_some() && before <= after, "{counter:?}: {before:?}, {after:?}");
        }
        assert!(first.gauges.tcp_inuse.is_some() && first.limits.somaxconn.is_some());
        let share = first.gauges.mem_fragmentation().expect("buddyinfo is there");
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}
