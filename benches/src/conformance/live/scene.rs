//! The scenes: what the network does, and what is said across it.

use std::time::Duration;

use tidegauge_tests::middlebox::{Affected, Impairment};

/// What a round trip of 4 ms has on its way at most; the box keeps up with that.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// For long ways.
const SEND_BUFFER_LONG_BYTES: usize = 512 << 10;
const SHORT_WAY: Duration = Duration::from_millis(2);
const LONG_WAY: Duration = Duration::from_millis(20);
/// By how much a segment that is overtaken is late: more than the gap to its followers, less than a round trip.
const OVERTAKEN_BY: Duration = Duration::from_millis(1);
const BULK_BYTES: usize = 3_000_000;
const BULK_CONNECTIONS: usize = 2;
const QUESTIONS: u32 = 300;
const ASK_CONNECTIONS: usize = 2;

/// What is said.
#[derive(Clone, Copy, Debug)]
pub enum Traffic {
    /// The server sends.
    Bulk {
        /// In each connection.
        bytes: usize,
        /// One after the other.
        connections: usize,
        /// Bounds what is on the way.
        send_buffer_bytes: usize,
    },
    /// The client asks, the server answers, a segment each.
    Ask {
        /// In each connection.
        questions: u32,
        /// One after the other.
        connections: usize,
    },
}

impl Traffic {
    /// How many connections.
    pub const fn connections(&self) -> usize {
        match *self {
            Self::Bulk { connections, .. } | Self::Ask { connections, .. } => connections,
        }
    }
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// In tables.
    pub name: &'static str,
    /// Of each way.
    pub impairment: Impairment,
    /// See there.
    pub traffic: Traffic,
}

const BULK: Traffic =
    Traffic::Bulk { bytes: BULK_BYTES, connections: BULK_CONNECTIONS, send_buffer_bytes: SEND_BUFFER_BYTES };
const BULK_LONG: Traffic = Traffic::Bulk {
    bytes: BULK_BYTES,
    connections: BULK_CONNECTIONS,
    send_buffer_bytes: SEND_BUFFER_LONG_BYTES,
};
const ASK: Traffic = Traffic::Ask { questions: QUESTIONS, connections: ASK_CONNECTIONS };

const fn lossy(per_mille: u32, delay: Duration) -> Impairment {
    Impairment {
        delay,
        affected: Affected::All,
        dropped_per_mille: per_mille,
        doubled_per_mille: 0,
        overtaken_per_mille: 0,
        overtaken_by: OVERTAKEN_BY,
    }
}

const LOSS_1: Impairment = lossy(10, SHORT_WAY);
const LOSS_5: Impairment = lossy(50, SHORT_WAY);
const OVERTAKEN: Impairment = Impairment { overtaken_per_mille: 20, ..lossy(0, SHORT_WAY) };
const DOUBLED: Impairment = Impairment { doubled_per_mille: 20, ..lossy(0, SHORT_WAY) };
const ALL_SHORT: Impairment = Impairment { overtaken_per_mille: 10, doubled_per_mille: 10, ..LOSS_1 };
const ALL_LONG: Impairment = Impairment { delay: LONG_WAY, ..ALL_SHORT };

/// All of them.
pub const SCENES: [Scene; 12] = [
    Scene { name: "bulk, 1 % lost", impairment: LOSS_1, traffic: BULK },
    Scene { name: "bulk, 5 % lost", impairment: LOSS_5, traffic: BULK },
    Scene { name: "bulk, 2 % overtaken by 1 ms", impairment: OVERTAKEN, traffic: BULK },
    Scene { name: "bulk, 2 % doubled", impairment: DOUBLED, traffic: BULK },
    Scene { name: "bulk, 20 ms each way", impairment: lossy(0, LONG_WAY), traffic: BULK_LONG },
    Scene { name: "bulk, 1 % lost, 20 ms", impairment: lossy(10, LONG_WAY), traffic: BULK_LONG },
    Scene { name: "bulk, 1 % each, 2 ms", impairment: ALL_SHORT, traffic: BULK },
    Scene { name: "bulk, 1 % each, 20 ms", impairment: ALL_LONG, traffic: BULK_LONG },
    Scene { name: "questions, 1 % lost", impairment: LOSS_1, traffic: ASK },
    Scene { name: "questions, 5 % lost", impairment: LOSS_5, traffic: ASK },
    Scene { name: "questions, 2 % doubled", impairment: DOUBLED, traffic: ASK },
    Scene { name: "questions, 1 % each", impairment: ALL_SHORT, traffic: ASK },
];

/// Small ones for a test: seconds each.
pub const SMALL: [Scene; 2] = [
    Scene {
        name: "small bulk, 2 % lost",
        impairment: lossy(20, SHORT_WAY),
        traffic: Traffic::Bulk { bytes: 1_000_000, connections: 1, send_buffer_bytes: SEND_BUFFER_BYTES },
    },
    Scene {
        name: "small questions, 3 % lost, 3 % doubled",
        impairment: Impairment { doubled_per_mille: 30, ..lossy(30, SHORT_WAY) },
        traffic: Traffic::Ask { questions: 150, connections: 1 },
    },
];
