//! Frames that no host would send: real ones with bytes, lengths and header fields changed, and cut anywhere.

use tidegauge_tests::random::Random;

/// Where headers are, and so most mutations.
const HEADER_BYTES: u32 = 96;
/// Bytes that steer parsers: first bytes of IP and TCP headers, protocol numbers, halves of EtherTypes, limits.
const BYTES: [u8; 24] = [
    0x00, 0x01, 0x04, 0x06, 0x08, 0x11, 0x29, 0x2b, 0x2c, 0x33, 0x3c, 0x40, 0x45, 0x46, 0x4f, 0x50, 0x5f,
    0x60, 0x7f, 0x80, 0x81, 0x86, 0xdd, 0xff,
];
const ETHER_TYPES: [u16; 10] =
    [0x0800, 0x86dd, 0x8100, 0x88a8, 0x9100, 0x0806, 0x8847, 0x8864, 0x05ff, 0x0600];
/// SYN, SYN-ACK, ACK, PSH-ACK, FIN-ACK, RST, RST-ACK, SYN-FIN, none.
const FLAGS: [u8; 9] = [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x03, 0x00];
/// Offset of the EtherType, and of fields of TCP over IPv4 without options.
const ETHER_TYPE: usize = 12;
const IP_LENGTH: usize = 16;
const TCP_FLAGS: usize = 14 + 20 + 13;
/// An Ethernet header, below which the kernel takes no frame.
const FRAME_BYTES_MIN: u32 = 14;

/// Makes one frame after the other, each a mutation of a seed frame, on a clock that mostly advances.
pub(crate) struct Mutator {
    random: Random,
    ts_ns: u64,
    frame: Vec<u8>,
}

impl Mutator {
    pub(crate) const fn new(random: Random) -> Self {
        Self { random, ts_ns: 0, frame: Vec::new() }
    }

    /// The next frame and its time.
    pub(crate) fn next(&mut self, seeds: &[Vec<u8>]) -> (u64, &[u8]) {
        self.advance_clock();
        // One in eight is the last frame once more, changed again: neighbours in the tables.
        if self.frame.len() < FRAME_BYTES_MIN as usize || self.random.below(8) != 0 {
            let seed = &seeds[self.random.below(seeds.len() as u32) as usize];
            self.frame.clear();
            self.frame.extend(seed);
        }
        for _ in 0..=self.random.below(3) {
            self.mutate();
        }
        (self.ts_ns, &self.frame)
    }

    /// Steps of up to 2 ms, and now and then a timeout's length or a step back.
    fn advance_clock(&mut self) {
        self.ts_ns = match self.random.below(2_000) {
            0 => self.ts_ns + 400_000_000_000,
            1..3 => self.ts_ns + 6_000_000_000,
            3..8 => self.ts_ns.saturating_sub(1_000_000_000),
            _ => self.ts_ns + u64::from(self.random.below(2_000_000)),
        };
    }

    fn mutate(&mut self) {
        let offset = self.random.below(HEADER_BYTES) as usize;
        match self.random.below(10) {
            0 => {
                let len = FRAME_BYTES_MIN + self.random.below(HEADER_BYTES);
                self.frame.truncate(len as usize);
            }
            1 => {
                let len = self.random.below(self.frame.len() as u32 + 1);
                self.frame.truncate(len as usize);
            }
            2 => {
                let byte = self.random.next_u32() as u8;
                self.set(offset, &[byte]);
            }
            3 => {
                let byte = self.pick(&BYTES);
                self.set(offset, &[byte]);
            }
            4 => {
                let ether_type = self.pick(&ETHER_TYPES);
                self.set(ETHER_TYPE, &ether_type.to_be_bytes());
            }
            5 => {
                let flags = self.pick(&FLAGS);
                self.set(TCP_FLAGS, &[flags]);
            }
            6 => {
                let length = self.random.next_u32() as u16;
                self.set(IP_LENGTH, &length.to_be_bytes());
            }
            7 => self.flip(offset),
            // Up to more tags than a walk passes.
            8 => (0..=self.random.below(4) * 4).for_each(|_| self.insert_tag()),
            // As it is: mutated frames meet the state of whole ones.
            _ => {}
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u32) as usize]
    }

    fn set(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(field) = self.frame.get_mut(offset..offset + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }

    fn flip(&mut self, offset: usize) {
        let bit = self.random.below(8);
        if let Some(byte) = self.frame.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    /// Another VLAN tag in front of the payload.
    fn insert_tag(&mut self) {
        if self.frame.len() >= FRAME_BYTES_MIN as usize {
            self.frame.splice(ETHER_TYPE..ETHER_TYPE, [0x81, 0x00, 0x00, 0x07]);
        }
    }
}
