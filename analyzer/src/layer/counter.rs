//! What is counted above TCP, UDP, ICMP and ARP: one enum, so that sums merge, print and are tested in one way.
//!
//! A counter belongs to a group, which is the object of the output contract that it is printed in.

macro_rules! layer_counters {
    ($($group:ident { $($(#[doc = $doc:literal])* $variant:ident = $text:literal,)* })*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum LayerCounter { $($($(#[doc = $doc])* $variant,)*)* }

        impl LayerCounter {
            /// All of them, in memory order.
            pub const ALL: &[Self] = &[$($(Self::$variant,)*)*];

            /// Snake-case name within its group.
            pub const fn name(self) -> &'static str {
                match self { $($(Self::$variant => $text,)*)* }
            }

            /// The object it is printed in.
            pub const fn group(self) -> Group {
                match self { $($(Self::$variant => Group::$group,)*)* }
            }
        }
    };
}

/// Objects of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Address resolution.
    Arp,
    /// Name resolution, over UDP and TCP.
    Dns,
    /// HTTP/1 in the clear.
    Http,
    /// Both versions of ICMP.
    Icmp,
    /// QUIC by its unencrypted header bytes.
    Quic,
    /// Logins in the clear, over protocols other than HTTP.
    Logins,
    /// How well streams could be followed: limits that were hit.
    Streams,
    /// TLS over TCP.
    Tls,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Tls, Self::Http, Self::Dns, Self::Icmp, Self::Quic, Self::Arp, Self::Logins, Self::Streams];

    /// Name of the object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Dns => "dns",
            Self::Http => "http",
            Self::Icmp => "icmp",
            Self::Logins => "logins",
            Self::Quic => "quic",
            Self::Streams => "streams",
            Self::Tls => "tls",
        }
    }
}

