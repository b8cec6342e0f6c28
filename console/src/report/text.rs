//! Numbers and times as a report has them.

use jiff::Timestamp;
use serde_json::Value;

pub(super) use crate::words::number;

/// A number of a line, or that it is not known.
pub(super) fn known(value: &Value) -> String {
    value.as_f64().map_or_else(|| "unknown".to_owned(), number)
}

/// A time to the second.
pub(super) fn time(ts_ns: i64) -> String {
    let second = Timestamp::from_second(ts_ns.div_euclid(1_000_000_000));
    second.map_or_else(|_| "unknown".to_owned(), |second| second.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said() {
        assert_eq!(known(&Value::Null), "unknown");
        assert_eq!(time(1_500_000_000), "1970-01-01T00:00:01Z");
    }
}
