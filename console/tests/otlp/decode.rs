//! OTLP requests taken apart by the protocol's definition (`metrics.proto`, JSON mapping), and Prometheus' text: both as
//! series with values, to be compared.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u8 = 2;

/// Values by series, as the text writes them, without the label of the source.
pub(crate) type Values = BTreeMap<String, f64>;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) series: Values,
    /// Units by name.
    pub(crate) units: BTreeMap<String, String>,
    /// Starts by series.
    pub(crate) starts: BTreeMap<String, u64>,
    pub(crate) time_ns: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceMetrics {
    resource: Resource,
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeMetrics {
    scope: Scope,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    key: String,
    value: AnyValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnyValue {
    string_value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metric {
    name: String,
    description: String,
    unit: String,
    metadata: Vec<KeyValue>,
    sum: Option<Data>,
    gauge: Option<Data>,
    histogram: Option<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Data {
    aggregation_temporality: Option<u8>,
    is_monotonic: Option<bool>,
    data_points: Vec<Point>,
}

/// Of all three; 64-bit numbers are strings.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Point {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: String,
    time_unix_nano: String,
    as_int: Option<String>,
    as_double: Option<f64>,
    count: Option<String>,
    sum: Option<f64>,
    bucket_counts: Option<Vec<String>>,
    explicit_bounds: Option<Vec<f64>>,
}

fn whole(text: &str) -> u64 {
    text.parse().unwrap()
}

/// A series' name, as the text writes it.
fn name(name: &str, attributes: &[KeyValue], le: Option<&str>) -> String {
    let own = attributes.iter().map(|one| (one.key.as_str(), one.value.string_value.as_str()));
    let labels: Vec<_> = own
        .filter(|(key, _)| *key != "source")
        .chain(le.map(|le| ("le", le)))
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

impl Export {
    /// Panics at what the definition does not have.
    pub(crate) fn of(path: String, headers: BTreeMap<String, String>, body: &str) -> Self {
        let Request { resource_metrics } = serde_json::from_str(body).unwrap();
        let [ResourceMetrics { resource, scope_metrics }] =
            <[_; 1]>::try_from(resource_metrics).ok().expect("one resource");
        let [ScopeMetrics { scope, metrics }] = <[_; 1]>::try_from(scope_metrics).ok().expect("one scope");
        assert_eq!((scope.name.as_str(), scope.version.is_empty()), ("tidegauge", false));
        let attributes = resource.attributes.into_iter().map(|one| (one.key, one.value.string_value));
        let mut export = Self {
            path,
            headers,
            resource: attributes.collect(),
            series: Values::new(),
            units: BTreeMap::new(),
            starts: BTreeMap::new(),
            time_ns: 0,
        };
        metrics.iter().for_each(|metric| export.take(metric));
        export
    }

    fn take(&mut self, metric: &Metric) {
        assert!(!metric.description.is_empty(), "{} is not explained", metric.name);
        assert!(
            self.units.insert(metric.name.clone(), metric.unit.clone()).is_none(),
            "{} twice",
            metric.name
        );
        let kind = metric.metadata.iter().find(|one| one.key == "prometheus.type").expect("a type");
        let data = match (kind.value.string_value.as_str(), &metric.sum, &metric.gauge, &metric.histogram) {
            ("counter", Some(sum), None, None) => {
                assert!(metric.name.ends_with("_total") && sum.is_monotonic == Some(true));
                sum
            }
            ("info", Some(sum), None, None) => {
                assert!(metric.name.ends_with("_info") && sum.is_monotonic == Some(false));
                sum
            }
            ("gauge", None, Some(gauge), None) => gauge,
            ("histogram", None, None, Some(histogram)) => histogram,
            (other, ..) => panic!("{} is {other} and something else", metric.name),
        };
        let is_cumulative = data.aggregation_temporality == Some(CUMULATIVE);
        assert_eq!(is_cumulative, metric.gauge.is_none(), "{}", metric.name);
        for point in &data.data_points {
            let is_of_source = |one: &KeyValue| one.key == "source" && one.value.string_value == "eth1";
            assert!(point.attributes.iter().any(is_of_source), "{} is of no source", metric.name);
            self.starts
                .insert(name(&metric.name, &point.attributes, None), whole(&point.start_time_unix_nano));
            self.time_ns = whole(&point.time_unix_nano);
            assert!(self.time_ns > whole(&point.start_time_unix_nano), "{}", metric.name);
            if metric.histogram.is_some() {
                self.histogram(metric, point)
            } else {
                self.number(metric, point)
            }
        }
    }

    fn number(&mut self, metric: &Metric, point: &Point) {
        let value = match (&point.as_int, point.as_double) {
            (Some(count), None) => whole(count) as f64,
            (None, Some(level)) => level,
            _ => panic!("{} has no value, or two", metric.name),
        };
        self.series.insert(name(&metric.name, &point.attributes, None), value);
    }

    fn histogram(&mut self, metric: &Metric, point: &Point) {
        let (counts, bounds) =
            (point.bucket_counts.as_ref().unwrap(), point.explicit_bounds.as_ref().unwrap());
        assert_eq!(counts.len(), bounds.len() + 1);
        assert!(bounds.is_sorted());
        let mut sum = 0;
        let bounds = bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (count, le) in counts.iter().zip(bounds) {
            sum += whole(count);
            let bucket = format!("{}_bucket", metric.name);
            self.series.insert(name(&bucket, &point.attributes, Some(&le)), sum as f64);
        }
        assert_eq!(point.count.as_deref().map(whole), Some(sum));
        let mut of = |what: &str, value| {
            self.series.insert(name(&format!("{}_{what}", metric.name), &point.attributes, None), value);
        };
        of("count", sum as f64);
        of("sum", point.sum.unwrap());
    }
}

/// Values of Prometheus' text. Bounds are written as OTLP's numbers are printed here.
pub(crate) fn of_text(text: &str) -> Values {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let plain = |series: &str| {
        let series = series.replace("source=\"eth1\",", "").replace("source=\"eth1\"", "").replace("{}", "");
        match series.split_once("le=\"") {
            Some((before, le)) if !le.starts_with("+Inf") => {
                let le: f64 = le.split('"').next().unwrap().parse().unwrap();
                format!("{before}le=\"{le}\"}}")
            }
            _ => series,
        }
    };
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, value)| (plain(series), value.parse().unwrap()))
        .collect()
}
