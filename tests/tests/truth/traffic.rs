//! Traffic whose sockets the test holds, so that the kernel can be asked about them; and the questions.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use socket2::SockRef;
use tidegauge_tests::netns::{Lab, SERVER_V4, Side};

/// Where the server listens.
pub(crate) const PORT: u16 = 5_201;
const CHUNK_BYTES: usize = 64 << 10;

/// Keeps a round trip of 4 ms below 100 packets. Where more than 256 come in a jiffy on one CPU, the kernel path judges a
/// packet that comes in with the next one on its CPU, and a veth pair, other than a receive queue, may change its CPU.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// A connection's two sockets.
pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
}

/// A listener of the server's side.
pub(crate) fn listen(lab: &Lab) -> TcpListener {
    lab.inside(Side::Server, || TcpListener::bind((SERVER_V4, PORT))).unwrap().unwrap()
}

/// A connection from the client's side. A socket stays in the namespace in which it was made.
pub(crate) fn connect(lab: &Lab, listener: &TcpListener) -> Connection {
    let connection = connect_unlimited(lab, listener);
    for socket in [&connection.client, &connection.server] {
        SockRef::from(socket).set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    }
    connection
}

/// The same with the kernel's own limits.
pub(crate) fn connect_unlimited(lab: &Lab, listener: &TcpListener) -> Connection {
    let client = lab.inside(Side::Client, || TcpStream::connect((SERVER_V4, PORT))).unwrap().unwrap();
    let (server, _) = listener.accept().unwrap();
    Connection { client, server }
}

impl Connection {
    /// The sender's socket, then the receiver's.
    pub(crate) const fn from(&self, sender: Side) -> (&TcpStream, &TcpStream) {
        match sender {
            Side::Client => (&self.client, &self.server),
            Side::Server => (&self.server, &self.client),
        }
    }

    /// Sends so many bytes from one side, and reads all of them on the other.
    pub(crate) fn transfer(&self, sender: Side, bytes: usize) {
        let (mut from, mut to) = self.from(sender);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let chunk = vec![b'.'; CHUNK_BYTES];
                for start in (0..bytes).step_by(CHUNK_BYTES) {
                    from.write_all(&chunk[..CHUNK_BYTES.min(bytes - start)]).unwrap();
                }
            });
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut left = bytes;
            while left > 0 {
                let most = left.min(CHUNK_BYTES);
                left -= to.read(&mut chunk[..most]).unwrap();
            }
        });
    }

    /// Questions from the client, each answered by the server when it has it.
    pub(crate) fn ask(&self, times: u32) {
        let (mut client, mut server) = (&self.client, &self.server);
        let mut message = [b'?'; 64];
        for socket in [client, server] {
            socket.set_nodelay(true).unwrap();
        }
        for _ in 0..times {
            client.write_all(&message).unwrap();
            server.read_exact(&mut message).unwrap();
            server.write_all(&message).unwrap();
            client.read_exact(&mut message).unwrap();
        }
    }

    /// An orderly end: both sides' FIN, acknowledged.
    pub(crate) fn close(mut self) {
        self.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.server.read(&mut [0]).unwrap(), 0);
        self.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(self.client.read(&mut [0]).unwrap(), 0);
    }
}

/// One of the kernel's counters by `nstat`, since the namespace was made.
pub(crate) fn nstat(lab: &Lab, side: Side, counter: &str) -> u64 {
    let output = lab.command(side, "nstat").args(["-asz", counter]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(counter)?.split_whitespace().next());
    value.unwrap_or_else(|| panic!("nstat does not know {counter}: {text}")).parse().unwrap()
}

/// What `ss -tin` says of a side's established connections.
pub(crate) struct Ss(String);

impl Ss {
    pub(crate) fn of(lab: &Lab, side: Side) -> Self {
        let output = lab.command(side, "ss").args(["-tinH", "state", "established"]).output().unwrap();
        Self(String::from_utf8(output.stdout).unwrap())
    }

    /// The values of `name:value` by connection; of `a/b` both.
    pub(crate) fn values(&self, name: &str) -> Vec<Vec<f64>> {
        let words = self.0.split_whitespace();
        let values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
        values.map(|value| value.split('/').map(|part| part.parse().unwrap()).collect()).collect()
    }

    /// Segments sent again, in all connections.
    pub(crate) fn retransmitted(&self) -> u64 {
        self.values("retrans").iter().map(|both| both[1] as u64).sum()
    }
}
