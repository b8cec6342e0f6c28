//! A connection that is kept between messages, in the clear or by TLS.
//!
//! TCP alone never says whether the other side took what was written. What can be known is looked at before each write: a
//! connection that the other side has closed, or on which it wrote what is no TLS, is made anew.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::alert::settings::HostPort;

/// A connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<ClientConnection>, TcpStream),
}

impl Stream {
    pub(super) fn connect(
        to: &HostPort,
        tls: Option<&Arc<ClientConfig>>,
        timeout: Duration,
    ) -> io::Result<Self> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in (to.host.as_str(), to.port).to_socket_addrs()? {
            let connected = TcpStream::connect_timeout(&address, timeout).and_then(|socket| {
                socket.set_write_timeout(Some(timeout))?;
                socket.set_read_timeout(Some(timeout))?;
                socket.set_nodelay(true)?;
                Self::over(socket, to, tls)
            });
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn over(mut socket: TcpStream, to: &HostPort, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(to.host.clone()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(session), socket))
    }

    /// Writes all of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(session, socket) => {
                let mut stream = rustls::Stream::new(session.as_mut(), socket);
                stream.write_all(bytes)?;
                stream.flush()
            }
        }
    }

    /// Whether the other side is still there, as far as it has told.
    pub(super) fn is_open(&mut self) -> bool {
        let (Self::Plain(socket) | Self::Tls(_, socket)) = &*self;
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let is_open = match self {
            Self::Plain(socket) => drained(socket),
            Self::Tls(session, socket) => is_session_open(session, socket),
        };
        let (Self::Plain(socket) | Self::Tls(_, socket)) = &*self;
        is_open && socket.set_nonblocking(false).is_ok()
    }
}

/// What a syslog receiver says is nothing to us; that it says no more is.
fn drained(socket: &mut TcpStream) -> bool {
    let mut bytes = [0; 512];
    // So that one that talks without end does not hold us up.
    for _ in 0..64 {
        match socket.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    false
}

fn is_session_open(session: &mut ClientConnection, socket: &mut TcpStream) -> bool {
    for _ in 0..64 {
        match session.read_tls(socket) {
            Ok(0) => return false,
            Ok(_) => match session.process_new_packets() {
                Ok(state) if !state.peer_has_closed() => {
                    let mut bytes = vec![0; state.plaintext_bytes_to_read()];
                    // It is there already.
                    let _ = session.reader().read(&mut bytes);
                }
                _ => return false,
            },
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    false
}

/// Whom to trust: authorities of a file, or the host's.
pub(super) fn tls(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
                roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
            }
        }
        None => _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
    }
    if roots.is_empty() {
        return Err("no certificate authority is there to be trusted: name a ca_file (PEM)".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
