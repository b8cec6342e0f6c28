//! Syslog: RFC 5424 messages with structured data, over UDP (RFC 5426), TCP with octet counting (RFC 6587) and TLS
//! (RFC 5425).

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::Failure;
use super::stream::{self, Stream};
use crate::alert::message::{Change, Message, rfc3339};
use crate::alert::settings::{Facility, HostPort, SyslogSettings, Transport};
use crate::line::number;

/// What every receiver of RFC 5426 takes, and what fits into a packet of the usual MTU without fragments is less; what is
/// longer loses its end, which is text for people.
const UDP_BYTES_MAX: usize = 1_400;
/// The private enterprise number that RFC 5612 keeps for examples: nobody else's structured data has our name.
const SD_ID: &str = "tidegauge@32473";
/// Longest value of a parameter.
const VALUE_CHARS_MAX: usize = 256;

/// One receiver.
pub(crate) struct Syslog {
    address: HostPort,
    transport: Transport,
    facility: Facility,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    host: String,
    stream: Option<Stream>,
}

impl Syslog {
    pub(super) fn new(settings: &SyslogSettings) -> Result<Self, String> {
        let transport = *settings.transport.get_ref();
        let ca_file = settings.ca_file.as_ref().map(|ca| ca.get_ref().as_ref());
        let tls = if transport == Transport::Tls { Some(stream::tls(ca_file)?) } else { None };
        Ok(Self {
            address: settings.address.clone(),
            transport,
            facility: settings.facility,
            tls,
            timeout: Duration::from_millis(settings.timeout_ms.get()),
            host: host_name(),
            stream: None,
        })
    }

    pub(super) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        let text = format(message, self.facility, &self.host);
        let sent = match self.transport {
            Transport::Udp => self.datagram(&text),
            Transport::Tcp | Transport::Tls => self.counted(&text),
        };
        sent.map_err(Failure::again)
    }

    fn datagram(&self, text: &str) -> std::io::Result<()> {
        let address = (self.address.host.as_str(), self.address.port).to_socket_addrs()?.next();
        let address = address.ok_or(std::io::ErrorKind::NotFound)?;
        let own: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
        let socket = UdpSocket::bind(own)?;
        let mut end = text.len().min(UDP_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // Not connected: that nobody listens would be the next message's error.
        socket.send_to(&text.as_bytes()[..end], address).map(|_| ())
    }

    fn counted(&mut self, text: &str) -> std::io::Result<()> {
        let frame = format!("{} {text}", text.len());
        if !self.stream.as_mut().is_some_and(Stream::is_open) {
            self.stream = None;
            self.stream = Some(Stream::connect(&self.address, self.tls.as_ref(), self.timeout)?);
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let written = stream.write(frame.as_bytes());
        if written.is_err() {
            // Half a frame may be on it: nothing can follow.
            self.stream = None;
        }
        written
    }
}

/// This host's name as syslog wants it.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain: String = name.chars().filter(|c| c.is_ascii_graphic()).take(255).collect();
    if plain.is_empty() { "-".into() } else { plain }
}

/// The message of RFC 5424.
fn format(message: &Message, facility: Facility, host: &str) -> String {
    let severity = if message.change == Change::Closed { 5 } else { message.severity.syslog() };
    let priority = facility as u8 * 8 + severity;
    let time = rfc3339(message.arrived_ns);
    let data: String = parameters(message)
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!(" {name}=\"{}\"", escaped(value)))
        .collect();
    let text: String = message.summary().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // The mark at the text's begin says that it is UTF-8.
    format!(
        "<{priority}>1 {time} {host} tidegauge {} {} [{SD_ID}{data}] \u{feff}{text}",
        std::process::id(),
        message.what.name()
    )
}

/// What other programs read.
pub(super) fn parameters(message: &Message) -> Vec<(&'static str, String)> {
    let text = |name: &str| message.text(name).to_owned();
    let value = |name: &str| number(&message.json, name).map_or_else(String::new, |value| value.to_string());
    vec![
        ("id", text("id")),
        ("kind", text("kind")),
        ("state", message.change.name().to_owned()),
        ("severity", message.severity.name().to_owned()),
        ("target", message.target()),
        ("measured", value("measured")),
        ("limit", value("limit")),
        ("unit", text("unit")),
        ("rule", text("rule")),
        ("opened", text("opened_ts")),
        ("closed", text("closed_ts")),
        ("key", message.key.clone()),
    ]
}

fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    for c in value.chars().take(VALUE_CHARS_MAX) {
        match c {
            '"' | '\\' | ']' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::body::sample;
    use super::*;

    #[test]
    fn a_message_is_one_of_rfc_5424() {
        let mut message = sample();
        message.json["rule"] = "a \"rule\" [1] \\ \n".into();
        let text = format(&message, Facility::Local0, "host");
        let head = format!(
            "<132>1 1970-01-01T00:00:00.000000Z host tidegauge {} incident [{SD_ID} ",
            std::process::id()
        );
        assert!(text.starts_with(&head), "{text}");
        assert!(text.contains(r#" rule="a \"rule\" [1\] \\  ""#), "{text}");
        assert!(text.contains(" target=\"192.0.2.1:80/tcp\"") && !text.contains('\n'), "{text}");
        assert!(
            text.contains("] \u{feff}P2 syn_flood opened: 192.0.2.1:80/tcp, 1000 syn/s (limit 500): a cause")
        );
        message.change = Change::Closed;
        assert!(format(&message, Facility::Daemon, "host").starts_with("<29>1 "));
    }
}
