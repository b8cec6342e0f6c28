//! ethtool's requests: driver, queues, offloads, statistics by name (linux/ethtool.h). Those used here only look, and
//! anybody may make them.
//!
//! The kernel writes as much as the driver has, not as much as there is room for: what varies is asked for first, and a
//! driver that grows in between (queues added) is asked again.
#![expect(unsafe_code, reason = "an ioctl that takes a pointer within a structure")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};

const GET_DRIVER: u32 = 0x03;
const GET_RING: u32 = 0x10;
const GET_STRINGS: u32 = 0x1b;
const GET_STATISTICS: u32 = 0x1d;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const GET_CHANNELS: u32 = 0x3c;
/// Sets of strings.
const SET_STATISTICS: u32 = 1;
const SET_FEATURES: u32 = 4;
/// Bytes of a name.
const NAME_BYTES: usize = 32;
/// Statistics and features that are asked for at most: drivers with a thousand queues stay below.
const NAMES_MAX: u32 = 65_536;
/// Names and values beyond the known number, for queues that come in between.
const SPARE: u32 = 1_024;

/// A way to ask.
pub struct Ethtool {
    socket: OwnedFd,
    request: libc::ifreq,
    /// Names of the statistics, which do not change while the number stays.
    names: Vec<String>,
}

/// RX and combined queues in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Queues that receive.
    pub rx_queues: u32,
    /// The most the driver has.
    pub rx_queues_max: u32,
}

/// Frames that the NIC can put down before the host takes them, per queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxRing {
    /// In use.
    pub frames: u32,
    /// The most the driver has.
    pub frames_max: u32,
}

impl Ethtool {
    /// Asks of the interface of this name.
    ///
    /// # Errors
    /// Where no socket can be opened.
    pub fn open(name: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
        // SAFETY: a structure of integers and a union of such and a pointer: zeros are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
            *to = from as libc::c_char;
        }
        Ok(Self { socket, request, names: Vec::new() })
    }

    /// Makes the request that `words` begins with; the answer is in its place.
    ///
    /// `words` must have room for all that the kernel writes to this request.
    fn ask(&self, words: &mut [u32]) -> io::Result<()> {
        let mut request = self.request;
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the request and what it points to are ours and outlive the call. The callers make `words` as large as
        // the structure of their request, with `SPARE` for what a driver may have added since it was asked for its
        // number.
        let result =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The driver's name.
    ///
    /// # Errors
    /// EOPNOTSUPP where it has none.
    pub fn driver(&self) -> io::Result<String> {
        // `ethtool_drvinfo` is 196 bytes; the name is its second field.
        let mut words = [0; 64];
        words[0] = GET_DRIVER;
        self.ask(&mut words)?;
        Ok(text(&words[1..1 + NAME_BYTES / 4]))
    }

    /// Queues.
    ///
    /// # Errors
    /// EOPNOTSUPP where the driver does not tell.
    pub fn channels(&self) -> io::Result<Channels> {
        // `ethtool_channels`: four maxima (rx, tx, other, combined), then as many that are in use.
        let mut words = [0; 16];
        words[0] = GET_CHANNELS;
        self.ask(&mut words)?;
        Ok(Channels { rx_queues: words[5] + words[8], rx_queues_max: words[1] + words[4] })
    }

    /// The RX queues' rings.
    ///
    /// # Errors
    /// EOPNOTSUPP where the driver does not tell.
    pub fn rx_ring(&self) -> io::Result<RxRing> {
        // `ethtool_ringparam`: four maxima (rx, rx mini, rx jumbo, tx), then as many that are in use.
        let mut words = [0; 16];
        words[0] = GET_RING;
        self.ask(&mut words)?;
        Ok(RxRing { frames: words[5], frames_max: words[1] })
    }

    /// Whether an offload is on, by ethtool's long names (`rx-lro`); `None` where it is not known here.
    pub fn feature(&self, name: &str) -> Option<bool> {
        let names = self.strings(SET_FEATURES).ok()?;
        let index = names.iter().position(|known| known == name)?;
        let blocks = names.len().div_ceil(32);
        // `ethtool_gfeatures`: per 32 features what is available, requested, active and never changed.
        let mut words = vec![0; 2 + blocks * 4];
        (words[0], words[1]) = (GET_FEATURES, blocks as u32);
        self.ask(&mut words).ok()?;
        Some(words[2 + index / 32 * 4 + 2] >> (index % 32) & 1 != 0)
    }

    /// The driver's own statistics.
    ///
    /// # Errors
    /// EOPNOTSUPP where it has none.
    pub fn statistics(&mut self) -> io::Result<Vec<(&str, u64)>> {
        let count = self.number_of(SET_STATISTICS)?;
        if count as usize != self.names.len() {
            self.names = self.strings(SET_STATISTICS)?;
        }
        // `ethtool_stats`: a number of values of 64 bits.
        let mut words = vec![0; 2 + (count + SPARE) as usize * 2];
        (words[0], words[1]) = (GET_STATISTICS, count);
        self.ask(&mut words)?;
        let values = words[2..].chunks_exact(2).map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32);
        let values =
            values.map(|value| if cfg!(target_endian = "big") { value.rotate_left(32) } else { value });
        Ok(self.names.iter().map(String::as_str).zip(values).collect())
    }

    fn strings(&self, set: u32) -> io::Result<Vec<String>> {
        let count = self.number_of(set)?;
        // `ethtool_gstrings`: the set, the number, the names.
        let mut words = vec![0; 3 + (count + SPARE) as usize * NAME_BYTES / 4];
        (words[0], words[1], words[2]) = (GET_STRINGS, set, count);
        self.ask(&mut words)?;
        Ok(words[3..].chunks_exact(NAME_BYTES / 4).take(count as usize).map(text).collect())
    }

    fn number_of(&self, set: u32) -> io::Result<u32> {
        // `ethtool_sset_info`: a mask of sets, and the size of each that is known.
        let mut words = [0; 8];
        (words[0], words[2]) = (GET_SET_INFO, 1 << set);
        self.ask(&mut words)?;
        if words[2] == 0 {
            Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
        } else {
            Ok(words[4].min(NAMES_MAX))
        }
    }
}

/// Text up to the first zero.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> =
        words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_answers() {
        let mut ethtool = Ethtool::open("lo").expect("sockets are to be had");
        assert!(ethtool.feature("tx-checksum-ip-generic").is_some() || ethtool.feature("rx-gro").is_some());
        assert_eq!(ethtool.feature("no such feature"), None);
        // It has no statistics of its own.
        assert!(ethtool.statistics().is_err());
    }
}
