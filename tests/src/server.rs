//! A real TCP server on kernel sockets: it answers and closes, sends much, or reads all, fast or slowly.
//!
//! Blocking worker threads share the listeners; a connection holds a worker for at most ten seconds of
//! silence. That is simple, and good for well over 5,000 short connections per second on two cores. Serves until it is
//! killed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

/// As common web servers: small enough for a flood to fill, so that SYN cookies answer the rest.
const BACKLOG: i32 = 511;
const IDLE_MAX: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 64 * 1024;
/// What a slow reader reads, how often, and the receive buffer that makes its window small.
const SLOW_CHUNK_BYTES: usize = 1_024;
const SLOW_PAUSE: Duration = Duration::from_millis(20);
const SLOW_RECEIVE_BUFFER_BYTES: usize = 4_096;

/// What a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Read a request, send this many bytes.
    Bulk {
        /// Bytes of the download.
        bytes: u64,
    },
    /// Read a small request, answer, close first.
    EchoClose {
        /// Bytes of the answer.
        answer_bytes: usize,
    },
    /// HTTP/1.1: `GET /BYTES` is answered with so many, over a connection that stays open unless asked otherwise.
    Http,
    /// Read everything as fast as it comes.
    Sink,
    /// Read everything slowly from a small buffer: small and zero windows.
    SlowSink,
}

/// Opens all listeners, tells `ready` their addresses, and serves with `workers` threads on each until killed.
///
/// # Errors
/// When an address cannot be listened on.
pub fn serve(
    addresses: &[SocketAddr],
    mode: Mode,
    workers: usize,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<()> {
    ensure!(!addresses.is_empty() && workers > 0, "a server needs an address and a worker");
    let listeners = addresses
        .iter()
        .map(|address| listen(*address, mode).with_context(|| format!("listen on {address}")))
        .collect::<Result<Vec<_>>>()?;
    let bound = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    ready(&bound);
    thread::scope(|scope| {
        for listener in &listeners {
            for _ in 0..workers {
                scope.spawn(move || accept_forever(listener, mode));
            }
        }
    });
    Ok(())
}

fn listen(address: SocketAddr, mode: Mode) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if mode == Mode::SlowSink {
        // Before listening, so that already the SYN-ACK offers the small window.
        socket.set_recv_buffer_size(SLOW_RECEIVE_BUFFER_BYTES)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn accept_forever(listener: &TcpListener, mode: Mode) {
    loop {
        match listener.accept() {
            // A client that goes away in the middle is the client's business.
            Ok((stream, _)) => drop(answer(stream, mode)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                eprintln!("accept: {error}");
                thread::sleep(SLOW_PAUSE);
            }
        }
    }
}

fn answer(mut stream: TcpStream, mode: Mode) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.set_write_timeout(Some(IDLE_MAX))?;
    match mode {
        Mode::Bulk { bytes } => {
            read_request(&mut stream)?;
            send(&mut stream, bytes)
        }
        Mode::EchoClose { answer_bytes } => {
            read_request(&mut stream)?;
            send(&mut stream, answer_bytes as u64)
        }
        Mode::Http => serve_http(&mut stream),
        Mode::Sink => read_all(&mut stream, &mut vec![0; CHUNK_BYTES], Duration::ZERO),
        Mode::SlowSink => read_all(&mut stream, &mut [0; SLOW_CHUNK_BYTES], SLOW_PAUSE),
    }
}

/// Requests fit one segment. Nothing of them may stay unread, or the close would become a reset.
fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0; 2_048])? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Answers requests without bodies, one after the other, until the client closes or wants it closed.
fn serve_http(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; 2_048];
    loop {
        let count = stream.read(&mut head)?;
        if count == 0 {
            return Ok(());
        }
        let request = String::from_utf8_lossy(&head[..count]);
        let bytes = body_bytes(&request);
        let is_last = request.contains("Connection: close");
        let connection = if is_last { "close" } else { "keep-alive" };
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\nConnection: {connection}\r\n\r\n");
        stream.write_all(answer.as_bytes())?;
        send(stream, bytes)?;
        if is_last {
            return Ok(());
        }
    }
}

/// The number that is the path of a request; 0 where it is none.
fn body_bytes(request: &str) -> u64 {
    let path = request.split(' ').nth(1).and_then(|path| path.strip_prefix('/'));
    path.and_then(|path| path.parse().ok()).unwrap_or_default()
}

/// Sends `bytes` bytes of filler.
pub(crate) fn send(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    static FILLER: [u8; CHUNK_BYTES] = [b'.'; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(CHUNK_BYTES as u64);
        stream.write_all(&FILLER[..count as usize])?;
        left -= count;
    }
    Ok(())
}

fn read_all(stream: &mut TcpStream, buffer: &mut [u8], pause: Duration) -> io::Result<()> {
    while stream.read(buffer)? > 0 {
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_request_is_the_length_of_its_answer() {
        assert_eq!(body_bytes("GET /512 HTTP/1.1\r\n\r\n"), 512);
        assert_eq!(body_bytes("GET / HTTP/1.1\r\n\r\n"), 0);
        assert_eq!(body_bytes("x"), 0);
    }
}
