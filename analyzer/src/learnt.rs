//! What a run has learnt of what is usual, so that the next one need not learn it again.
//!
//! A file of JSON, one object: `version`, for each listener the seconds that its baselines hold and its hours of the week,
//! and for each host the seconds of its. Bounded as the engine is ([`crate::engine::LISTENERS_MAX`],
//! [`crate::scope::HOSTS_MAX`]); what is no number of a second, or is of another version, is refused. Version 1 had
//! neither hours nor hosts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::baseline::{Baseline, SECONDS_MAX};
use crate::engine::LISTENERS_MAX;
use crate::scope::HOSTS_MAX;
use crate::season::Hour;

const VERSION: u32 = 2;
/// Versions that are read.
const VERSIONS_READ: std::ops::RangeInclusive<u32> = 1..=VERSION;

/// Everything that was learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learnt {
    version: u32,
    /// In the order of their keys.
    pub listeners: Vec<LearntListener>,
    /// In the order of their addresses.
    #[serde(default)]
    pub hosts: Vec<LearntHost>,
}

/// Seconds of what comes to one host, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearntHost {
    /// Address.
    pub addr: IpAddr,
    /// Datagrams in each.
    pub udp: Vec<u32>,
    /// ICMP messages.
    pub icmp: Vec<u32>,
    /// Segments of no connection.
    pub stray: Vec<u32>,
    /// Datagrams that it sent.
    pub sent: Vec<u32>,
}

/// Seconds of one listener, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearntListener {
    /// Address.
    pub addr: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Attempts in each.
    pub asked: Vec<u32>,
    /// Completed handshakes.
    pub completed: Vec<u32>,
    /// HTTP requests.
    pub requests: Vec<u32>,
    /// Attempts by hour of the week, UTC, of packet time (hour 0 began with the epoch, a Thursday): all 168, or none.
    #[serde(default)]
    pub season: Vec<Hour>,
}

/// Why a file is not what a run has learnt.
#[derive(Debug, Error)]
pub enum LearntError {
    /// No such JSON.
    #[error("line {}, column {}: {error}", error.line(), error.column())]
    Json {
        /// The parser's words.
        #[from]
        error: serde_json::Error,
    },
    /// Of another version.
    #[error("version {found}, and this program reads version {VERSION}: delete the file to learn anew")]
    Version {
        /// What the file says.
        found: u32,
    },
    /// More than can be remembered.
    #[error("{found} {what}, and {most} are remembered")]
    TooMany {
        /// How many it has.
        found: usize,
        /// Of what.
        what: &'static str,
        /// How many it may have.
        most: usize,
    },
}

impl Learnt {
    /// Of these listeners and hosts.
    pub const fn new(listeners: Vec<LearntListener>, hosts: Vec<LearntHost>) -> Self {
        Self { version: VERSION, listeners, hosts }
    }

    /// Reads and checks what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn from_json(text: &str) -> Result<Self, LearntError> {
        let mut learnt: Self = serde_json::from_str(text)?;
        if !VERSIONS_READ.contains(&learnt.version) {
            return Err(LearntError::Version { found: learnt.version });
        }
        let (listeners, hosts) = (learnt.listeners.len(), learnt.hosts.len());
        for (found, what, most) in [(listeners, "listeners", LISTENERS_MAX), (hosts, "hosts", HOSTS_MAX)] {
            if found > most {
                return Err(LearntError::TooMany { found, what, most });
            }
        }
        let listeners = learnt.listeners.iter_mut();
        let listeners = listeners.flat_map(|listener| {
            [&mut listener.asked, &mut listener.completed, &mut listener.requests].into_iter()
        });
        let hosts = learnt.hosts.iter_mut();
        let hosts = hosts
            .flat_map(|host| [&mut host.udp, &mut host.icmp, &mut host.stray, &mut host.sent].into_iter());
        for seconds in listeners.chain(hosts) {
            let surplus = seconds.len().saturating_sub(SECONDS_MAX);
            seconds.drain(..surplus);
        }
        Ok(learnt)
    }

    /// As a file.
    ///
    /// # Errors
    /// None that can happen to numbers and addresses.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl From<&Baseline> for Vec<u32> {
    fn from(baseline: &Baseline) -> Self {
        baseline.seconds().collect()
    }
}

impl From<Vec<u32>> for Baseline {
    fn from(seconds: Vec<u32>) -> Self {
        let mut baseline = Self::default();
        seconds.into_iter().for_each(|second| baseline.learn(second.into()));
        baseline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::season::HOURS;

    fn learnt() -> Learnt {
        let listener = |port| LearntListener {
            addr: IpAddr::from([192, 0, 2, 1]),
            port,
            asked: vec![1, 2, 3],
            completed: vec![1, 2],
            requests: Vec::new(),
            season: vec![Hour { per_1000_s: 7, weeks: 3 }; HOURS],
        };
        let (addr, seconds) = (IpAddr::from([192, 0, 2, 1]), vec![4, 5]);
        let host =
            LearntHost { addr, udp: seconds.clone(), icmp: seconds.clone(), stray: seconds, sent: vec![] };
        Learnt::new(vec![listener(80), listener(443)], vec![host])
    }

    #[test]
    fn what_was_learnt_is_read_back() {
        assert_eq!(Learnt::from_json(&learnt().to_json().unwrap()).unwrap(), learnt());
        let baseline = Baseline::from((0..500).collect::<Vec<u32>>());
        let seconds = Vec::from(&baseline);
        assert_eq!((seconds.len(), seconds[0], seconds[SECONDS_MAX - 1]), (SECONDS_MAX, 380, 499));
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        let wrong = |text: &str| Learnt::from_json(text).unwrap_err().to_string();
        assert!(wrong("{").contains("line 1"));
        assert!(wrong(r#"{"version":9,"listeners":[]}"#).contains("version 9"));
        assert_eq!(Learnt::from_json(r#"{"version":1,"listeners":[]}"#).unwrap().hosts, []);
        assert!(wrong(r#"{"version":1,"listeners":[],"more":1}"#).contains("more"));
    }
}
