//! What there is to tell, before it is put into words: kind, place, counts and times.

use std::net::IpAddr;

use super::Observed;
use crate::impairment::Worst;
use crate::incident::Target;

const SECOND_NS: u64 = 1_000_000_000;

/// The seconds in which something was first and last seen, by their beginning, since the epoch. 32 bits last until 2106.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    first: u32,
    last: u32,
}

impl Default for Span {
    fn default() -> Self {
        Self { first: u32::MAX, last: 0 }
    }
}

/// The whole second that a window lies in, by its end.
pub(crate) const fn second_of(end_ns: u64) -> u64 {
    end_ns.saturating_sub(1) / SECOND_NS
}

impl Span {
    /// Adds a second.
    pub(crate) fn note(&mut self, second: u64) {
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        (self.first, self.last) = (self.first.min(second), self.last.max(second));
    }

    /// Adds another's.
    pub(crate) fn merge(&mut self, other: Self) {
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }

    /// Beginning of the first second and end of the last one, nanoseconds.
    pub(crate) fn ns(self) -> (u64, u64) {
        let first = u64::from(self.first.min(self.last));
        (first * SECOND_NS, (u64::from(self.last) + 1) * SECOND_NS)
    }

    /// First second.
    pub(crate) fn first(self) -> u64 {
        self.first.into()
    }
}

/// One observation to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft<'a> {
    pub(crate) kind: Observed,
    pub(crate) target: Target,
    pub(crate) count: u64,
    pub(crate) of: Option<u64>,
    pub(crate) span: Span,
    pub(crate) peer: Option<IpAddr>,
    /// The connection that had most of it.
    pub(crate) worst: Option<&'a Worst>,
    /// A second count, of what the kind's sentence says.
    pub(crate) beside: u64,
    /// Ports or destinations that it is at.
    pub(crate) places: u64,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(kind: Observed, target: Target, count: u64) -> Self {
        let span = Span::default();
        Self { kind, target, count, of: None, span, peer: None, worst: None, beside: 0, places: 1 }
    }

    pub(crate) fn with_worst(self, worst: Option<&'a Worst>) -> Self {
        let peer = worst.and_then(|worst| worst.client).or(self.peer);
        Self { worst, peer, ..self }
    }

    /// What comes first: how grave the kind is, what share of the whole it is, and how often, by powers of two.
    pub(crate) fn weight(&self) -> u64 {
        const WHOLE: u64 = 1_000;
        let share = match self.of {
            Some(of) => self.count.saturating_mul(WHOLE).checked_div(of).unwrap_or(WHOLE).clamp(1, WHOLE),
            None => WHOLE / 2,
        };
        let often = u64::from(u64::BITS - self.count.saturating_add(1).leading_zeros());
        self.kind.gravity() * share * often
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_wholly_is_heavier_than_much_of_little() {
        let draft = |kind, count, of| Draft { of: Some(of), ..Draft::new(kind, Target::Capture, count) };
        let failed = draft(Observed::TlsFailure, 1, 1).weight();
        assert!(failed > draft(Observed::Loss, 40, 4_000).weight());
        assert!(failed > draft(Observed::TlsFailure, 1, 100).weight());
        assert!(draft(Observed::Loss, 40, 400).weight() > draft(Observed::Loss, 4, 400).weight());
    }

    #[test]
    fn a_window_lies_in_the_second_that_its_end_ends() {
        let mut span = Span::default();
        [2_000_000_000, 1_100_000_000].map(second_of).into_iter().for_each(|second| span.note(second));
        assert_eq!(span.ns(), (1_000_000_000, 2_000_000_000));
    }
}
