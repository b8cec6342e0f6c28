//! Beyond loopback: TLS, and a token that is refused or accepted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::http::{Answer, request};
use crate::served::{Served, demo};

/// What the page wants to know.
pub(crate) const TOKEN: &str = "an-example-token-of-32-bytes-....";
const NAME: &str = "gauge.example";

/// A certificate, its key and a token as files.
pub(crate) struct Secrets {
    dir: TempDir,
    der: CertificateDer<'static>,
}

impl Secrets {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed([NAME.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let files = [
            ("cert.pem", made.cert.pem()),
            ("key.pem", made.signing_key.serialize_pem()),
            ("token", format!("{TOKEN}\n")),
        ];
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }
        Self { dir, der: made.cert.der().clone() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `serve` with them.
    pub(crate) fn serve(&self, listen: &str) -> Served {
        let [token, cert, key] =
            ["token", "cert.pem", "key.pem"].map(|name| self.file(name).to_str().unwrap().to_owned());
        let options = ["--listen", listen, "--token-file", &token, "--tls-cert", &cert, "--tls-key", &key];
        Served::start(&options, &["read", &demo()])
    }
}

fn ask(secrets: &Secrets, at: SocketAddr, request: &str) -> Answer {
    let mut roots = RootCertStore::empty();
    roots.add(secrets.der.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, TcpStream::connect(at).unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // The end without a goodbye is an end.
    let _ = stream.read_to_end(&mut bytes);
    Answer::of(&bytes)
}

#[test]
fn beyond_loopback_only_the_token_opens() {
    let secrets = Secrets::new();
    let served = secrets.serve("0.0.0.0:0");
    assert!(served.url().starts_with("https://0.0.0.0:"), "{}", served.url());
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, served.address().port()));
    let get =
        |path: &str, headers: &[(&str, &str)]| ask(&secrets, at, &request("GET", path, NAME, headers, ""));
    assert_eq!(get("/healthz", &[]).status, 200);
    let page = get("/", &[]);
    assert_eq!((page.status, page.header("location").as_deref()), (303, Some("/login")));
    assert!(get("/login", &[]).header("strict-transport-security").is_some());
    for path in ["/api/board", "/api/events", "/api/flows", "/api/evidence/syn_flood-0001", "/page.js"] {
        assert_eq!(get(path, &[]).status, 401, "{path}");
        assert_eq!(get(path, &[("authorization", "Bearer wrong")]).status, 401, "{path}");
        assert_eq!(get(path, &[("cookie", "tidegauge=00")]).status, 401, "{path}");
    }
    let right = format!("Bearer {TOKEN}");
    // Too many wrong ones: the right one has to wait as well. Cookies were not tokens.
    assert_eq!(get("/api/board", &[("authorization", &right)]).status, 200);
    let post = |body: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> =
            [("content-type", "application/x-www-form-urlencoded")].iter().chain(headers).copied().collect();
        ask(&secrets, at, &request("POST", "/login", NAME, &headers, body))
    };
    assert_eq!(post("token=wrong", &[]).header("location").as_deref(), Some("/login#wrong"));
    assert_eq!(post(&format!("token={TOKEN}"), &[("origin", "https://evil.example")]).status, 403);
    let opened = post(&format!("token={TOKEN}"), &[("origin", "https://gauge.example")]);
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let board = get("/api/board", &[("cookie", &cookie)]).json();
    assert!(board["served"]["tokens_refused"].as_u64() >= Some(15), "{}", board["served"]);
    ask(&secrets, at, &request("POST", "/logout", NAME, &[("cookie", &cookie)], ""));
    assert_eq!(get("/api/board", &[("cookie", &cookie)]).status, 401);
}

#[test]
fn tokens_cannot_be_tried_out() {
    let secrets = Secrets::new();
    let served = secrets.serve("127.0.0.1:0");
    let get = |token: &str| {
        let header = format!("Bearer {token}");
        ask(
            &secrets,
            served.address(),
            &request("GET", "/api/board", "localhost", &[("authorization", &header)], ""),
        )
        .status
    };
    let refused = (0..12).filter(|number| get(&number.to_string()) == 401).count();
    assert_eq!(refused, 12);
    assert_eq!(get(TOKEN), 401, "after ten wrong ones even the right one waits");
}

#[test]
fn plain_http_is_not_answered_over_tls() {
    let secrets = Secrets::new();
    let served = secrets.serve("127.0.0.1:0");
    let mut stream = served.http().connect();
    stream.write_all(request("GET", "/", "localhost", &[], "").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(!String::from_utf8_lossy(&bytes).contains("HTTP/1.1"), "{bytes:?}");
}
