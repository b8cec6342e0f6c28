//! Latencies as an HDR histogram log (`--hlog FILE`): interval log format 1.3, V2 deflate payloads, as HistogramLogAnalyzer,
//! the HdrHistogram libraries and their plotters read them.
//!
//! One line for each window and each kind of round trip that had samples, told apart by `Tag=`. Values are microseconds.
//! Our histograms have the layout of HDR's at one significant digit, so every bucket has its own there, and counts are
//! kept as they are; a value is known within 6.25 %, whatever a reader prints. Start stamps are packet time in seconds
//! since the epoch (`StartTime` is the first one's, there is no `BaseTime`): where packet time jumps back, so do they.
//! Source of the format: <https://github.com/HdrHistogram/HdrHistogram> (`HistogramLogWriter`). Called by the command line.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use tidegauge_ebpf::histogram::{Histogram, lower_bound};

use crate::window::Window;

/// Significant decimal digits of our buckets.
const DIGITS: u8 = 1;

/// What is in the file for a person who opens it.
const HEADER: [&str; 3] = [
    "[tidegauge latencies by method, microseconds; values are known within 6.25 %]",
    "[Histogram log format version 1.3]",
    "[Interval_Max is in microseconds]",
];

/// The latencies of a window, by the name of what measured them: the tags. Those behind the first five only sources of
/// whole packets have.
pub fn latencies(window: &Window) -> impl Iterator<Item = (&'static str, &Histogram)> {
    let totals = &window.totals;
    let always = [
        ("handshake_listener", &totals.handshake_us),
        ("handshake_peer", &totals.handshake_ack_us),
        ("timestamps_listener", &totals.echo_listener_us),
        ("timestamps_peer", &totals.echo_peer_us),
        ("transfer_1mib", &totals.transfer_us),
    ];
    let truth = window.truth.as_deref().map(|truth| {
        [
            ("ack_listener", &truth.ack_listener_us),
            ("ack_peer", &truth.ack_peer_us),
            ("tls_hello", &truth.layers.tls_hello_us),
            ("tls_ttfb", &truth.layers.tls_ttfb_us),
            ("http", &truth.layers.http_latency_us),
            ("dns", &truth.layers.dns_latency_us),
            ("icmp", &truth.layers.icmp_rtt_us),
        ]
    });
    always.into_iter().chain(truth.into_iter().flatten())
}

/// A log being written.
pub struct HlogWriter<W: Write> {
    out: W,
    serializer: V2DeflateSerializer,
    /// Emptied for each line.
    values: Hdr<u64>,
    begun: bool,
}

impl<W: Write> HlogWriter<W> {
    /// A log that begins with its first interval.
    pub fn new(out: W) -> io::Result<Self> {
        let values = Hdr::new_with_bounds(1, u32::MAX.into(), DIGITS).map_err(io::Error::other)?;
        Ok(Self { out, serializer: V2DeflateSerializer::new(), values, begun: false })
    }

    /// One line: the values of an interval. None where there are none; tags have no blanks and no commas.
    pub fn interval(&mut self, start_ns: u64, end_ns: u64, tag: &str, values: &Histogram) -> io::Result<()> {
        self.values.reset();
        for (bucket, count) in values.buckets.iter().enumerate().filter(|(_, count)| **count != 0) {
            let value = u64::from(lower_bound(bucket));
            self.values.record_n(value, (*count).into()).map_err(io::Error::other)?;
        }
        if self.values.is_empty() {
            return Ok(());
        }
        let mut builder = IntervalLogWriterBuilder::new();
        if !std::mem::replace(&mut self.begun, true) {
            HEADER.iter().for_each(|line| _ = builder.add_comment(line));
            builder.with_start_time(SystemTime::UNIX_EPOCH + Duration::from_nanos(start_ns));
        }
        // A builder that was told nothing writes nothing: it is a header the first time, and then a way to the writer.
        let mut log = builder.begin_log_with(&mut self.out, &mut self.serializer)?;
        let lasted = Duration::from_nanos(end_ns.saturating_sub(start_ns));
        log.write_histogram(&self.values, Duration::from_nanos(start_ns), lasted, Tag::new(tag))
            .map_err(io::Error::other)
    }

