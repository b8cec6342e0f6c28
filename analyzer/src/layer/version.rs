//! Protocol versions seen, and how mixed they are.
//!
//! A fixed list: what is not on it counts as the "other" one of its protocol, so that hostile bytes cannot grow it.

/// Versions told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[expect(missing_docs, reason = "the names are the versions")]
pub enum Version {
    Ssl3,
    Tls10,
    Tls11,
    Tls12,
    Tls13,
    TlsOther,
    Http10,
    Http11,
    Http2,
    HttpOther,
    QuicV1,
    QuicV2,
    QuicDraft,
    QuicGoogle,
    QuicOther,
}

impl Version {
    /// All of them, in memory order.
    pub const ALL: [Self; 15] = [
        Self::Ssl3,
        Self::Tls10,
        Self::Tls11,
        Self::Tls12,
        Self::Tls13,
        Self::TlsOther,
        Self::Http10,
        Self::Http11,
        Self::Http2,
        Self::HttpOther,
        Self::QuicV1,
        Self::QuicV2,
        Self::QuicDraft,
        Self::QuicGoogle,
        Self::QuicOther,
    ];

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssl3 => "SSL 3.0",
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
            Self::TlsOther => "TLS other",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::HttpOther => "HTTP other",
            Self::QuicV1 => "QUIC v1",
            Self::QuicV2 => "QUIC v2",
            Self::QuicDraft => "QUIC draft",
            Self::QuicGoogle => "gQUIC",
            Self::QuicOther => "QUIC other",
        }
    }

    /// The object whose `versions` it is printed in.
    pub const fn group(self) -> super::counter::Group {
        use super::counter::Group;
        match self {
            Self::Ssl3 | Self::Tls10 | Self::Tls11 | Self::Tls12 | Self::Tls13 | Self::TlsOther => Group::Tls,
            Self::Http10 | Self::Http11 | Self::Http2 | Self::HttpOther => Group::Http,
            Self::QuicV1 | Self::QuicV2 | Self::QuicDraft | Self::QuicGoogle | Self::QuicOther => Group::Quic,
        }
    }

    /// The TLS version of this number on the wire (RFC 8446 section 4.2.1; drafts of 1.3 count as 1.3).
    pub const fn of_tls(number: u16) -> Self {
        match number {
            0x0300 => Self::Ssl3,
            0x0301 => Self::Tls10,
            0x0302 => Self::Tls11,
            0x0303 => Self::Tls12,
            0x0304 | 0x7f00..=0x7fff => Self::Tls13,
            _ => Self::TlsOther,
        }
    }

    /// The QUIC version of this number (RFC 9000 section 15, RFC 9369, Google's `Q0xx` and `T0xx`).
    pub const fn of_quic(number: u32) -> Self {
        match number {
            0x0000_0001 => Self::QuicV1,
            0x6b33_43cf => Self::QuicV2,
            0xff00_0000..=0xff00_00ff => Self::QuicDraft,
            // "Q0", "T0".
            0x5130_0000..=0x5130_ffff | 0x5430_0000..=0x5430_ffff => Self::QuicGoogle,
            _ => Self::QuicOther,
        }
    }
}

/// Classes of TCP options that the caller may tell apart.
pub const TCP_CLASSES: usize = 16;

/// Counts by version: TLS as negotiated, HTTP by message, QUIC by first Initial or negotiation, and TCP's options by
/// a class that is the caller's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    by_version: [u64; Version::ALL.len()],
    /// SYN segments by the class of their options; the classes are the caller's.
    pub tcp_classes: [u64; TCP_CLASSES],
}

impl Versions {
    /// Counts one.
    pub const fn add(&mut self, version: Version) {
        self.by_version[version as usize] += 1;
    }

    /// How often it was seen.
    pub const fn get(&self, version: Version) -> u64 {
        self.by_version[version as usize]
    }

    /// Adds another interval's counts.
    pub fn merge(&mut self, other: &Self) {
        let own = self.by_version.iter_mut().chain(&mut self.tcp_classes);
        for (own, more) in own.zip(other.by_version.iter().chain(&other.tcp_classes)) {
            *own += more;
        }
    }

    /// Shannon entropy of all versions together, bits: 0 where all is one, `None` where nothing was seen.
    pub fn entropy_bits(&self) -> Option<f64> {
        let counts = self.by_version.iter().chain(&self.tcp_classes);
        let total = counts.clone().sum::<u64>() as f64;
        if total == 0.0 {
            return None;
        }
        let bits = |count: &u64| {
            let share = *count as f64 / total;
            -share * share.log2()
        };
        // A lone version gives -0.
        Some(counts.filter(|count| **count != 0).map(bits).sum::<f64>().max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_zero_for_one_version_and_a_bit_for_two_equals() {
        let mut versions = Versions::default();
        assert_eq!(versions.entropy_bits(), None);
        versions.add(Version::Tls12);
        assert_eq!(versions.entropy_bits(), Some(0.0));
        versions.add(Version::QuicV1);
        assert_eq!(versions.entropy_bits(), Some(1.0));
        versions.tcp_classes[3] = 2;
        assert_eq!(versions.entropy_bits(), Some(1.5));
    }

    #[test]
    fn every_version_has_its_own_place() {
        for (place, version) in Version::ALL.iter().enumerate() {
            assert_eq!(*version as usize, place);
        }
        assert_eq!(Version::of_tls(0x7f1c), Version::Tls13);
        assert_eq!(Version::of_quic(0x5130_3436), Version::QuicGoogle);
        assert_eq!(Version::of_quic(0x0a0a_0a0a), Version::QuicOther);
    }
}
