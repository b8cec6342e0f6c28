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

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn nanoseconds_are_kept() {
        assert_eq!(timestamp(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000000Z");
    }
}
