//! What is known of one connection above TCP: the record that a flow's line carries.
//!
//! Strings are bounded by the details they come from (see [`super::detail`]); an unknown value is `None`, never zero.

use serde::{Deserialize, Serialize};

/// Protocols recognised by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the protocols")]
pub enum Protocol {
    Amqp,
    BitTorrent,
    Dns,
    Ftp,
    Http,
    /// With prior knowledge, in the clear.
    Http2,
    Imap,
    Ldap,
    Mqtt,
    MySql,
    Pop3,
    Postgres,
    Rdp,
    Redis,
    Rtsp,
    Sip,
    Smb,
    Smtp,
    SqlServer,
    Ssh,
    Telnet,
    Tls,
    Vnc,
}

impl Protocol {
    /// All of them, in memory order.
    pub const ALL: [Self; 23] = [
        Self::Amqp,
        Self::BitTorrent,
        Self::Dns,
        Self::Ftp,
        Self::Http,
        Self::Http2,
        Self::Imap,
        Self::Ldap,
        Self::Mqtt,
        Self::MySql,
        Self::Pop3,
        Self::Postgres,
        Self::Rdp,
        Self::Redis,
        Self::Rtsp,
        Self::Sip,
        Self::Smb,
        Self::Smtp,
        Self::SqlServer,
        Self::Ssh,
        Self::Telnet,
        Self::Tls,
        Self::Vnc,
    ];
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Recognised by content; `None` where the first bytes say nothing.
    pub protocol: Option<Protocol>,
    /// From the initiator's first payload byte to the responder's first one; `None` where the responder spoke first,
    /// or one of them did not.
    pub ttfb_us: Option<u32>,
    /// Of TLS connections whose details found room.
    pub tls: Option<TlsRecord>,
    /// Of HTTP/1 connections whose details found room.
    pub http: Option<HttpRecord>,
}

/// What two hellos, a certificate and alerts said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsRecord {
    /// Negotiated version, as people write it.
    pub version: Option<String>,
    /// Highest version the client offered.
    pub version_offered: Option<String>,
    /// Server name asked for (RFC 6066 section 3).
    pub sni: Option<String>,
    /// Application protocol chosen, where the ServerHello shows it (up to TLS 1.2).
    pub alpn: Option<String>,
    /// First application protocol offered.
    pub alpn_offered: Option<String>,
    /// Cipher suite chosen, by its number.
    pub cipher: Option<u16>,
    /// Fingerprint of the client.
    pub ja4: Option<String>,
    /// From the client's first byte to the ServerHello.
    pub hello_us: Option<u32>,
    /// First application data of the client to the first of the server, up to TLS 1.2.
    pub ttfb_us: Option<u32>,
    /// First alert in the clear.
    pub alert: Option<AlertRecord>,
    /// End of the leaf certificate's validity, seconds since the epoch.
    pub certificate_not_after_s: Option<i64>,
}

/// An alert in the clear (RFC 8446 section 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Level 2; else a warning.
    pub fatal: bool,
    /// Its name, or its number where that is unknown.
    pub description: String,
    /// Whether the connection's initiator sent it.
    pub from_initiator: bool,
}

/// HTTP/1 messages of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpRecord {
    /// Request heads.
    pub requests: u32,
    /// Response heads, interim ones included.
    pub responses: u32,
    /// Status of the last response.
    pub last_status: Option<u16>,
    /// Responses 400 to 499.
    pub status_4xx: u32,
    /// Responses 500 to 599.
    pub status_5xx: u32,
    /// Shortest time from request to response.
    pub latency_min_us: Option<u32>,
    /// Mean of them.
    pub latency_mean_us: Option<f64>,
    /// Longest.
    pub latency_max_us: Option<u32>,
}

/// Name of an alert (RFC 8446 section 6 and the IANA registry), or its number.
pub(super) fn alert_name(description: u8) -> String {
    let name = match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        other => return other.to_string(),
    };
    name.to_owned()
}
