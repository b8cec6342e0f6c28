//! A TCP connection across a lab whose two sockets its maker holds, so that the kernel can be asked about them while they
//! are open: transfers, questions and answers, an orderly end.
//!
//! Blocking sockets of the kernel, no threads of its own beyond a call. What hangs in the network hangs here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::{Context, Result, anyhow, ensure};
use socket2::SockRef;

use crate::netns::{Lab, SERVER_V4, Side};

/// Where the server listens.
pub const PORT: u16 = 5_201;
const CHUNK_BYTES: usize = 64 << 10;
const MESSAGE_BYTES: usize = 64;

/// A connection's two sockets.
#[derive(Debug)]
pub struct Connection {
    /// The one that connected.
    pub client: TcpStream,
    /// The one that was accepted.
    pub server: TcpStream,
}

/// A listener of the server's side.
///
/// # Errors
/// Where the namespace cannot be entered or the port is taken.
pub fn listen(lab: &Lab) -> Result<TcpListener> {
    lab.inside(Side::Server, || TcpListener::bind((SERVER_V4, PORT)))?.context("listen in the lab")
}

/// A connection from the client's side. A socket stays in the namespace in which it was made.
///
/// # Errors
/// Where the namespace cannot be entered, or nobody answers.
pub fn connect(lab: &Lab, listener: &TcpListener) -> Result<Connection> {
    let client = lab.inside(Side::Client, || TcpStream::connect((SERVER_V4, PORT)))?;
    let client = client.context("connect in the lab")?;
    let (server, _) = listener.accept().context("accept in the lab")?;
    Ok(Connection { client, server })
}

impl Connection {
    /// The sender's socket, then the receiver's.
    pub const fn from(&self, sender: Side) -> (&TcpStream, &TcpStream) {
        match sender {
            Side::Client => (&self.client, &self.server),
            Side::Server => (&self.server, &self.client),
        }
    }

    /// Bounds what may be on the way, both ways.
    ///
    /// # Errors
    /// The operating system's.
    pub fn limit_send_buffers(&self, bytes: usize) -> io::Result<()> {
        [&self.client, &self.server]
            .into_iter()
            .try_for_each(|socket| SockRef::from(socket).set_send_buffer_size(bytes))
    }

    /// Sends so many bytes from one side, and reads all of them on the other.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub fn transfer(&self, sender: Side, bytes: usize) -> Result<()> {
        let (from, to) = self.from(sender);
        std::thread::scope(|scope| {
            let sending = scope.spawn(move || send(from, bytes));
            receive(to, bytes).context("receive")?;
            sending.join().map_err(|_| anyhow!("the sender panicked"))?.context("send")
        })
    }

    /// Questions from the client, each answered by the server when it has it.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub fn ask(&self, times: u32) -> io::Result<()> {
        let (mut client, mut server) = (&self.client, &self.server);
        let mut message = [b'?'; MESSAGE_BYTES];
        for socket in [client, server] {
            socket.set_nodelay(true)?;
        }
        for _ in 0..times {
            client.write_all(&message)?;
            server.read_exact(&mut message)?;
            server.write_all(&message)?;
            client.read_exact(&mut message)?;
        }
        Ok(())
    }

    /// An orderly end: both sides' FIN, acknowledged.
    ///
    /// # Errors
    /// Where the connection breaks, or something unread is left in it.
    pub fn close(mut self) -> Result<()> {
        self.client.shutdown(Shutdown::Write)?;
        ensure!(self.server.read(&mut [0])? == 0, "the client sent more than was read");
        self.server.shutdown(Shutdown::Write)?;
        ensure!(self.client.read(&mut [0])? == 0, "the server sent more than was read");
        Ok(())
    }
}

fn send(mut socket: &TcpStream, bytes: usize) -> io::Result<()> {
    let chunk = vec![b'.'; CHUNK_BYTES];
    (0..bytes)
        .step_by(CHUNK_BYTES)
        .try_for_each(|start| socket.write_all(&chunk[..CHUNK_BYTES.min(bytes - start)]))
}

fn receive(mut socket: &TcpStream, bytes: usize) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let most = left.min(CHUNK_BYTES);
        match socket.read(&mut chunk[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => left -= count,
        }
    }
    Ok(())
}
