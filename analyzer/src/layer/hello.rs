//! The two hellos of TLS (RFC 8446 sections 4.1.2 and 4.1.3, RFC 5246 section 7.4.1), as views of their bytes.
//!
//! By hand: three length prefixes and a list of extensions, of which few are looked at; nothing is copied.

/// Extensions that are looked at.
pub(super) const SERVER_NAME: u16 = 0;
pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;

/// The random bytes by which a ServerHello says that it is a HelloRetryRequest (RFC 8446 section 4.1.3): the first
/// eight of them suffice.
const RETRY_RANDOM: [u8; 8] = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];

/// Values that clients send to keep servers tolerant (RFC 8701): `0x?a?a` with equal bytes.
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// What is left to read.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// A part behind its length in one byte.
    pub(super) fn part8(&mut self) -> Option<&'a [u8]> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    /// A part behind its length in two bytes.
    pub(super) fn part16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

/// The extensions of a hello, in order.
#[derive(Clone, Copy)]
pub(super) struct Extensions<'a>(Rest<'a>);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.u16()?, self.0.part16()?))
    }
}

/// A list of numbers of two bytes.
pub(super) fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> + Clone {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

/// A ClientHello.
#[derive(Clone, Copy)]
pub(super) struct ClientHello<'a> {
    pub(super) legacy_version: u16,
    /// Numbers of two bytes.
    pub(super) ciphers: &'a [u8],
    pub(super) extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    /// From the bytes behind the message's header.
    pub(super) fn of(body: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(body);
        let legacy_version = rest.u16()?;
        rest.take(32)?;
        rest.part8()?;
        let ciphers = rest.part16()?;
        rest.part8()?;
        // Without the field there are no extensions (RFC 5246 section 7.4.1.2).
        let extensions = if rest.0.is_empty() { &[] } else { rest.part16()? };
        Some(Self { legacy_version, ciphers, extensions: Extensions(Rest(extensions)) })
    }

    pub(super) fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        self.extensions.into_iter().find(|(kind, _)| *kind == wanted).map(|(_, contents)| contents)
    }

    /// The host asked for.
    pub(super) fn server_name(&self) -> Option<&'a [u8]> {
        let list = Rest(self.extension(SERVER_NAME)?).part16()?;
        let mut rest = Rest(list);
        let is_host = rest.u8()? == 0;
        rest.part16().filter(|_| is_host)
    }

    /// The application protocol it likes best.
    pub(super) fn first_alpn(&self) -> Option<&'a [u8]> {
        first_alpn(self.extension(ALPN)?)
    }

    /// Highest version offered.
    pub(super) fn highest_version(&self) -> u16 {
        let offered = self.extension(SUPPORTED_VERSIONS).and_then(|contents| Rest(contents).part8());
        let highest = numbers(offered.unwrap_or_default()).filter(|version| !is_grease(*version)).max();
        highest.unwrap_or(self.legacy_version)
    }
}

fn first_alpn(contents: &[u8]) -> Option<&[u8]> {
    Rest(Rest(contents).part16()?).part8()
}

/// A ServerHello.
#[derive(Clone, Copy)]
pub(super) struct ServerHello<'a> {
    /// As negotiated.
    pub(super) version: u16,
    pub(super) cipher: u16,
    /// Only up to TLS 1.2.
    pub(super) alpn: Option<&'a [u8]>,
    /// It asks for another ClientHello.
    pub(super) is_retry: bool,
}

impl<'a> ServerHello<'a> {
    /// From the bytes behind the message's header.
    pub(super) fn of(body: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(body);
        let legacy_version = rest.u16()?;
        let random = rest.take(32)?;
        rest.part8()?;
        let cipher = rest.u16()?;
        rest.u8()?;
        let extensions = Extensions(Rest(if rest.0.is_empty() { &[] } else { rest.part16()? }));
        let find = |wanted| extensions.into_iter().find(|(kind, _)| *kind == wanted);
        let version = find(SUPPORTED_VERSIONS).and_then(|(_, contents)| Rest(contents).u16());
        Some(Self {
            version: version.unwrap_or(legacy_version),
            cipher,
            alpn: find(ALPN).and_then(|(_, contents)| first_alpn(contents)),
            is_retry: random.starts_with(&RETRY_RANDOM),
        })
    }
}
