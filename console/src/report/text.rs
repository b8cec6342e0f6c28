//! Numbers, times and names as a report has them.

use jiff::Timestamp;
use serde_json::Value;

/// A number that a person reads: three digits that count, thousands apart.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if size >= 100.0 || value.fract() == 0.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut grouped = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place != 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{grouped}.{rest}"),
        None => grouped,
    }
}

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
    fn numbers_have_three_digits_that_count() {
        let texts = [0.0, 0.0123, 1.5, 12.34, 1_234.5, -1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.012", "1.50", "12.3", "1,234", "-1,234,567"]);
        assert_eq!(known(&Value::Null), "unknown");
        assert_eq!(time(1_500_000_000), "1970-01-01T00:00:01Z");
    }
}
