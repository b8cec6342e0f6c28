//! Which country an address is of, by a file that the operator gives (MMDB): country codes and nothing else of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use maxminddb::Reader;
use serde::Deserialize;
use thiserror::Error;

/// Largest file that is taken: it is kept in memory.
const MMDB_BYTES_MAX: u64 = 256 << 20;

/// Why a file is not taken.
#[derive(Debug, Error)]
pub enum CountriesError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Too large.
    #[error("{} has more than {} MiB, which are kept in memory", path.display(), MMDB_BYTES_MAX >> 20)]
    Large {
        /// Which.
        path: PathBuf,
    },
    /// Something else.
    #[error("{} is not an MMDB file: {error}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: maxminddb::MaxMindDbError,
    },
}

/// Two letters (ISO 3166-1), as the file has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code([u8; 2]);

impl Code {
    fn of(text: &str) -> Option<Self> {
        let bytes: [u8; 2] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What is read of a record.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
}

#[derive(Deserialize)]
struct Country<'a> {
    iso_code: Option<&'a str>,
}

/// The file, in memory.
#[derive(Debug)]
pub struct Countries(Reader<Vec<u8>>);

impl Countries {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read, is too large or something else.
    pub fn open(path: &Path) -> Result<Self, CountriesError> {
        let io = |error| CountriesError::Io { path: path.to_owned(), error };
        if std::fs::metadata(path).map_err(io)?.len() > MMDB_BYTES_MAX {
            return Err(CountriesError::Large { path: path.to_owned() });
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let wrong = |error| CountriesError::Format { path: path.to_owned(), error };
        Reader::from_source(bytes).map(Self).map_err(wrong)
    }

    /// The country of an address; `None` where the file does not say.
    pub fn of(&self, addr: IpAddr) -> Option<Code> {
        let record: Record<'_> = self.0.lookup(addr.to_canonical()).ok()?.decode().ok()??;
        Code::of(record.country?.iso_code?)
    }
}
