//! The page: a web server that shows a run to browsers, in a thread of its own.
//!
//! It looks at the board and listens to the feed like everybody else; what browsers do reaches neither the feed nor the
//! run. On loopback it is open to this host, by this host's names only. Beyond loopback it wants a token and TLS.
//!
//! ```text
//! GET /                  the page, its scripts and styles: embedded, nothing comes from elsewhere
//! GET /api/board         what is now (JSON)
//! GET /api/events        what is new (server-sent events: window, incident, thresholds, over)
//! GET /api/incident/ID   all of an incident
//! GET /api/evidence/ID   its packets (pcapng), if the run kept them
//! GET /api/flows?q=WORDS connections, where the run tells them
//! GET /api/heat          packets of listeners, and who asks, over time
//! GET /api/graph         what talks to what, the busiest of it
//! GET /api/history       an interval of what was kept, where history is
//! GET /metrics           where metrics are kept
//! GET /healthz           "ok"
//! ```

mod assets;
mod countries;
mod events;
mod evidence;
mod flows;
mod grid;
mod guard;
mod heat;
pub mod limits;
mod listen;
mod past;
mod patient;
mod rates;
mod routes;
mod sessions;
#[cfg(test)]
mod tests;
mod told;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::alert::Health;
use crate::board::SharedBoard;
use crate::feed::Feed;
use crate::metrics::Metrics;
pub use countries::{Countries, CountriesError};
use events::Hub;
use guard::Guard;
use limits::{Counts, SEND_BUFFER_BYTES};
use past::Past;
use routes::Shared;

/// Lines that may wait for the page.
const LINES_MAX: usize = 4_096;
/// Connections that may wait to be taken.
const BACKLOG: u32 = 256;
/// Between signs of life to those who listen.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Shortest token that is taken.
pub const TOKEN_BYTES_MIN: usize = 16;

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain, the server's own first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// How the page is served.
#[derive(Clone)]
pub struct Options {
    /// Where.
    pub listen: SocketAddr,
    /// What clients must know.
    pub token: Option<String>,
    /// Encrypted by these.
    pub tls: Option<TlsFiles>,
    /// `/metrics`, if there is such a thing.
    pub metrics: Option<Metrics>,
    /// How those fare who are told of incidents, if somebody is.
    pub alerts: Option<Health>,
    /// Where history is kept, if it is.
    pub history: Option<PathBuf>,
    /// Countries of addresses, if they are known.
    pub countries: Option<Arc<Countries>>,
}

/// Why the page cannot be served.
#[derive(Debug, Error)]
pub enum PageError {
    /// Others could look, and nothing keeps them from it.
    #[error(
        "{0} is not loopback: whoever reaches it would see all traffic; give --token-file, --tls-cert and --tls-key, or \
         listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// Easy to guess.
    #[error("the token has fewer than {TOKEN_BYTES_MIN} bytes; make one with `openssl rand -hex 32`")]
    Token,
    /// Somebody else is there, or it is not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Not a certificate, not a key, or not of each other.
    #[error("{0}: {1}")]
    Tls(PathBuf, String),
    /// No thread, or none of what a runtime needs.
    #[error("cannot start the page's thread: {0}")]
    Thread(io::Error),
}

/// A page that is served until it is stopped.
#[derive(Debug)]
pub struct Page {
    url: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Page {
    /// Listens, and serves what comes by `feed` and what `board` keeps.
    ///
    /// # Errors
    /// Where that would not be safe, or cannot be.
    pub fn start(options: &Options, board: SharedBoard, feed: &mut Feed) -> Result<Self, PageError> {
        check(options)?;
        let tls = options.tls.as_ref().map(acceptor).transpose()?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PageError::Thread)?;
        let listener =
            bind(&runtime, options.listen).map_err(|error| PageError::Listen(options.listen, error))?;
        let address = listener.local_addr().map_err(PageError::Thread)?;
        let of_feed = feed.losses();
        let (lines, losses) = feed.subscribe_with_flows(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let hub = Arc::new(Hub::new(
            board.clone(),
            Arc::clone(&counts),
            [of_feed, losses],
            options.alerts.clone(),
            options.countries.clone(),
        ));
        let keeps = Arc::clone(&hub);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        named("page-lines").spawn(move || keeps.keep(&lines)).map_err(PageError::Thread)?;
        let guard = Guard::new(address, tls.is_some(), options.token.clone(), Arc::clone(&counts));
        let metrics = options.metrics.clone();
        let past = options.history.clone().map(|dir| Past::new(dir, options.countries.clone()));
        let (kept, guard) = (Default::default(), Arc::new(guard));
        let url = format!("{}://{address}/", if tls.is_some() { "https" } else { "http" });
        let router =
            routes::router(Arc::new(Shared { board, hub: Arc::clone(&hub), guard, metrics, past, kept }));
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = listen::listen(listener, tls, router, counts) => {}
                    () = keep_alive(&hub) => {}
                    _ = stopped => {}
                }
            });
            // Connections end with it; a file that is just read need not be waited for.
            runtime.shutdown_background();
        };
        let thread = named("page").spawn(serve).map_err(PageError::Thread)?;
        Ok(Self { url, stop, thread })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes all connections.
    pub fn stop(self) {
        // A page that failed has nothing to stop.
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

async fn keep_alive(hub: &Hub) {
    loop {
        tokio::time::sleep(KEEP_ALIVE).await;
        hub.keep_alive();
    }
}

fn check(options: &Options) -> Result<(), PageError> {
    if !options.listen.ip().is_loopback() && (options.token.is_none() || options.tls.is_none()) {
        return Err(PageError::Open(options.listen));
    }
    if options.token.as_ref().is_some_and(|token| token.len() < TOKEN_BYTES_MIN) {
        return Err(PageError::Token);
    }
    Ok(())
}

fn bind(runtime: &Runtime, address: SocketAddr) -> io::Result<TcpListener> {
    let _in_runtime = runtime.enter();
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit it: hundreds of clients that do not read must not take the kernel's memory.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, PageError> {
    let wrong =
        |file: &Path, error: &dyn std::fmt::Display| PageError::Tls(file.to_owned(), error.to_string());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&files.cert, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, &"has no certificate (PEM)"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(&files.cert, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
