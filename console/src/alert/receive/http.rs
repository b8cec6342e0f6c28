//! HTTP as webhooks and the Alertmanager need it: a POST within its time, no redirects, and what the answer means.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::Failure;

/// What is read of an answer, for its words.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// Longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// A client with its connections.
pub(super) fn agent(is_https: bool, ca_file: Option<&Path>, timeout: Duration) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .user_agent(concat!("tidegauge/", env!("CARGO_PKG_VERSION")));
    if is_https {
        let roots = match ca_file {
            Some(path) => of_file(path)?,
            None => of_host()?,
        };
        config =
            config.tls_config(TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build());
    }
    Ok(config.build().new_agent())
}

fn of_file(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let certificates: Vec<_> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        Err(format!("{} has no certificate (PEM)", path.display()))
    } else {
        Ok(certificates)
    }
}

fn of_host() -> Result<Vec<Certificate<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return Err(
            "this host has no certificate authorities: install ca-certificates, or name a ca_file".into()
        );
    }
    Ok(found.certs.iter().map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned()).collect())
}

/// What the answer to a POST means.
pub(super) fn judge(answer: Result<Response<Body>, ureq::Error>) -> Result<(), Failure> {
    let mut answer = answer.map_err(Failure::again)?;
    let status = answer.status();
    let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
    // Read to its end, so that the connection can be used again; what is longer closes it.
    let words = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().unwrap_or_default();
    if status.is_success() {
        return Ok(());
    }
    let words = words.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
    let why = format!("HTTP status {status}{}{words}", if words.is_empty() { "" } else { ": " });
    let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if !is_passing {
        return Err(Failure::Refused(why));
    }
    let after = after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    Err(Failure::Again { why, after })
}
