//! Values of the file of receivers, each checked where it is read: the parser then knows the line.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;

use crate::alert::message::Severity;

/// Longest name of a receiver, which is a directory's name as well.
const NAME_BYTES_MAX: usize = 64;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "i64")]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// A default, which is brought into range.
    pub(super) fn of(value: u64) -> Self {
        Self(value.clamp(MIN, MAX))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<i64> for Whole<MIN, MAX> {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, String> {
        let in_range = u64::try_from(value).ok().filter(|value| (MIN..=MAX).contains(value));
        in_range.map(Self).ok_or_else(|| format!("must be from {MIN} to {MAX}, not {value}"))
    }
}

/// What a receiver is called.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Name(pub(crate) String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(plain) {
            return Ok(Self(text));
        }
        Err(format!("a name has 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`"))
    }
}

/// A path that does not depend on where the program was started.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "PathBuf")]
pub struct FullPath(pub(crate) PathBuf);

impl TryFrom<PathBuf> for FullPath {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        if path.is_absolute() { Ok(Self(path)) } else { Err("must be a path that begins with `/`".into()) }
    }
}

impl AsRef<Path> for FullPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// A host and a port.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct HostPort {
    /// A name or an address, as certificates have it.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || "must be HOST:PORT, or [ADDRESS]:PORT of IPv6".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// A time of day, `HH:MM`; `24:00` is the day's end.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Clock(pub(crate) u32);

impl Clock {
    /// Minutes of a time of day since midnight.
    pub(crate) fn minutes(time: Time) -> u32 {
        u32::from(time.hour().unsigned_abs()) * 60 + u32::from(time.minute().unsigned_abs())
    }
}

impl TryFrom<String> for Clock {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let two_digits = |part: &str| if part.len() == 2 { part.parse::<u32>().ok() } else { None };
        let minutes = text.split_once(':').and_then(|(hours, minutes)| {
            let minutes = two_digits(minutes).filter(|minutes| *minutes < 60)?;
            Some(two_digits(hours)? * 60 + minutes)
        });
        minutes
            .filter(|minutes| *minutes <= 24 * 60)
            .map(Self)
            .ok_or_else(|| "must be a time of day like 07:30".into())
    }
}

/// A time zone by its name.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Zone(pub(crate) TimeZone);

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        TimeZone::get(&name).map(Self).map_err(|_| {
            format!("no time zone is called {name}: names are like Europe/Berlin, America/New_York or UTC")
        })
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Friday.
    Fri,
    /// Monday.
    Mon,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
    /// Thursday.
    Thu,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
}

impl Day {
    /// Whether it is this one.
    pub(crate) fn is(self, weekday: Weekday) -> bool {
        let own = match self {
            Self::Fri => Weekday::Friday,
            Self::Mon => Weekday::Monday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
            Self::Thu => Weekday::Thursday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
        };
        own == weekday
    }
}

/// What an incident may be about: an address, a prefix, or one port of either.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Target {
    addr: IpAddr,
    prefix_bits: u8,
    port: Option<u16>,
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || "must be an address, a prefix or ADDRESS:PORT, like 10.0.0.0/8 or [::1]:443".to_owned();
        if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
            let addr = socket.ip();
            return Ok(Self { addr, prefix_bits: bits(addr), port: Some(socket.port()) });
        }
        let (addr, prefix) =
            text.split_once('/').map_or((text.as_str(), None), |(addr, bits)| (addr, Some(bits)));
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let prefix_bits = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits(addr)).ok_or_else(wrong)?,
            None => bits(addr),
        };
        Ok(Self { addr, prefix_bits, port: None })
    }
}

fn bits(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

impl Target {
    /// Whether an incident's `target` is it, or in it.
    pub(crate) fn has(&self, target: &Value) -> bool {
        let addr = target["addr"].as_str().and_then(|addr| addr.split('/').next()?.parse::<IpAddr>().ok());
        let port = target["port"].as_u64();
        addr.is_some_and(|addr| self.covers(addr)) && self.port.is_none_or(|own| port == Some(u64::from(own)))
    }

    fn covers(&self, addr: IpAddr) -> bool {
        let wide = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => u128::from(u32::from(addr)) << 96,
            IpAddr::V6(addr) => u128::from(addr),
        };
        let differs = wide(self.addr) ^ wide(addr);
        self.addr.is_ipv4() == addr.is_ipv4() && differs.leading_zeros() >= u32::from(self.prefix_bits)
    }
}

/// Severities that a list names; all where it is empty.
pub(crate) fn names(list: &[Severity], severity: Severity) -> bool {
    list.is_empty() || list.contains(&severity)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(text: &str) -> Target {
        Target::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn targets_cover_what_is_in_them() {
        let web = json!({ "addr": "10.77.0.2", "port": 80, "proto": "tcp" });
        for text in ["10.77.0.2", "10.0.0.0/8", "10.77.0.2:80", "0.0.0.0/0"] {
            assert!(target(text).has(&web), "{text}");
        }
        for text in ["10.77.0.3", "11.0.0.0/8", "10.77.0.2:443", "::/0"] {
            assert!(!target(text).has(&web), "{text}");
        }
        assert!(target("[fd77::2]:80").has(&json!({ "addr": "fd77::2", "port": 80 })));
        assert!(!target("0.0.0.0/0").has(&Value::Null));
        for text in ["10.0.0.0/33", "host", "10.0.0.1:", ""] {
            assert!(Target::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn clocks_and_places_are_checked() {
        assert_eq!(Clock::try_from("07:30".to_owned()), Ok(Clock(450)));
        for text in ["7:30", "24:01", "12:60", "noon", ""] {
            assert!(Clock::try_from(text.to_owned()).is_err(), "{text}");
        }
        let place = HostPort::try_from("[::1]:514".to_owned()).unwrap();
        assert_eq!((place.host.as_str(), place.port), ("::1", 514));
        for text in ["host", "::1:514", "host:0", ":514", "host:70000"] {
            assert!(HostPort::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
