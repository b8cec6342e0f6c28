//! Frames whose bytes are known from their number, for tests of sources.

use crate::netns::{CLIENT_IFACE, CLIENT_MAC, Lab, SERVER_MAC, Side};
use crate::packet_socket::{BATCH_FRAMES, Batch, PacketSocket};
use crate::syn_frame::FRAME_BYTES_MAX;

/// IEEE's EtherType for experiments: nothing else on the link has it.
pub const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// Frame number `number`: lengths from 60 bytes on, and contents that depend on it.
pub fn frame(number: u32) -> Vec<u8> {
    let len = 60 + number as usize % (FRAME_BYTES_MAX - 59);
    let mut frame = [&SERVER_MAC[..], &CLIENT_MAC, &EXPERIMENT, &number.to_be_bytes()].concat();
    frame.extend((frame.len()..len).map(|offset| (number as usize * 31 + offset) as u8));
    frame
}

/// Sends so many batches of them from the lab's client to its server, from number 0 on.
///
/// # Panics
/// Where the link does not take them all.
#[expect(clippy::expect_used, reason = "a helper of tests fails as tests do")]
pub fn send(lab: &Lab, batches: usize) {
    let send = || {
        let socket = PacketSocket::open(CLIENT_IFACE).expect("root may open packet sockets");
        let mut batch = Batch::default();
        let mut number = 0;
        for _ in 0..batches {
            batch.fill(BATCH_FRAMES, |bytes| {
                let frame = frame(number);
                number += 1;
                bytes[..frame.len()].copy_from_slice(&frame);
                frame.len()
            });
            let sent = socket.send(&mut batch).expect("the link is up");
            assert_eq!(sent.accepted, BATCH_FRAMES as u64);
        }
    };
    lab.inside(Side::Client, send).expect("the lab is there");
}
