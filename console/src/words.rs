//! Numbers as a person reads them, on the screen, in reports and of history.

/// A number with its thousands apart and no more digits than it is worth: `2,550`, `12.5`, `0.021`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if value.fract() == 0.0 || size >= 1_000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 0.001 => 3,
        // Not a zero that it is not.
        _ => 6,
    };
    let text = format!("{size:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands_are_apart_and_no_digit_is_too_many() {
        let texts = [0.0, 0.000_123, 0.0123, 1.5, 12.34, 1_234.5, -1_234_567.0].map(number);
        assert_eq!(texts, ["0", "0.000123", "0.012", "1.500", "12.34", "1,234", "-1,234,567"]);
    }
}
