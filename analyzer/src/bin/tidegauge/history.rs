//! `serve --history DIR` and `tidegauge history`: what a run told, kept on disk and read again.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use jiff::Timestamp;
use tidegauge_console::board::{Board, IncidentCard, Point};
use tidegauge_console::feed::Feed;
use tidegauge_console::history::{self, Ended, History, Limits, Query};
use tidegauge_console::line::{Event, time_ns};
use tidegauge_console::report::Series;
use tidegauge_console::words;

use super::Outcome;
use super::args::{HistoryArgs, HistoryKeepArgs};

/// Rows of the table over time.
const ROWS_MAX: usize = 24;

/// Keeps what a feed tells, if a directory is named.
pub(crate) fn start(args: &HistoryKeepArgs, feed: &mut Feed) -> anyhow::Result<Option<History>> {
    let Some(dir) = &args.history else { return Ok(None) };
    let limits = Limits {
        bytes_max: u64::from(args.history_mib) << 20,
        age_max_s: u64::from(args.history_days) * 86_400,
        ..Limits::default()
    };
    let name = dir.display().to_string();
    let say = Box::new(move |text: &str| say(&format!("history in {name}: {text}")));
    Ok(Some(History::start(dir, limits, feed, say).context("cannot keep history")?))
}

/// After the run's end.
pub(crate) fn finish(history: Option<History>) {
    let Some(history) = history else { return };
    let Ended { lost, removed } = history.finish();
    if removed != 0 {
        say(&format!("{removed} old segments of the history made way"));
    }
    if lost != 0 {
        say(&format!("{lost} lines are not in the history"));
    }
}

/// Tells what is kept.
pub(crate) fn run(args: &HistoryArgs) -> anyhow::Result<Outcome> {
    let query = Query {
        from_ns: args.from.as_deref().map(time).transpose()?,
        to_ns: args.to.as_deref().map(time).transpose()?,
        incidents_only: args.incidents,
    };
    if let (Some(from_ns), Some(to_ns)) = (query.from_ns, query.to_ns)
        && from_ns >= to_ns
    {
        bail!("--from must be before --to");
    }
    let unreadable =
        if args.json { print_lines(&args.dir, &query)? } else { print_tables(&args.dir, &query)? };
    if unreadable != 0 {
        say(&format!("{unreadable} lines of the history could not be read"));
    }
    Ok(Outcome::Done)
}

fn print_lines(dir: &Path, query: &Query) -> anyhow::Result<u64> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    let unreadable = history::read(dir, query, |line| {
        if written.is_ok() {
            written = writeln!(out, "{}", line.text);
        }
    })?;
    written?;
    out.flush()?;
    Ok(unreadable)
}

/// Incidents, and the time in a few rows.
fn print_tables(dir: &Path, query: &Query) -> anyhow::Result<u64> {
    let (mut board, mut series, mut runs) = (Board::default(), Series::default(), 0);
    let unreadable = history::read(dir, query, |line| {
        runs += u64::from(line.event == Event::Source);
        if line.event == Event::Window {
            series.push(Point::of(&line));
        }
        board.take(&Arc::new(line));
    })?;
    let mut out = io::stdout().lock();
    let rows = series.condensed(ROWS_MAX);
    if rows.is_empty() && board.incidents().len() == 0 {
        writeln!(out, "nothing is kept of that time in {}", dir.display())?;
        return Ok(unreadable);
    }
    let incidents = board.incidents().len() as u64 + board.incidents_forgotten;
    let of_runs = if runs == 0 { String::new() } else { format!("live runs: {runs}; ") };
    writeln!(out, "{of_runs}windows: {}; incidents: {incidents}", board.windows)?;
    if board.incidents().len() != 0 {
        writeln!(out)?;
    }
    for card in board.incidents() {
        writeln!(out, "{}", incident_row(card))?;
    }
    if !rows.is_empty() {
        writeln!(
            out,
            "\n{:20}  {:>10}  {:>10}  {:>10}  {:>8}  {:>6}",
            "until", "packets/s", "attempts/s", "RTT p99 ms", "loss %", "health"
        )?;
    }
    for point in &rows {
        writeln!(out, "{}", point_row(point))?;
    }
    Ok(unreadable)
}

fn incident_row(card: &IncidentCard) -> String {
    let text = |name: &str| card.line.json[name].as_str().unwrap_or("-");
    let closed = if card.is_open() { "open" } else { text("closed_ts") };
    let peak = card.line.number("summary.peak").or_else(|| card.line.number("measured"));
    format!(
        "{} {:18} {:24} {} to {}, at most {} {}",
        card.severity(),
        card.kind(),
        card.target(),
        short(text("opened_ts")),
        short(closed),
        number(peak),
        text("unit")
    )
}

/// A time to the second.
fn short(time: &str) -> String {
    time_ns(time).map_or_else(|| time.to_owned(), second)
}

fn second(ts_ns: i64) -> String {
    Timestamp::from_second(ts_ns.div_euclid(1_000_000_000))
        .map_or_else(|_| "unknown".to_owned(), |time| time.to_string())
}

fn point_row(point: &Point) -> String {
    let per_s = point.packets.map(|packets| packets / point.window_s.max(0.001));
    let loss = point.loss_ratio.map(|ratio| ratio * 100.0);
    format!(
        "{:20}  {:>10}  {:>10}  {:>10}  {:>8}  {:>6}",
        second(point.ts_ns),
        number(per_s),
        number(point.conn_rate),
        number(point.rtt_p99_ms),
        number(loss),
        number(point.health)
    )
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), words::number)
}

/// RFC 3339, or how long before now: `2h`, `30m`, `7d`.
fn time(text: &str) -> anyhow::Result<i64> {
    if let Some(ts_ns) = time_ns(text) {
        return Ok(ts_ns);
    }
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let before = units
        .iter()
        .find_map(|(unit, seconds)| text.strip_suffix(unit)?.parse::<i64>().ok()?.checked_mul(*seconds));
    let before_ns = before.filter(|before| *before >= 0).and_then(|before| before.checked_mul(1_000_000_000));
    let now_ns = i64::try_from(Timestamp::now().as_nanosecond()).ok();
    let then = now_ns.zip(before_ns).map(|(now_ns, before_ns)| now_ns - before_ns);
    then.with_context(|| format!("{text} is neither an RFC 3339 time nor a time before now like 30m, 2h, 7d"))
}

fn say(text: &str) {
    // Standard error may be gone; there is nobody left to tell.
    let _ = writeln!(io::stderr(), "tidegauge: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_before_now() {
        assert_eq!(time("1970-01-01T00:00:02Z").ok(), Some(2_000_000_000));
        let hour_ago = time("1h").unwrap();
        let now_ns = i64::try_from(Timestamp::now().as_nanosecond()).unwrap();
        assert!((3_599..3_602).contains(&((now_ns - hour_ago) / 1_000_000_000)));
        assert!(time("noon").is_err() && time("-1h").is_err() && time("99999999999999999d").is_err());
    }
}
