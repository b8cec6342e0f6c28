//! Numbers, times and texts as a person reads them, in the columns there are.

use jiff::Timestamp;

pub(super) use crate::words::number;

/// What stands for a number that is not known.
pub(super) const UNKNOWN: &str = "?";

/// The same of a number that may not be known.
pub(super) fn known(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), number)
}

/// In at most six columns: `950`, `12.3k`, `4.10M`.
pub(super) fn short(value: Option<f64>) -> String {
    let Some(value) = value else { return UNKNOWN.to_owned() };
    let (scaled, unit) = match value.abs() {
        size if size >= 999_500_000.0 => (value / 1e9, "G"),
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 10_000.0 => (value / 1e3, "k"),
        _ => return number(value),
    };
    match scaled.abs() {
        size if size >= 100.0 => format!("{scaled:.0}{unit}"),
        size if size >= 10.0 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.2}{unit}"),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = usize::from(percent != 0.0 && percent < 10.0 && percent.fract() != 0.0);
    format!("{percent:.digits$} %")
}

/// How long: `4 s`, `2 m 10 s`, `3 h 5 m`.
pub(super) fn lasting(ns: i64) -> String {
    let seconds = ns.max(0) / 1_000_000_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// The time of the day, UTC.
pub(super) fn clock(ts_ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ts_ns)).map_or_else(
        |_| UNKNOWN.to_owned(),
        |time| time.to_string().get(11..19).unwrap_or(UNKNOWN).to_owned(),
    )
}

/// The day and the time, UTC.
pub(super) fn day_and_clock(ts_ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ts_ns)).map_or_else(
        |_| UNKNOWN.to_owned(),
        |time| time.to_string().get(..19).unwrap_or(UNKNOWN).replace('T', " "),
    )
}

/// Exactly this many columns, on the left: longer texts end in `~`, so that nobody takes a part for the whole.
pub(super) fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{text:<columns$}")
}

/// Exactly this many columns, on the right.
pub(super) fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{text:>columns$}")
}

/// At most this many columns. Control characters, which may stand in names of files, become `?`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let clean = |letter: char| if letter.is_control() { '?' } else { letter };
    if text.chars().count() <= columns {
        return text.chars().map(clean).collect();
    }
    let mut cut: String = text.chars().take(columns.saturating_sub(1)).map(clean).collect();
    if columns > 0 {
        cut.push('~');
    }
    cut
}

/// Lines of at most this many columns, broken between words where that can be; those after the first are indented.
pub(super) fn wrapped(text: &str, columns: usize, indent: usize) -> Vec<String> {
    let indent = indent.min(columns / 2);
    let mut lines = Vec::new();
    // What a text begins with is its own indent.
    let mut used = (text.len() - text.trim_start_matches(' ').len()).min(columns / 2);
    let mut line = " ".repeat(used);
    for word in text.trim_start_matches(' ').split(' ') {
        let mut word = word;
        let gap = usize::from(!line.trim().is_empty());
        if used + gap + word.chars().count() > columns && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            used = indent;
        } else {
            line.push_str(&" ".repeat(gap));
            used += gap;
        }
        while used + word.chars().count() > columns.max(1) {
            let at = word.char_indices().nth(columns.max(1) - used).map_or(word.len(), |(at, _)| at);
            line.push_str(&word[..at]);
            word = &word[at..];
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            used = indent;
        }
        line.push_str(word);
        used += word.chars().count();
    }
    if !line.trim().is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_they_are_worth() {
        let texts = [2_550.0, 0.021, 12.5, 1_234_567.0, -1_000.0, 0.0, 123.45].map(number);
        assert_eq!(texts, ["2,550", "0.021", "12.50", "1,234,567", "-1,000", "0", "123.5"]);
        let texts = [950.0, 12_345.0, 4_100_000.0, 2e9].map(|value| short(Some(value)));
        assert_eq!(texts, ["950", "12.3k", "4.10M", "2.00G"]);
        assert_eq!((short(None), known(None)), ("?".to_owned(), "?".to_owned()));
        assert_eq!([0.0, 0.005, 0.98, 1.0].map(percent), ["0 %", "0.5 %", "98 %", "100 %"]);
    }

    #[test]
    fn times_are_short() {
        assert_eq!([5, 130, 11_100].map(|s| lasting(s * 1_000_000_000)), ["5 s", "2 m 10 s", "3 h 5 m"]);
        assert_eq!(clock(1_500_000_000), "00:00:01");
        assert_eq!(day_and_clock(1_500_000_000), "1970-01-01 00:00:01");
    }

    #[test]
    fn texts_fit_and_say_when_they_are_cut() {
        assert_eq!((left("abc", 5), right("abc", 5)), ("abc  ".to_owned(), "  abc".to_owned()));
        assert_eq!(
            (cut("abcdef", 4), cut("a\u{1b}b", 4), cut("a", 0)),
            ("abc~".into(), "a?b".into(), String::new())
        );
    }

    #[test]
    fn lines_break_between_words_or_within_long_ones() {
        assert_eq!(wrapped("one two three", 8, 2), ["one two", "  three"]);
        assert_eq!(wrapped("abcdefghij", 4, 0), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("  an indent", 8, 4), ["  an", "    inde", "    nt"]);
        assert_eq!(wrapped("", 4, 0), [""; 0]);
        for columns in 0..20 {
            let lines = wrapped("a bc def ghijklmnop qrs", columns, 3);
            assert!(lines.iter().all(|line| line.chars().count() <= columns.max(1)), "{columns}: {lines:?}");
        }
    }
}
