//! Whether it is quiet: hours of the clock on somebody's wall, summer time and midnight included.

use jiff::{Timestamp, ToSpan};

use super::settings::{Clock, Quiet};

/// Whether these hours are now.
///
/// It asks for the local time of day, never for a length of time: on the days on which clocks are changed the hours begin
/// and end when the clock says so.
pub(super) fn is_quiet(quiet: &Quiet, now: Timestamp) -> bool {
    let local = now.to_zoned(quiet.zone.0.clone());
    let minute = Clock::minutes(local.time());
    let (from, to) = (quiet.from.0, quiet.to.0);
    let begins_on = |days_ago: i64| {
        let date = local.date().checked_sub(days_ago.days());
        date.is_ok_and(|date| quiet.days.is_empty() || quiet.days.iter().any(|day| day.is(date.weekday())))
    };
    if from < to {
        return (from..to).contains(&minute) && begins_on(0);
    }
    (minute >= from && begins_on(0)) || (minute < to && begins_on(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(rest: &str) -> Quiet {
        toml::from_str(&format!("zone = \"Europe/Berlin\"\n{rest}")).unwrap()
    }

    fn is_at(quiet: &Quiet, time: &str) -> bool {
        is_quiet(quiet, time.parse().unwrap())
    }

    #[test]
    fn nights_go_over_midnight() {
        let night = quiet("from = \"22:00\"\nto = \"07:00\"");
        // Winter: an hour before UTC.
        assert!(!is_at(&night, "2026-01-10T20:59:59Z") && is_at(&night, "2026-01-10T21:00:00Z"));
        assert!(is_at(&night, "2026-01-10T23:30:00Z") && is_at(&night, "2026-01-11T05:59:59Z"));
        assert!(!is_at(&night, "2026-01-11T06:00:00Z") && !is_at(&night, "2026-01-11T12:00:00Z"));
        // Summer: two hours.
        assert!(!is_at(&night, "2026-07-10T19:59:59Z") && is_at(&night, "2026-07-10T20:00:00Z"));
        assert!(is_at(&night, "2026-07-11T04:59:59Z") && !is_at(&night, "2026-07-11T05:00:00Z"));
    }

    #[test]
    fn clocks_that_are_changed_are_followed() {
        // On 2026-03-29 02:00 becomes 03:00; on 2026-10-25 03:00 becomes 02:00.
        let small_hours = quiet("from = \"02:30\"\nto = \"03:30\"");
        assert!(!is_at(&small_hours, "2026-03-29T00:59:59Z"), "01:59:59");
        assert!(is_at(&small_hours, "2026-03-29T01:00:00Z"), "03:00, and there was no 02:30");
        assert!(!is_at(&small_hours, "2026-03-29T01:30:00Z"), "03:30");
        assert!(is_at(&small_hours, "2026-10-25T00:30:00Z"), "02:30 for the first time");
        assert!(!is_at(&small_hours, "2026-10-25T01:00:00Z"), "02:00 again");
        assert!(is_at(&small_hours, "2026-10-25T01:30:00Z"), "02:30 for the second time");
        let night = quiet("from = \"22:00\"\nto = \"07:00\"");
        assert!(is_at(&night, "2026-03-29T04:59:00Z") && !is_at(&night, "2026-03-29T05:00:00Z"));
        assert!(is_at(&night, "2026-10-25T05:59:00Z") && !is_at(&night, "2026-10-25T06:00:00Z"));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let weekend = quiet("from = \"22:00\"\nto = \"07:00\"\ndays = [\"fri\", \"sat\"]");
        assert!(is_at(&weekend, "2026-01-09T22:00:00Z"), "Friday evening");
        assert!(is_at(&weekend, "2026-01-11T02:00:00Z"), "Sunday morning");
        assert!(!is_at(&weekend, "2026-01-11T22:00:00Z"), "Sunday evening");
        assert!(!is_at(&weekend, "2026-01-09T02:00:00Z"), "Friday morning");
        let all_day = quiet("from = \"00:00\"\nto = \"24:00\"\ndays = [\"sun\"]");
        assert!(is_at(&all_day, "2026-01-11T22:59:59Z") && !is_at(&all_day, "2026-01-11T23:00:00Z"));
    }
}
