//! Traffic whose sockets the test holds, so that the kernel can be asked about them; and the questions. What fails fails
//! the test.

use std::net::{TcpListener, TcpStream};

use tidegauge_tests::conversation::{self, Connection as Conversation};
use tidegauge_tests::kernel_tcp::{self, Counters};
use tidegauge_tests::netns::{Lab, Side};

/// Keeps a round trip of 4 ms below 100 packets. Where more than 256 come in a jiffy on one CPU, the kernel path judges a
/// packet that comes in with the next one on its CPU, and a veth pair, other than a receive queue, may change its CPU.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// A connection's two sockets.
pub(crate) struct Connection(Conversation);

/// A listener of the server's side.
pub(crate) fn listen(lab: &Lab) -> TcpListener {
    conversation::listen(lab).unwrap()
}

/// A connection from the client's side.
pub(crate) fn connect(lab: &Lab, listener: &TcpListener) -> Connection {
    let connection = connect_unlimited(lab, listener);
    connection.0.limit_send_buffers(SEND_BUFFER_BYTES).unwrap();
    connection
}

/// The same with the kernel's own limits.
pub(crate) fn connect_unlimited(lab: &Lab, listener: &TcpListener) -> Connection {
    Connection(conversation::connect(lab, listener).unwrap())
}

impl Connection {
    /// The sender's socket, then the receiver's.
    pub(crate) const fn from(&self, sender: Side) -> (&TcpStream, &TcpStream) {
        self.0.from(sender)
    }

    /// Sends so many bytes from one side, and reads all of them on the other.
    pub(crate) fn transfer(&self, sender: Side, bytes: usize) {
        self.0.transfer(sender, bytes).unwrap();
    }

    /// Questions from the client, each answered by the server when it has it.
    pub(crate) fn ask(&self, times: u32) {
        self.0.ask(times).unwrap();
    }

    /// An orderly end: both sides' FIN, acknowledged.
    pub(crate) fn close(self) {
        self.0.close().unwrap();
    }
}

/// One of the kernel's counters by `nstat`, since the namespace was made.
pub(crate) fn nstat(lab: &Lab, side: Side, counter: &str) -> u64 {
    Counters::of(lab, side).unwrap().get(counter).unwrap()
}

/// What `ss -tin` says of a side's established connections.
pub(crate) struct Ss(kernel_tcp::Ss);

impl Ss {
    pub(crate) fn of(lab: &Lab, side: Side) -> Self {
        Self(kernel_tcp::Ss::of(lab, side).unwrap())
    }

    /// The values of `name:value` by connection; of `a/b` both.
    pub(crate) fn values(&self, name: &str) -> Vec<Vec<f64>> {
        self.0.values(name)
    }

    /// Segments sent again, in all connections.
    pub(crate) fn retransmitted(&self) -> u64 {
        self.0.retransmitted()
    }
}
