//! A small HTTP client for whoever tells others: a POST within its time, no redirects, and what the answer says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// What is read of an answer, for its words.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// What is told of its words, characters.
const WORDS_MAX: usize = 200;
/// Longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// An `http` or `https` address.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct HttpUrl(pub(crate) String);

impl HttpUrl {
    /// Whether it is reached by TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let uri: ureq::http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(Self(text)),
            _ => Err("must be a URL that begins with http:// or https://".into()),
        }
    }
}

/// A client with its connections.
pub(crate) fn agent(is_https: bool, ca_file: Option<&Path>, timeout: Duration) -> Result<Agent, String> {
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

/// Why there is no answer, in words of people.
pub(crate) fn why_none(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "no such host".to_owned(),
        other => other.to_string(),
    }
}

/// An answer, as far as it matters.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The pause that the receiver asks for.
    pub(crate) after: Option<Duration>,
    /// The beginning of its body.
    pub(crate) body: String,
}

impl Answer {
    /// Reads it to its end, so that the connection can be used again; what is longer closes it.
    pub(crate) fn read(mut answer: Response<Body>) -> Self {
        let after = answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        Self {
            status: answer.status(),
            after: after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            body: body.unwrap_or_default(),
        }
    }

    /// What is wrong, in a line.
    pub(crate) fn why(&self) -> String {
        let line = self.body.lines().next().unwrap_or_default();
        // It goes to somebody's terminal.
        let words: String = line.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
        format!("HTTP status {}{}{words}", self.status, if words.is_empty() { "" } else { ": " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_http() {
        for text in ["ftp://a/", "a", "http://", "https:///x"] {
            assert!(HttpUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(HttpUrl::try_from("https://[::1]:4318/x".to_owned()).unwrap().is_https());
    }
}
