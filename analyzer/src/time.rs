//! Packet time in words: RFC 3339 with nanoseconds, UTC.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Nanoseconds since the epoch as RFC 3339. Beyond year 9999, where the standard ends, the number itself.
pub fn timestamp(ns: u64) -> String {
    static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
    match Timestamp::from_nanosecond(i128::from(ns)) {
        Ok(timestamp) => PRINTER.timestamp_to_string(&timestamp),
        Err(_) => format!("{ns}ns"),
    }
}

/// Nanoseconds since the epoch of what [`timestamp`] wrote, or of any RFC 3339 time since 1970.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    if let Some(ns) = text.strip_suffix("ns") {
        return ns.parse().ok();
    }
    text.parse::<Timestamp>().ok().and_then(|timestamp| u64::try_from(timestamp.as_nanosecond()).ok())
}

#[cfg(test)]
mod tests {
    use super::{parse_timestamp, timestamp};

    #[test]
    fn times_read_back() {
        for ns in [0, 1, 1_700_000_000_000_000_001, u64::MAX] {
            assert_eq!(parse_timestamp(&timestamp(ns)), Some(ns));
        }
        assert_eq!(parse_timestamp("2023-11-14T23:13:20+01:00"), Some(1_700_000_000_000_000_000));
        assert!(parse_timestamp("1969-12-31T23:59:59Z").is_none() && parse_timestamp("soon").is_none());
    }

    #[test]
    fn nanoseconds_are_kept() {
        assert_eq!(timestamp(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000000Z");
    }
}
