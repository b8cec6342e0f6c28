//! Connections: how many, for how long, and whether they are encrypted.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::guard::Peer;
use super::limits::{
    CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, Counts, HEAD_BYTES_MAX, HEAD_LINES_MAX, HEAD_TIME_MAX,
    TLS_TIME_MAX, count,
};
use super::patient::Patient;

/// After a failed `accept`: descriptors may be short, and come back.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Takes connections for ever.
pub(super) async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    counts: Arc<Counts>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let addresses = Addresses::default();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let Some(place) = place.and_then(|place| addresses.enter(peer.ip(), place)) else {
            // Closed at once: whoever has a connection keeps it.
            count(&counts.connections_refused);
            continue;
        };
        let router = router.clone().layer(Extension(Peer(peer.ip())));
        let tls = tls.clone();
        tokio::spawn(async move {
            // How a connection ends is its client's business.
            let _ = serve(stream, tls, router).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => answer(stream, router).await,
        Some(tls) => answer(timeout(TLS_TIME_MAX, tls.accept(stream)).await??, router).await,
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
) -> io::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEAD_LINES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream)), TowerToHyperService::new(router))
        .await
        .map_err(io::Error::other)
}

/// Connections of each address.
#[derive(Clone, Debug, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place, free again when it is dropped.
struct Place {
    address: IpAddr,
    addresses: Addresses,
    _place: OwnedSemaphorePermit,
}

impl Addresses {
    fn enter(&self, address: IpAddr, place: OwnedSemaphorePermit) -> Option<Place> {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = addresses.entry(address).or_insert(0);
        if *connections >= CONNECTIONS_PER_ADDRESS_MAX && !address.is_loopback() {
            return None;
        }
        *connections += 1;
        Some(Place { address, addresses: self.clone(), _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = addresses.get_mut(&self.address) {
            *connections -= 1;
            if *connections == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}
