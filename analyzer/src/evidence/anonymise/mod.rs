//! Addresses under a key, prefix-preserving: two addresses that share their first n bits share exactly n afterwards.
//!
//! Crypto-PAn (Xu, Fan, Ammar, Moon: Prefix-preserving IP address anonymization, ICNP 2002) with AES-128 as its cipher,
//! over 32 bits for IPv4 and 128 for IPv6. It is a bijection for each key; multicast, private and loopback addresses are
//! mapped like any other. What it does not hide: who knows one real address and its image knows the prefixes of its
//! neighbours, and patterns of traffic stay. Ports, times and lengths are as they were.

mod frame;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// Bytes of a key: a cipher's key, and what is enciphered to become the padding.
pub const KEY_BYTES: usize = 32;

/// The mapping of one key.
pub struct Anonymiser {
    cipher: Aes128,
    pad: u128,
}

impl Anonymiser {
    /// The mapping of this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (cipher_key, pad) = key.split_at(KEY_BYTES / 2);
        let (mut first, mut second) = ([0; 16], [0; 16]);
        first.copy_from_slice(cipher_key);
        second.copy_from_slice(pad);
        let cipher = Aes128::new(&first.into());
        let pad = encipher(&cipher, u128::from_be_bytes(second));
        Self { cipher, pad }
    }

    /// The image of an address.
    pub fn address(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(self.ipv4(address.to_bits()))),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(self.bits(address.to_bits(), 128))),
        }
    }

    /// The image of the network that the address begins.
    pub fn network(&self, address: IpAddr, prefix_bits: u8) -> IpAddr {
        match self.address(address) {
            IpAddr::V4(image) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(image.to_bits() & mask))
            }
            IpAddr::V6(image) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix_bits.into())).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(image.to_bits() & mask))
            }
        }
    }

    fn ipv4(&self, address: u32) -> u32 {
        (self.bits(u128::from(address) << 96, 32) >> 96) as u32
    }

    /// The last three bytes of a hardware address; the first three are its maker's. Broadcast stays.
    fn hardware(&self, address: [u8; 6]) -> [u8; 6] {
        if address == [0xff; 6] || address == [0; 6] {
            return address;
        }
        let mut block = [0; 16];
        block[..6].copy_from_slice(&address);
        // Padded with ones, so that it is no block that an address' prefix gives, but for one in 2^80.
        block[6..].fill(0xff);
        let image = encipher(&self.cipher, u128::from_be_bytes(block) ^ self.pad).to_be_bytes();
        [address[0], address[1], address[2], image[0], image[1], image[2]]
    }

    /// Flips each of the first `count` bits by what the bits before it give.
    fn bits(&self, address: u128, count: u32) -> u128 {
        let mut flips = 0;
        for bit in 0..count {
            let before = u128::MAX.checked_shl(128 - bit).unwrap_or(0);
            let block = (address & before) | (self.pad & !before);
            flips |= (encipher(&self.cipher, block) >> 127) << (127 - bit);
        }
        address ^ flips
    }
}

fn encipher(cipher: &Aes128, block: u128) -> u128 {
    let mut block = block.to_be_bytes().into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of Crypto-PAn's own sample.
    pub(super) const SAMPLE_KEY: [u8; KEY_BYTES] = [
        21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16, 216, 152, 143, 131, 121, 121,
        101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
    ];

    #[test]
    fn the_sample_trace_is_mapped_as_its_authors_map_it() {
        let mapping = Anonymiser::new(&SAMPLE_KEY);
        for (real, image) in [
            ("128.11.68.132", "135.242.180.132"),
            ("129.118.74.4", "134.136.186.123"),
            ("130.132.252.244", "133.68.164.234"),
            ("141.223.7.43", "141.167.8.160"),
            ("192.102.249.13", "252.138.62.131"),
        ] {
            let real: IpAddr = real.parse().expect("an address");
            assert_eq!(mapping.address(real).to_string(), image);
        }
    }

    #[test]
    fn prefixes_are_kept_and_no_more_than_those() {
        let mapping = Anonymiser::new(&SAMPLE_KEY);
        let base = 0x2001_0db8_0001_0002_0003_0004_0005_0006_u128;
        for bit in 0..128 {
            let common =
                (mapping.bits(base, 128) ^ mapping.bits(base ^ (1 << (127 - bit)), 128)).leading_zeros();
            assert_eq!(common, bit);
        }
        let image = mapping.network("10.20.30.0".parse().expect("an address"), 24);
        let host = mapping.address("10.20.30.77".parse().expect("an address"));
        let (IpAddr::V4(image), IpAddr::V4(host)) = (image, host) else { panic!("IPv4 stays IPv4") };
        assert_eq!((image.octets()[..3].to_vec(), image.octets()[3]), (host.octets()[..3].to_vec(), 0));
    }
}
