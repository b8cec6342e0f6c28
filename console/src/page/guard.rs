//! Before any answer: is it meant for us, not too fast, and from somebody who may look? And after: what browsers must know.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Extension, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, REFERRER_POLICY,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limits::{
    Counts, REQUESTS_BURST_MAX, REQUESTS_PER_S_MAX, WRONG_TOKENS_BURST_MAX, WRONG_TOKENS_PER_S_MAX, count,
};
use super::rates::Rates;
use super::sessions::Sessions;

/// Nothing but what this server sends itself; no inline scripts or styles, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// What is answered to anybody: it shows nothing of the run.
const FOR_ALL: [&str; 4] = ["/healthz", "/login", "/login.css", "/icon.svg"];

/// Whose connection it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Who may come in.
pub(super) struct Guard {
    /// Whether only names of this host are answered: others may have been made to point here (DNS rebinding).
    pub(super) is_loopback: bool,
    pub(super) is_tls: bool,
    pub(super) sessions: Option<Sessions>,
    pub(super) counts: Arc<Counts>,
    requests: Rates,
    wrong_tokens: Rates,
}

impl Guard {
    pub(super) fn new(listen: SocketAddr, is_tls: bool, token: Option<String>, counts: Arc<Counts>) -> Self {
        Self {
            is_loopback: listen.ip().is_loopback(),
            is_tls,
            sessions: token.map(Sessions::new),
            counts,
            requests: Rates::new(REQUESTS_BURST_MAX, REQUESTS_PER_S_MAX),
            wrong_tokens: Rates::new(WRONG_TOKENS_BURST_MAX, WRONG_TOKENS_PER_S_MAX),
        }
    }

    /// A token that is right; wrong ones are counted, and too many of an address not even looked at.
    pub(super) fn token_is_right(&self, said: &str, peer: IpAddr) -> bool {
        let Some(sessions) = &self.sessions else { return true };
        let right = self.wrong_tokens.has(peer, Instant::now()) && sessions.is_token(said);
        if !right {
            self.wrong_tokens.take(peer, Instant::now());
            count(&self.counts.tokens_refused);
        }
        right
    }

    fn may_look(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        let Some(sessions) = &self.sessions else { return true };
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(token) = text(AUTHORIZATION).and_then(|said| said.strip_prefix("Bearer ")) {
            return self.token_is_right(token.trim(), peer);
        }
        let known = text(COOKIE).is_some_and(|cookies| sessions.knows(cookies));
        if !known {
            count(&self.counts.tokens_refused);
        }
        known
    }

    fn refusal(&self, request: &Request, peer: IpAddr) -> Option<Response> {
        if !self.requests.take(peer, Instant::now()) {
            count(&self.counts.requests_refused);
            return Some(
                (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")], "too many requests\n").into_response(),
            );
        }
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if self.is_loopback && !host.is_some_and(is_name_of_loopback) {
            count(&self.counts.hosts_refused);
            let why = "this server answers to localhost, 127.0.0.1 and [::1] only\n";
            return Some((StatusCode::MISDIRECTED_REQUEST, why).into_response());
        }
        if request.method() == Method::POST && !is_of_this_page(request.headers(), host) {
            return Some((StatusCode::FORBIDDEN, "a form of another page\n").into_response());
        }
        let path = request.uri().path();
        if FOR_ALL.contains(&path) || self.may_look(request.headers(), peer) {
            return None;
        }
        if path == "/" {
            return Some((StatusCode::SEE_OTHER, [(axum::http::header::LOCATION, "/login")]).into_response());
        }
        let how = [(WWW_AUTHENTICATE, "Bearer realm=\"tidegauge\"")];
        Some(
            (StatusCode::UNAUTHORIZED, how, "a token is needed: Authorization: Bearer TOKEN, or /login\n")
                .into_response(),
        )
    }
}

/// The layer around all routes.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.refusal(&request, peer) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let mut set =
        |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    set(X_FRAME_OPTIONS, "DENY");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    if guard.is_tls {
        set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Whether `Host` names this host, with whatever port.
fn is_name_of_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a form was sent by a page of ours: browsers say so themselves, older ones name the page's origin; other
/// programs say neither.
fn is_of_this_page(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    text("origin")
        .is_none_or(|origin| origin.split_once("://").is_some_and(|(_, origin)| Some(origin) == host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback_are_few() {
        for name in ["localhost", "LOCALHOST:7070", "127.0.0.1:1", "127.0.0.9", "[::1]:7070", "[::1]"] {
            assert!(is_name_of_loopback(name), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "localhost.evil.example:7070",
            "10.0.0.1:7070",
            "127.0.0.1.evil.example",
            "[::2]:1",
        ] {
            assert!(!is_name_of_loopback(name), "{name}");
        }
    }

    #[test]
    fn forms_are_of_this_page() {
        let said = |headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            is_of_this_page(&headers.collect(), Some("gauge:7070"))
        };
        assert!(said(&[]) && said(&[("origin", "https://gauge:7070")]));
        // What a page with `no-referrer` sends.
        assert!(said(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(!said(&[("origin", "null")]) && !said(&[("origin", "https://evil.example")]));
        assert!(!said(&[("origin", "null"), ("sec-fetch-site", "cross-site")]));
    }
}
