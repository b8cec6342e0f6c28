//! Histograms of the run for Prometheus: classic ones, in base units, cumulative since the run began.

use std::fmt;

use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::encode::Writer;
use super::table::{MS_PER_S, NS_PER_S};
use crate::histogram::{Histogram, Histograms};

impl Writer<'_> {
    pub(super) fn histograms(&mut self, histograms: &Histograms) -> fmt::Result {
        if !histograms.rtt_ms.is_empty() {
            let help = "Round trips by method; the sum is right within 3.2 percent";
            let mut family = self.family("round_trip_seconds", help, MetricType::Histogram)?;
            for (method, rtt) in &histograms.rtt_ms {
                let (sum, buckets) = told(rtt, MS_PER_S);
                let labels = [("method", method.as_str())];
                let mut series = family.encode_family(&labels)?;
                series.encode_histogram::<NoLabelSet>(sum, rtt.count(), &buckets, None)?;
            }
        }
        let rwnd = &histograms.rwnd_bytes;
        if rwnd.counts.is_empty() {
            return Ok(());
        }
        let help = "Receive windows of known scale, as advertised; the sum is right within 3.2 percent";
        let (sum, buckets) = told(rwnd, 1.0);
        let mut family = self.family("advertised_window_bytes", help, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(sum, rwnd.count(), &buckets, None)
    }
}

/// Sum and buckets, divided into base units.
fn told(histogram: &Histogram, divisor: f64) -> (f64, Vec<(f64, u64)>) {
    // Whole nanoseconds, so that no bound is one that nobody would write.
    let bounds =
        histogram.le.iter().map(|le| (le * NS_PER_S / divisor).round() / NS_PER_S).chain([f64::INFINITY]);
    (histogram.sum / divisor, bounds.zip(histogram.counts.iter().copied()).collect())
}
