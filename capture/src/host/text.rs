//! Reads the kernel's text files: pure functions over any text. What is no line of the kind is counted, and skipped.

use super::Sample;
use super::counts::HostCounter;

/// Order from which on a free piece counts as usable; see `Gauges::mem_fragmentation`.
const USABLE_ORDER: usize = 3;
/// Orders that a line of `buddyinfo` may have (MAX_PAGE_ORDER of any architecture).
const ORDERS_MAX: usize = 32;

/// Takes counters from `/proc/net/snmp` or `/proc/net/netstat`: pairs of lines, names and then values, both after the
/// group's name. How many lines could not be read.
pub(super) fn stats(text: &str, sample: &mut Sample) -> u64 {
    let mut bad = 0;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    while let Some(names) = lines.next() {
        let (Some((group, names)), Some(values)) = (names.split_once(':'), lines.next()) else {
            bad += 1;
            continue;
        };
        let Some((own, values)) = values.split_once(':').filter(|(own, _)| *own == group) else {
            bad += 2;
            continue;
        };
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            let counter = HostCounter::ALL.iter().find(|counter| counter.place() == (own, name));
            let is_established = (own, name) == ("Tcp", "CurrEstab");
            if counter.is_none() && !is_established {
                continue;
            }
            let Ok(value) = value.parse() else {
                bad += 1;
                continue;
            };
            match counter {
                Some(counter) => sample.counts.set(*counter, Some(value)),
                None => sample.gauges.tcp_established = Some(value),
            }
        }
    }
    bad
}

/// Takes `TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 87` from `/proc/net/sockstat`; how many lines could not be read.
pub(super) fn sockstat(text: &str, sample: &mut Sample) -> u64 {
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("TCP:")) else { return 1 };
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut bad = 0;
    for pair in words.chunks_exact(2) {
        let gauges = &mut sample.gauges;
        let gauge = match pair[0] {
            "inuse" => &mut gauges.tcp_inuse,
            "orphan" => &mut gauges.tcp_orphan,
            "tw" => &mut gauges.tcp_time_wait,
            "mem" => &mut gauges.tcp_mem_pages,
            _ => continue,
        };
        *gauge = pair[1].parse().ok();
        bad += u64::from(gauge.is_none());
    }
    bad
}

/// Free pages in `/proc/buddyinfo`, those of them in pieces of less than order 3, and how many lines could not be read.
/// `Node 0, zone Normal 28059 8180 ...`: free pieces of 1, 2, 4 ... pages. `None`: nothing could be read.
pub(super) fn free_pages(text: &str) -> (Option<[u64; 2]>, u64) {
    let (mut all, mut small, mut bad, mut any) = (0_u64, 0_u64, 0, false);
    for line in text.lines() {
        let counts = line.split_once("zone").and_then(|(_, rest)| {
            let counts: Result<Vec<u64>, _> = rest.split_whitespace().skip(1).map(str::parse).collect();
            counts.ok().filter(|counts| !counts.is_empty() && counts.len() <= ORDERS_MAX)
        });
        let Some(counts) = counts else {
            bad += 1;
            continue;
        };
        for (order, pieces) in counts.into_iter().enumerate() {
            let pages = pieces.saturating_mul(1 << order);
            all = all.saturating_add(pages);
            small = small.saturating_add(if order < USABLE_ORDER { pages } else { 0 });
        }
        any = true;
    }
    (any.then_some([all, small]), bad)
}

/// The numbers of a sysctl, up to the first that is none.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counters_are_found_by_name_whatever_the_order() {
        let text = "TcpExt: Unknown ListenDrops SyncookiesSent\nTcpExt: 9 8 7\n\
                    Tcp: CurrEstab MaxConn RetransSegs\nTcp: 3 -1 4\n";
        let mut sample = Sample::default();
        assert_eq!(stats(text, &mut sample), 0);
        assert_eq!(sample.counts.get(HostCounter::ListenDrops), Some(8));
        assert_eq!(sample.counts.get(HostCounter::SyncookiesSent), Some(7));
        assert_eq!(sample.counts.get(HostCounter::RetransSegs), Some(4));
        assert_eq!(sample.counts.get(HostCounter::ListenOverflows), None);
        assert_eq!(sample.gauges.tcp_established, Some(3));
    }

    #[test]
    fn bad_lines_are_counted() {
        let mut sample = Sample::default();
        assert_eq!(stats("TcpExt: ListenDrops\nTcp: 5\nnothing\n", &mut sample), 3);
        assert_eq!(stats("TcpExt: ListenDrops\nTcpExt: many\n", &mut sample), 1);
        assert_eq!(sockstat("TCP: inuse some orphan 2\n", &mut sample), 1);
        assert_eq!((sample.gauges.tcp_inuse, sample.gauges.tcp_orphan), (None, Some(2)));
        assert_eq!(sample.counts.get(HostCounter::ListenDrops), None);
    }

    #[test]
    fn free_pages_in_small_pieces_are_of_no_use() {
        // 8 + 8 + 8 pages in pieces below 8 pages, and 24 in three of 8.
        assert_eq!(free_pages("Node 0, zone Normal 8 4 2 3\n"), (Some([48, 24]), 0));
        assert_eq!(free_pages("Node 0, zone DMA 0 0\nNode 0\n"), (Some([0, 0]), 1));
        assert_eq!(free_pages("Node 0\n"), (None, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(Tcp|TcpExt|TCP|Node|zone|inuse|mem|ListenDrops|[-0-9:, \n]){0,60}") {
            let mut sample = Sample::default();
            stats(&text, &mut sample);
            sockstat(&text, &mut sample);
            let (pages, _) = free_pages(&text);
            prop_assert!(pages.is_none_or(|[all, small]| small <= all));
            numbers(&text);
        }

        #[test]
        fn any_bytes_are_read(text in "\\PC{0,200}") {
            let mut sample = Sample::default();
            stats(&text, &mut sample);
            sockstat(&text, &mut sample);
            free_pages(&text);
        }
    }
}
