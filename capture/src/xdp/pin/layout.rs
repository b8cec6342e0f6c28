//! What two builds must agree on to share tables: a text, so that a refusal can show both.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::listener::ListenerCounter;

use crate::xdp::object::{Settings, tables};

/// Grows whenever the meaning of a table changes while its sizes and the names of its counters stay: the order of a
/// struct's fields, a hash, a unit.
const VERSION: u32 = 1;
/// FNV-1a, 64 bits: a fingerprint that is the same in every build. It guards against mistakes, not against attackers.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The layout of the tables that these settings make: version, names of the counters, tables with their sizes.
pub(super) fn layout(settings: &Settings, cpus: u32) -> String {
    let totals = Counter::ALL.iter().map(|counter| counter.name());
    let names = totals.chain(ListenerCounter::ALL.iter().map(|counter| counter.name()));
    let mut text = format!("v{VERSION} names {:016x} directions {}", fingerprint(names), settings.directions);
    for (name, bytes, entries) in tables(settings, cpus) {
        text.push_str(&format!(" {} {bytes}x{entries}", name.to_lowercase()));
    }
    text
}

fn fingerprint<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    let bytes = names.flat_map(|name| name.bytes().chain([b',']));
    bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names_are_in_it_and_the_seed_is_not() {
        let settings = Settings::with_seed(1);
        let own = layout(&settings, 2);
        assert_eq!(own, layout(&Settings::with_seed(2), 2));
        assert_ne!(own, layout(&settings, 4));
        let smaller = Settings { flow_buckets: settings.flow_buckets / 2, ..settings };
        assert_ne!(own, layout(&smaller, 2));
        assert_ne!(fingerprint(["a", "b"].into_iter()), fingerprint(["b", "a"].into_iter()));
        assert_ne!(fingerprint(["ab"].into_iter()), fingerprint(["a", "b"].into_iter()));
    }
}