layer_counters! {
    Tls {
        /// ClientHello messages.
        TlsClientHellos = "client_hellos",
        /// ServerHello messages, HelloRetryRequest included (RFC 8446 section 4.1.4: it is one).
        TlsServerHellos = "server_hellos",
        /// Records of content type alert, encrypted ones included.
        TlsAlerts = "alerts",
        /// Alerts in the clear with level fatal.
        TlsAlertsFatal = "alerts_fatal",
        /// Alerts in the clear with level warning.
        TlsAlertsWarning = "alerts_warning",
        /// Alert records whose content is encrypted: at the end of TLS 1.2 connections mostly close_notify.
        TlsAlertsEncrypted = "alerts_encrypted",
        /// Connections whose handshake was ended by a fatal alert in the clear.
        TlsHandshakeFailures = "handshake_failures",
        /// Of these, those over the protocol version.
        TlsVersionRefused = "version_refused",
        /// Of these, those over a certificate.
        TlsCertificateRefused = "certificate_refused",
        /// Connections that ended with a ClientHello seen, and neither a ServerHello nor an alert.
        TlsHellosUnanswered = "hellos_unanswered",
        /// Leaf certificates read, of servers and of clients that show one.
        TlsCertificates = "certificates",
        /// Of these, those whose notAfter lies before the packet's time.
        TlsCertificatesExpired = "certificates_expired",
        /// Messages that contradict their own lengths.
        TlsMalformed = "malformed",
    }
    Http {
        /// Request heads.
        HttpRequests = "requests",
        /// Response heads, interim ones (1xx) included.
        HttpResponses = "responses",
        /// Responses 100 to 199.
        HttpStatus1xx = "status_1xx",
        /// Responses 200 to 299.
        HttpStatus2xx = "status_2xx",
        /// Responses 300 to 399.
        HttpStatus3xx = "status_3xx",
        /// Responses 400 to 499.
        HttpStatus4xx = "status_4xx",
        /// Responses 500 to 599.
        HttpStatus5xx = "status_5xx",
        /// Responses 408: the server waited for a request in vain.
        HttpStatus408 = "status_408",
        /// Of the responses 401, those to requests with a password other than the last one of these two hosts.
        HttpLoginsRefused = "logins_refused",
        /// Forms and queries with a password other than the last one of these two hosts.
        HttpPasswordsSent = "passwords_sent",
        /// Requests that waited when their connection ended.
        HttpUnanswered = "unanswered",
        /// Heads or chunks that break the rules of RFC 9112.
        HttpMalformed = "malformed",
        /// Bodies too long to be skipped by sequence numbers; their direction is not followed further.
        HttpBodiesTooLong = "bodies_too_long",
    }
    Dns {
        /// Queries.
        DnsQueries = "queries",
        /// Responses.
        DnsResponses = "responses",
        /// Responses with any code but 0.
        DnsFailures = "failures",
        /// Responses with code 3: the name does not exist.
        DnsNxdomain = "nxdomain",
        /// Responses with code 2: the server failed.
        DnsServfail = "servfail",
        /// Responses with another code.
        DnsOther = "other",
        /// Queries sent again while the first one waited.
        DnsRepeated = "repeated",
        /// Queries without an answer in time.
        DnsUnanswered = "unanswered",
        /// Responses to no query that waits.
        DnsUnasked = "unasked",
        /// Waits given up for newer ones; they are in no other count of outcomes.
        DnsWaitsEvicted = "waits_evicted",
        /// Payload on port 53 that is no DNS message.
        DnsMalformed = "malformed",
    }
    Icmp {
        /// Echo requests.
        IcmpEchoRequests = "echo_requests",
        /// Echo replies.
        IcmpEchoReplies = "echo_replies",
        /// Echo requests without a reply in time.
        IcmpEchoUnanswered = "echo_unanswered",
        /// Echo replies to no request that waits.
        IcmpEchoUnasked = "echo_unasked",
        /// Waits given up for newer ones.
        IcmpWaitsEvicted = "waits_evicted",
        /// Destination unreachable, all codes (IPv4's "fragmentation needed" included).
        IcmpUnreachable = "unreachable",
        /// Time exceeded.
        IcmpTtlExceeded = "ttl_exceeded",
        /// IPv4 "fragmentation needed" and IPv6 "packet too big".
        IcmpTooBig = "too_big",
        /// Redirects.
        IcmpRedirects = "redirects",
        /// Other types, neighbour discovery among them.
        IcmpOther = "other",
        /// Shorter than a header.
        IcmpMalformed = "malformed",
    }
    Quic {
        /// Datagrams that carry QUIC.
        QuicDatagrams = "datagrams",
        /// Packets seen in them; a short header ends a datagram, so what may follow it is one.
        QuicPackets = "packets",
        /// Initial packets.
        QuicInitials = "initials",
        /// Retry packets.
        QuicRetries = "retries",
        /// Version Negotiation packets.
        QuicVersionNegotiations = "version_negotiations",
        /// 0-RTT packets.
        QuicZeroRtt = "zero_rtt",
        /// Flows forgotten for newer ones: their short headers are no longer recognised.
        QuicFlowsEvicted = "flows_evicted",
    }
    Arp {
        /// Requests, gratuitous ones and probes included.
        ArpRequests = "requests",
        /// Replies, gratuitous ones included.
        ArpReplies = "replies",
        /// Announcements of the sender's own address (RFC 5227 section 3).
        ArpGratuitous = "gratuitous",
        /// Requests from no address yet (RFC 5227 section 2.1.1).
        ArpProbes = "probes",
        /// Other operations.
        ArpOther = "other",
        /// Cut short, or not Ethernet and IPv4.
        ArpMalformed = "malformed",
    }
    Logins {
        /// Those that the server refused, each another one than the last of these two hosts.
        LoginsRefused = "refused",
        /// Directions of connections of such protocols of which no more segments were looked at.
        LoginsUnread = "unread",
    }
    Streams {
        /// Connections whose protocol was recognised.
        StreamsRecognised = "recognised",
        /// Gaps that were not filled: reading goes on behind them where a message begins.
        StreamGaps = "gaps",
        /// Reassembly buffers taken from the connection that held one longest, because none was free.
        StreamBuffersTaken = "buffers_taken",
        /// Heads longer than a reassembly buffer.
        StreamHeadsTooLong = "heads_too_long",
        /// Segments whose snap length ended within something to be read.
        StreamCut = "cut",
        /// Connections whose details found no room: counted, but not described.
        StreamDetailsRefused = "details_refused",
    }
}
