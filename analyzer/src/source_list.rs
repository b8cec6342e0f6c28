//! Lists of sources with their attempts, busiest first.

use std::net::IpAddr;

/// The union of two source lists. Counts of one source add: they come from different shards or periods.
pub(crate) fn merge_sources(own: &mut Vec<(IpAddr, u32)>, more: &[(IpAddr, u32)]) {
    if more.is_empty() {
        return;
    }
    own.extend_from_slice(more);
    unite_sources(own);
}

/// Makes one source list of several behind each other.
pub(crate) fn unite_sources(sources: &mut Vec<(IpAddr, u32)>) {
    sources.sort_unstable_by_key(|(address, _)| *address);
    sources.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(later.1);
        }
        same
    });
    sort_sources(sources);
}

/// Busiest first; equal ones by address, so that the order is the same everywhere.
pub fn sort_sources(sources: &mut [(IpAddr, u32)]) {
    sources.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
}
