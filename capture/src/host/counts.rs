//! Names of what is counted, of what there is, and of what there may be.

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $group:literal, $column:literal;)*) => {
        /// A counter of the host's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum HostCounter { $($(#[doc = $doc])* $variant,)* }

        impl HostCounter {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in results.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The line and the column that have it; empty where it stands elsewhere.
            pub(super) const fn place(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($group, $column),)* }
            }
        }
    };
}

counters! {
    /// Connections that were complete and found their listener's accept queue full.
    ListenOverflows = "listen_overflows", "TcpExt", "ListenOverflows";
    /// SYNs and connections that a listener dropped, those among them.
    ListenDrops = "listen_drops", "TcpExt", "ListenDrops";
    /// SYN cookies sent.
    SyncookiesSent = "syncookies_sent", "TcpExt", "SyncookiesSent";
    /// SYN cookies that came back: connections completed by them.
    SyncookiesRecv = "syncookies_recv", "TcpExt", "SyncookiesRecv";
    /// ACKs whose cookie is none of ours, or too old.
    SyncookiesFailed = "syncookies_failed", "TcpExt", "SyncookiesFailed";
    /// SYNs answered with a cookie because the half-open queue was full.
    ReqQFullDoCookies = "req_q_full_do_cookies", "TcpExt", "TCPReqQFullDoCookies";
    /// SYNs dropped because it was, without cookies.
    ReqQFullDrop = "req_q_full_drop", "TcpExt", "TCPReqQFullDrop";
    /// Connections given up for want of memory.
    AbortOnMemory = "abort_on_memory", "TcpExt", "TCPAbortOnMemory";
    /// Segments sent again.
    RetransSegs = "retrans_segs", "Tcp", "RetransSegs";
    /// Segments that were lost again after they were sent again.
    LostRetransmit = "lost_retransmit", "TcpExt", "TCPLostRetransmit";
    /// Frames that CPUs' backlogs took, all interfaces and namespaces.
    SoftnetProcessed = "softnet_processed", "", "";
    /// Frames that found no room there.
    SoftnetDropped = "softnet_dropped", "", "";
    /// Times that a CPU's time for receiving was over with frames left.
    SoftnetSqueezed = "softnet_squeezed", "", "";
}

/// How many counters there are.
pub const HOST_COUNTERS: usize = HostCounter::ALL.len();

/// Counts by [`HostCounter`]; `None`: the host does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([Option<u64>; HOST_COUNTERS]);

impl Counts {
    /// One of them.
    pub const fn get(&self, counter: HostCounter) -> Option<u64> {
        self.0[counter as usize]
    }

    /// Sets one.
    pub const fn set(&mut self, counter: HostCounter, value: Option<u64>) {
        self.0[counter as usize] = value;
    }

    /// What was counted since an earlier look; unknown where it was then, or is now. A counter that is less than before
    /// began anew (the per-CPU ones of the backlogs after 2^32): what it lost by that is not known, and counted as zero.
    pub fn since(&self, before: &Self) -> Self {
        let mut since = Self::default();
        for (place, value) in since.0.iter_mut().enumerate() {
            *value = self.0[place].zip(before.0[place]).map(|(now, before)| now.saturating_sub(before));
        }
        since
    }

    /// Adds counts of another time; what was unknown at one of them is known of the other.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = match (*sum, more) {
                (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                (one, other) => one.or(other),
            };
        }
    }
}

/// What there is now; `None`: the host does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// TCP sockets in use, listening ones among them, time-waiting ones not; of IPv4 and, where they are dual, IPv6.
    pub tcp_inuse: Option<u64>,
    /// TCP sockets that no process holds any more, all namespaces.
    pub tcp_orphan: Option<u64>,
    /// Those in TIME-WAIT.
    pub tcp_time_wait: Option<u64>,
    /// Pages that TCP's buffers take, all namespaces.
    pub tcp_mem_pages: Option<u64>,
    /// Connections in ESTABLISHED or CLOSE-WAIT (RFC 4022: `tcpCurrEstab`).
    pub tcp_established: Option<u64>,
    /// Connections that netfilter tracks.
    pub conntrack: Option<u64>,
    /// Open files, all processes.
    pub files: Option<u64>,
    /// Free pages, and how many of them lie in pieces of less than 8 pages; see [`Self::mem_fragmentation`].
    pub free_pages: Option<[u64; 2]>,
}

impl Gauges {
    /// Share of free memory that lies in pieces of less than 8 pages (32 KiB), 0 to 1: of no use to an allocation of order
    /// 3, the largest that the kernel takes to be cheap (PAGE_ALLOC_COSTLY_ORDER) and what socket buffers are made of. The
    /// "unusable free space index" of Gorman and Whitcroft (Ottawa Linux Symposium 2006), over all zones.
    pub fn mem_fragmentation(&self) -> Option<f64> {
        let [all, small] = self.free_pages?;
        (all != 0).then(|| small as f64 / all as f64)
    }
}

/// What there may be; `None`: the host does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections that netfilter tracks at most.
    pub conntrack: Option<u64>,
    /// The longest accept queue that a listener may ask for.
    pub somaxconn: Option<u64>,
    /// Half-open connections of a listener.
    pub tcp_max_syn_backlog: Option<u64>,
    /// 0 never, 1 where the half-open queue is full, 2 always.
    pub tcp_syncookies: Option<u64>,
    /// TCP sockets that no process holds.
    pub tcp_max_orphans: Option<u64>,
    /// Pages of TCP's buffers: nothing is done below the first, and no more than the third is taken.
    pub tcp_mem_pages: Option<[u64; 3]>,
    /// Ports of connections that are made from here, the first and the last.
    pub local_ports: Option<[u64; 2]>,
    /// Open files.
    pub files: Option<u64>,
}

impl Limits {
    /// Takes the numbers of the file at a place of the list in `mod.rs`.
    pub(super) fn set(&mut self, place: usize, numbers: &[u64]) {
        let first = numbers.first().copied();
        match place {
            0 => self.conntrack = first,
            1 => self.somaxconn = first,
            2 => self.tcp_max_syn_backlog = first,
            3 => self.tcp_syncookies = first,
            4 => self.tcp_max_orphans = first,
            5 => self.tcp_mem_pages = numbers.first_chunk().copied(),
            6 => self.local_ports = numbers.first_chunk().copied(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_at_one_of_two_times_is_unknown_between_them() {
        let (mut before, mut after) = (Counts::default(), Counts::default());
        before.set(HostCounter::ListenDrops, Some(7));
        after.set(HostCounter::ListenDrops, Some(9));
        after.set(HostCounter::SyncookiesSent, Some(5));
        before.set(HostCounter::RetransSegs, Some(5));
        after.set(HostCounter::RetransSegs, Some(3));
        let since = after.since(&before);
        assert_eq!(since.get(HostCounter::ListenDrops), Some(2));
        assert_eq!(since.get(HostCounter::SyncookiesSent), None);
        assert_eq!(since.get(HostCounter::RetransSegs), Some(0));
        let mut sum = since;
        sum.merge(&after);
        assert_eq!(sum.get(HostCounter::ListenDrops), Some(11));
        assert_eq!(sum.get(HostCounter::SyncookiesSent), Some(5));
    }
}
