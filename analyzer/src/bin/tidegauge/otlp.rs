//! Options of metrics that `serve` exports by OTLP, and the export made of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use tidegauge_console::fault::Say;
use tidegauge_console::http::HttpUrl;
use tidegauge_console::metrics::Metrics;
use tidegauge_console::otlp::{Otlp, Settings};

use super::args::whole_seconds;
use super::page::{say, secret};

/// Headers that are sent with each export.
const HEADERS_MAX: usize = 16;

#[derive(Debug, ClapArgs)]
pub(crate) struct OtlpArgs {
    /// Export metrics to an OpenTelemetry collector, or whoever else takes OTLP/HTTP in JSON: http://HOST:4318, or with the
    /// path of another receiver. The numbers and names are those of /metrics.
    #[arg(long, value_name = "URL", value_parser = url)]
    otlp: Option<HttpUrl>,
    /// How often metrics are exported.
    #[arg(long, value_name = "TIME", requires = "otlp", default_value = "10s", value_parser = whole_seconds)]
    otlp_interval: Duration,
    /// Headers of each export, `NAME: VALUE` in a line each, as receivers ask for that want to know who we are: in FILE, which
    /// others must not be able to read.
    #[arg(long, value_name = "FILE", requires = "otlp")]
    otlp_headers: Option<PathBuf>,
}

impl OtlpArgs {
    /// Whether there is an export.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.otlp.is_some()
    }

    /// Begins to export, if that was asked for.
    pub(crate) fn start(&self, metrics: Option<&Metrics>) -> anyhow::Result<Option<Otlp>> {
        let Some((url, metrics)) = self.otlp.clone().zip(metrics.cloned()) else { return Ok(None) };
        let headers = self.otlp_headers.as_deref().map(headers).transpose()?.unwrap_or_default();
        let settings = Settings { url, headers, interval: self.otlp_interval };
        let tell: Say = Arc::new(|text: &str| say(format_args!("{text}")));
        let otlp = Otlp::start(&settings, metrics, &tell).context("cannot export metrics by OTLP")?;
        Ok(Some(otlp))
    }
}

fn url(text: &str) -> Result<HttpUrl, String> {
    HttpUrl::try_from(text.to_owned())
}

fn headers(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = secret(path, "headers")?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let headers: Vec<_> = lines.map(header).collect::<anyhow::Result<_>>().with_context(|| {
        // Without the line itself, which is secret.
        format!("{} has a line that is none of NAME: VALUE", path.display())
    })?;
    anyhow::ensure!(headers.len() <= HEADERS_MAX, "{} has more than {HEADERS_MAX} headers", path.display());
    Ok(headers)
}

fn header(line: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = line.split_once(':').context("no colon")?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    anyhow::ensure!(!name.is_empty() && name.chars().all(is_token), "no name before the colon");
    anyhow::ensure!(value.chars().all(|c| c.is_ascii() && !c.is_control()), "a value in other than ASCII");
    Ok((name.to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values() {
        let of = |line: &str| header(line).ok();
        assert_eq!(of("X-Key:  a: b "), Some(("X-Key".into(), "a: b".into())));
        assert!(
            of("key").is_none() && of(": b").is_none() && of("a b: c").is_none() && of("a: \u{7}").is_none()
        );
    }
}
