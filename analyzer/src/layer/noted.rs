//! What a packet adds to the sums, as facts ([`crate::fact`]): the difference of a few counts before and behind it.

use super::counter::LayerCounter;
use super::sums::LayerSums;
use crate::fact::{Fact, Facts};

/// Counts of messages in datagrams, of which a packet can add one.
#[derive(Clone, Copy)]
pub(crate) struct Messages([u64; 4]);

impl Messages {
    const COUNTED: [(LayerCounter, Fact); 4] = [
        (LayerCounter::DnsQueries, Fact::Query),
        (LayerCounter::DnsResponses, Fact::QueryAnswered),
        (LayerCounter::DnsFailures, Fact::QueryFailed),
        (LayerCounter::DnsServfail, Fact::ServerFailed),
    ];

    pub(crate) fn of(sums: &LayerSums) -> Self {
        Self(Self::COUNTED.map(|(counter, _)| sums.get(counter)))
    }

    /// Sets what was counted since `before`.
    pub(crate) fn since(self, before: Self, facts: &mut Facts) {
        for ((_, fact), (now, before)) in Self::COUNTED.iter().zip(self.0.iter().zip(before.0)) {
            facts.set_if(*now != before, *fact);
        }
    }
}

/// The same in streams, and whether a head waits.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    counts: [u64; 11],
    waits: bool,
}

impl Stream {
    const COUNTED: [(LayerCounter, Fact); 11] = [
        (LayerCounter::HttpRequests, Fact::Request),
        (LayerCounter::HttpResponses, Fact::Response),
        (LayerCounter::HttpStatus5xx, Fact::ServerError),
        (LayerCounter::HttpStatus408, Fact::RequestTimeout),
        (LayerCounter::HttpLoginsRefused, Fact::BriefLogin),
        (LayerCounter::LoginsRefused, Fact::BriefLogin),
        (LayerCounter::HttpPasswordsSent, Fact::PasswordSent),
        (LayerCounter::TlsClientHellos, Fact::Hello),
        (LayerCounter::TlsHandshakeFailures, Fact::HelloFailed),
        (LayerCounter::TlsVersionRefused, Fact::VersionRefused),
        (LayerCounter::TlsCertificateRefused, Fact::CertificateRefused),
    ];

    pub(super) fn of(waits: bool, sums: &LayerSums) -> Self {
        Self { counts: Self::COUNTED.map(|(counter, _)| sums.get(counter)), waits }
    }

    /// Sets what was counted since `before`.
    pub(super) fn since(self, before: Self, facts: &mut Facts) {
        for ((_, fact), (now, before)) in Self::COUNTED.iter().zip(self.counts.iter().zip(before.counts)) {
            facts.set_if(*now != before, *fact);
        }
        facts.set_if(self.waits && !before.waits, Fact::HeadOpened);
        facts.set_if(!self.waits && before.waits, Fact::HeadDone);
    }
}
