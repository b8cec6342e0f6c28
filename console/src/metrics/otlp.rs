//! Families as an OTLP request in JSON: the same names, numbers and labels as in Prometheus' text, by the rules of
//! OpenTelemetry's Prometheus compatibility, so that boards and alerts fit whichever way the numbers went.
//!
//! Sums and histograms are cumulative, each from its own start. In this form of Protobuf whole numbers of 64 bits are
//! strings, and enumerations numbers.

use serde_json::{Value, json};

use super::family::{Families, Family, Kind, Number, Series, Since, bounds};
use super::{PREFIX, SOURCE};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u8 = 2;

/// How names end, and the unit that this tells, in UCUM.
const UNITS: [(&str, &str); 4] =
    [("_bytes", "By"), ("_per_second", "/s"), ("_ratio", "1"), ("_seconds", "s")];

/// What all series have in common.
pub(super) struct Context<'a> {
    pub(super) host: &'a str,
    /// What the run looks at.
    pub(super) source: Option<&'a str>,
    /// When the run began.
    pub(super) since: Since,
    pub(super) now: Since,
}

/// The body of a request.
pub(super) fn request(families: &Families<'_>, context: &Context<'_>) -> Value {
    // The instance is what tells series of several hosts apart where resources become labels.
    let resource = [
        ("service.name", PREFIX),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", context.host),
        ("host.name", context.host),
    ];
    let metrics: Vec<_> = families.0.iter().map(|family| metric(family, context)).collect();
    json!({ "resourceMetrics": [{
        "resource": { "attributes": resource.map(|(key, value)| attribute(key, value)) },
        "scopeMetrics": [{
            "scope": { "name": PREFIX, "version": env!("CARGO_PKG_VERSION") },
            "metrics": metrics,
        }],
    }] })
}

fn metric(family: &Family<'_>, context: &Context<'_>) -> Value {
    let points: Vec<_> = family.series.iter().map(|series| point(series, context)).collect();
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    let (form, kind, data) = match family.kind {
        Kind::Counter => ("sum", "counter", sum(&points, true)),
        Kind::Gauge => ("gauge", "gauge", json!({ "dataPoints": points })),
        Kind::Histogram => {
            ("histogram", "histogram", json!({ "aggregationTemporality": CUMULATIVE, "dataPoints": points }))
        }
        Kind::Info => ("sum", "info", sum(&points, false)),
    };
    json!({
        "name": format!("{PREFIX}_{}{suffix}", family.name),
        "description": family.help,
        "unit": unit(family.name),
        "metadata": [attribute("prometheus.type", kind)],
        form: data,
    })
}

fn sum(points: &[Value], is_monotonic: bool) -> Value {
    json!({ "aggregationTemporality": CUMULATIVE, "isMonotonic": is_monotonic, "dataPoints": points })
}

fn point(series: &Series<'_>, context: &Context<'_>) -> Value {
    let own = series.labels.iter().map(|(key, value)| (*key, value.as_ref()));
    let attributes = own.chain(context.source.map(|source| (SOURCE, source)));
    let mut point = json!({
        "attributes": attributes.map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
        "startTimeUnixNano": series.since.unwrap_or(context.since).ns().to_string(),
        "timeUnixNano": context.now.ns().to_string(),
    });
    match &series.number {
        Number::Count(count) => point["asInt"] = json!(count.to_string()),
        Number::Info => point["asInt"] = json!("1"),
        Number::Level(level) => point["asDouble"] = json!(level),
        Number::Histogram(histogram, divisor) => {
            let counts = histogram.counts.iter().map(u64::to_string);
            point["count"] = json!(histogram.count().to_string());
            point["sum"] = json!(histogram.sum / divisor);
            point["bucketCounts"] = json!(counts.collect::<Vec<_>>());
            point["explicitBounds"] = json!(bounds(histogram, *divisor).collect::<Vec<_>>());
        }
    }
    point
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Of a name; none where it counts things.
fn unit(name: &str) -> &'static str {
    let is_whole = |suffix: &str| suffix.strip_prefix('_') == Some(name);
    let unit = UNITS.iter().find(|(suffix, _)| name.ends_with(suffix) || is_whole(suffix));
    unit.map_or("", |(_, unit)| unit)
}
