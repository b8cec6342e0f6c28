//! Families in Prometheus' text format, by the official crate. Histograms are classic ones.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::family::{Families, Kind, Number, Series, bounds};

/// Writes all of them.
pub(super) fn encode(families: &Families<'_>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for family in &families.0 {
        let kind = match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
        for series in &family.series {
            number(&mut metric, family.kind, series)?;
        }
    }
    Ok(())
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, series: &Series<'_>) -> fmt::Result {
    let labels = series.labels.as_slice();
    match (&series.number, kind) {
        (Number::Info, _) => metric.encode_info(&labels),
        (Number::Count(count), Kind::Counter) => {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)
        }
        (Number::Count(count), _) => metric.encode_family(&labels)?.encode_gauge(count),
        (Number::Level(level), _) => metric.encode_family(&labels)?.encode_gauge(level),
        (Number::Histogram(histogram, divisor), _) => {
            let bounds = bounds(histogram, *divisor).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(histogram.counts.iter().copied()).collect();
            let sum = histogram.sum / divisor;
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                sum,
                histogram.count(),
                &buckets,
                None,
            )
        }
    }
}
