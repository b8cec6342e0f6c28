//! Why it is so: likely causes of an incident, ranked, each with the measured values for and against it.
//!
//! Bottom-up over the layers (link, network, transport, application, resource): of causes with the same score the lowest
//! layer comes first, since what is broken below shows above. Evidence is what detectors measured ([`Incident::fact`]),
//! what the capture lost, and where the host's own counters are at hand, those. Each sign has a weight: 3 where it all
//! but decides, 2 where it tells much, 1 where it fits. The score is `for / (for + against + 1)`: between 0 and 1, never
//! 1, since a cause that nobody thought of is always left. A sign that was not measured has no part, on neither side.
//!
//! Ranked when an incident is told, never per packet or tick. Which incident is another one's consequence: `group`.

mod group;
mod rules;
mod signs;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::{Value, json};
use tidegauge_capture::host::HostCounter;

pub(crate) use group::{OPENED_MAX, relate};

use crate::incident::Incident;
use crate::local_host::HostInterval;
use signs::Signs;

/// Where a cause lies; the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// NICs, cables, the capture itself.
    Link,
    /// Ways and routers.
    Network,
    /// TCP at either end.
    Transport,
    /// What runs above it.
    Application,
    /// Queues, memory and processors of a host.
    Resource,
}

impl Layer {
    /// All, the lowest first.
    pub const ALL: [Self; 5] =
        [Self::Link, Self::Network, Self::Transport, Self::Application, Self::Resource];

    /// The contract's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Network => "network",
            Self::Transport => "transport",
            Self::Application => "application",
            Self::Resource => "resource",
        }
    }
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $layer:ident;)*) => {
        /// What may be behind an incident.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Cause { $($(#[doc = $doc])* $variant,)* }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The contract's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Where it lies.
            pub const fn layer(self) -> Layer {
                match self { $(Self::$variant => Layer::$layer,)* }
            }
        }
    };
}

causes! {
    /// The NIC drops frames: the host does not get them either.
    NicDrops = "nic_drops", Link;
    /// Frames that the capture lost, and their receivers got.
    CaptureDrops = "capture_drops", Link;
    /// The capture has each frame twice.
    FramesTwice = "frames_twice", Link;
    /// Lost between the sender and here.
    LossBeforeCapture = "loss_before_capture", Network;
    /// Lost between here and the receiver.
    LossBehindCapture = "loss_behind_capture", Network;
    /// A way that became slow: a queue, an overload, a detour.
    SlowPath = "slow_path", Network;
    /// Routers that send packets back to each other.
    RoutingLoop = "routing_loop", Network;
    /// A default route points back, and nothing catches what is not routed.
    MissingRoute = "missing_route", Network;
    /// A smaller MTU on the way, and no ICMP error arrives.
    MtuErrorFiltered = "mtu_error_filtered", Network;
    /// A smaller MTU on the way, and its sender does not heed the ICMP error.
    MtuErrorIgnored = "mtu_error_ignored", Network;
    /// A host that is down, or a filter that swallows what is sent to it.
    HostSilent = "host_silent", Network;
    /// Answers that are sent and do not arrive.
    AnswersLost = "answers_lost", Network;
    /// SYNs from addresses that are not the sender's.
    ForgedSyns = "forged_syns", Transport;
    /// SYNs of few real hosts.
    FewFlooders = "few_flooders", Transport;
    /// The receiver's application does not read: its buffer is full.
    ReceiverNotReading = "receiver_not_reading", Application;
    /// The sender has nothing to send.
    SlowSender = "slow_sender", Application;
    /// No TLS version in common.
    TlsVersions = "tls_versions", Application;
    /// A certificate that is not accepted.
    TlsCertificate = "tls_certificate", Application;
    /// No cipher, name or extension in common.
    TlsParameters = "tls_parameters", Application;
    /// Nothing listens, or what listens refuses.
    Refused = "refused", Application;
    /// A DNS server that does not answer.
    DnsSilent = "dns_silent", Application;
    /// A DNS server whose upstream or zone fails.
    DnsUpstream = "dns_upstream", Application;
    /// Names that do not exist are asked for.
    DnsWrongNames = "dns_wrong_names", Application;
    /// The service itself says that it fails.
    ServerFails = "server_fails", Application;
    /// The application takes connections too slowly: its accept queue is full.
    AcceptQueueFull = "accept_queue_full", Resource;
    /// Half-open connections fill the listener's queue.
    SynQueueFull = "syn_queue_full", Resource;
    /// SYN cookies answer what no queue holds.
    SynCookies = "syn_cookies", Resource;
    /// A host too slow to answer.
    HostSlow = "host_slow", Resource;
}

/// One measured value that speaks for a cause or against it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sign {
    /// What was measured, in words.
    pub what: &'static str,
    /// Its value; shares are 0 to 1.
    pub measured: f64,
    /// 1 (it fits) to 3 (it all but decides).
    pub weight: f64,
}

/// A cause with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Which.
    pub cause: Cause,
    /// `for / (for + against + 1)`.
    pub score: f64,
    /// What speaks for it, the weightiest first.
    pub signs_for: Vec<Sign>,
    /// What speaks against it.
    pub signs_against: Vec<Sign>,
}

impl Ranked {
    /// Its object in the output.
    pub fn json(&self) -> Value {
        json!({
            "cause": self.cause,
            "layer": self.cause.layer(),
            "score": self.score,
            "for": self.signs_for,
            "against": self.signs_against,
        })
    }
}

/// What an incident is a consequence of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// The other incident's id.
    pub id: String,
    /// Why it is taken for the cause.
    pub why: String,
}

/// What the host itself counted since an incident opened, live on the host; `None`: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounts {
    /// Connections dropped because an accept queue was full (`TcpExtListenOverflows`).
    pub listen_overflows: Option<u64>,
    /// SYN cookies sent (`TcpExtSyncookiesSent`).
    pub syn_cookies_sent: Option<u64>,
}

impl HostCounts {
    /// Of what was counted meanwhile.
    pub fn of(host: Option<&HostInterval>) -> Self {
        let count = |counter| host.and_then(|host| host.counts.get(counter));
        Self {
            listen_overflows: count(HostCounter::ListenOverflows),
            syn_cookies_sent: count(HostCounter::SyncookiesSent),
        }
    }
}

/// Likely causes of an incident, the likeliest first; none where no rule knows its kind.
pub fn rank(incident: &Incident, host: HostCounts) -> Vec<Ranked> {
    let mut signs = Signs::new(incident, host);
    rules::judge(&mut signs);
    signs.into_ranked()
}