    /// Hands over what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use proptest::prelude::*;

    use super::*;

    /// Standard base64, for the payload of a line: the reader leaves it to its user.
    fn from_base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = text.bytes().filter(|byte| *byte != b'=');
        let bits = digits.map(|byte| DIGITS.iter().position(|digit| *digit == byte).unwrap() as u32);
        let bits: Vec<_> = bits.collect();
        bits.chunks(4)
            .flat_map(|chunk| {
                let word = (0..4).fold(0, |word, at| word << 6 | chunk.get(at).copied().unwrap_or(0));
                word.to_be_bytes()[1..chunk.len()].to_vec()
            })
            .collect()
    }

    /// `(tag, start, length, values with their counts)`.
    type Line = (String, Duration, Duration, Vec<(u64, u64)>);

    fn read(log: &[u8]) -> Vec<Line> {
        let interval = |entry| match entry {
            LogEntry::Interval(line) => Some(line),
            _ => None,
        };
        let lines =
            IntervalLogIterator::new(log).map(|entry| entry.expect("the log parses")).filter_map(interval);
        lines
            .map(|line| {
                let payload = from_base64(line.encoded_histogram());
                let values: Hdr<u64> = Deserializer::new().deserialize(&mut payload.as_slice()).unwrap();
                let counts = values.iter_recorded();
                let counts =
                    counts.map(|at| (values.lowest_equivalent(at.value_iterated_to()), at.count_at_value()));
                let tag = line.tag().map_or("", |tag| tag.as_str()).to_owned();
                (tag, line.start_timestamp(), line.duration(), counts.collect())
            })
            .collect()
    }

    #[test]
    fn a_log_reads_back_with_its_times_and_tags() {
        let (mut listener, mut peer) = (Histogram::default(), Histogram::default());
        listener.record(120);
        listener.record(120);
        listener.record(9_000_000);
        peer.record(0);
        let mut log = HlogWriter::new(Vec::new()).unwrap();
        let start_ns = 1_700_000_000_500_000_000;
        log.interval(start_ns, start_ns + 1_000_000_000, "handshake_listener", &listener).unwrap();
        log.interval(start_ns, start_ns + 1_000_000_000, "handshake_peer", &peer).unwrap();
        log.interval(start_ns, start_ns + 1_000_000_000, "transfer_1mib", &Histogram::default()).unwrap();
        let text = String::from_utf8(log.out).unwrap();
        assert!(text.contains("#[StartTime: 1700000000.500 (seconds since epoch)]\n"), "{text}");
        assert_eq!(text.matches("StartTime").count(), 1);
        let lines = read(text.as_bytes());
        let (start, second) = (Duration::from_millis(1_700_000_000_500), Duration::from_secs(1));
        assert_eq!(
            lines,
            [
                ("handshake_listener".to_owned(), start, second, vec![(120, 2), (8_912_896, 1)]),
                ("handshake_peer".to_owned(), start, second, vec![(0, 1)]),
            ]
        );
    }

    proptest! {
        /// No count moves to another bucket, whatever the values.
        #[test]
        fn every_bucket_has_its_own(values in proptest::collection::vec(any::<u32>(), 1..200)) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            let mut log = HlogWriter::new(Vec::new()).unwrap();
            log.interval(0, 1, "t", &histogram).unwrap();
            let counts = &read(&log.out)[0].3;
            let filled = histogram.buckets.iter().enumerate().filter(|(_, count)| **count != 0);
            let filled: Vec<_> = filled.map(|(bucket, count)| (u64::from(lower_bound(bucket)), u64::from(*count))).collect();
            prop_assert_eq!(counts, &filled);
        }
    }
}
