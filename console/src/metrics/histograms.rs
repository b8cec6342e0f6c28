//! Histograms of the run: in base units, cumulative since the run began.

use super::family::{Families, Kind, Number, Series};
use super::table::MS_PER_S;
use crate::histogram::Histograms;

impl<'a> Families<'a> {
    pub(super) fn histograms(&mut self, histograms: &'a Histograms) {
        let methods = histograms
            .rtt_ms
            .iter()
            .map(|(method, rtt)| Series::of([("method", method.into())], Number::Histogram(rtt, MS_PER_S)));
        let help = "Round trips by method; the sum is right within 3.2 percent";
        self.add("round_trip_seconds", help, Kind::Histogram, methods);
        let rwnd = &histograms.rwnd_bytes;
        let is_known = !rwnd.counts.is_empty();
        let windows = is_known.then(|| Series::of([], Number::Histogram(rwnd, 1.0)));
        let help = "Receive windows of known scale, as advertised; the sum is right within 3.2 percent";
        self.add("advertised_window_bytes", help, Kind::Histogram, windows);
    }
}
