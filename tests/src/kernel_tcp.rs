//! What the kernel's own TCP says of the connections of a lab's side: counters of the namespace by `nstat`, and `ss -ti`
//! of each connection that is open.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::netns::{Lab, Side};

/// All counters of a namespace at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Asks `nstat`.
    ///
    /// # Errors
    /// Where it cannot be run (Debian package iproute2).
    pub fn of(lab: &Lab, side: Side) -> Result<Self> {
        let output = lab.command(side, "nstat").args(["-asz"]).output().context("run nstat")?;
        ensure!(output.status.success(), "nstat ended with {}", output.status);
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Lines of a name, a value and a rate.
    fn parse(text: &str) -> Self {
        let entry = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(entry).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// Where this kernel does not have it.
    pub fn get(&self, name: &str) -> Result<u64> {
        self.0.get(name).copied().with_context(|| format!("this kernel does not count {name}"))
    }

    /// How much each grew since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let grown = |(name, now): (&String, &u64)| {
            (name.clone(), now.saturating_sub(before.0.get(name).copied().unwrap_or_default()))
        };
        Self(self.0.iter().map(grown).collect())
    }
}

/// What `ss -tin` says of a side's established connections.
#[derive(Clone, Debug, Default)]
pub struct Ss(String);

impl Ss {
    /// Asks it.
    ///
    /// # Errors
    /// Where it cannot be run (Debian package iproute2).
    pub fn of(lab: &Lab, side: Side) -> Result<Self> {
        let mut command = lab.command(side, "ss");
        let output = command.args(["-tinH", "state", "established"]).output().context("run ss")?;
        ensure!(output.status.success(), "ss ended with {}", output.status);
        Ok(Self(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The values of `name:value` by connection; of `a/b` both. A connection without the name has none.
    pub fn values(&self, name: &str) -> Vec<Vec<f64>> {
        let words = self.0.split_whitespace();
        let values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
        values.map(|value| value.split('/').filter_map(|part| part.parse().ok()).collect()).collect()
    }

    /// The sum over all connections; what the kernel does not print is 0.
    pub fn sum(&self, name: &str) -> u64 {
        self.values(name).iter().filter_map(|value| value.first()).map(|value| *value as u64).sum()
    }

    /// Segments sent again, in all connections.
    pub fn retransmitted(&self) -> u64 {
        self.values("retrans").iter().filter_map(|both| both.get(1)).map(|value| *value as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_subtracted() {
        let before = Counters::parse("#kernel\nTcpRetransSegs     3    0.0\nTcpExtTCPOFOQueue 1 0.0\n");
        let after = Counters::parse("#kernel\nTcpRetransSegs     10   0.0\nTcpExtTCPOFOQueue 1 0.0\n");
        let grown = after.since(&before);
        assert_eq!((grown.get("TcpRetransSegs").unwrap(), grown.get("TcpExtTCPOFOQueue").unwrap()), (7, 0));
        assert!(grown.get("TcpExtNone").is_err());
    }

    #[test]
    fn connections_are_read_by_name() {
        let text = "0 0 10.77.0.2:5201 10.77.0.1:40000 cubic rtt:4.5/0.2 retrans:0/17 dsack_dups:2 minrtt:4.1\n\
                    0 0 10.77.0.2:5201 10.77.0.1:40001 cubic rtt:5/1 retrans:1/3 minrtt:4\n";
        let ss = Ss(text.to_owned());
        assert_eq!(ss.retransmitted(), 20);
        assert_eq!((ss.sum("dsack_dups"), ss.sum("reordering")), (2, 0));
        assert_eq!(ss.values("rtt"), [[4.5, 0.2], [5.0, 1.0]]);
        assert_eq!(ss.values("minrtt"), [[4.1], [4.0]]);
    }
}
