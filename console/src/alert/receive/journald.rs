//! The journal of this host: one datagram of its native protocol, with fields of our own.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use super::Failure;
use super::syslog::parameters;
use crate::alert::message::Message;
use crate::alert::settings::JournaldSettings;

/// Of Linux: too long for a datagram.
const MESSAGE_TOO_LONG: i32 = 90;

/// One receiver.
pub(crate) struct Journald {
    path: PathBuf,
}

impl Journald {
    pub(super) fn new(settings: &JournaldSettings) -> Self {
        Self { path: settings.socket.0.clone() }
    }

    pub(super) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        let socket = UnixDatagram::unbound().map_err(Failure::again)?;
        // A journal that takes nothing must not hold us up for longer than others.
        socket.set_write_timeout(Some(std::time::Duration::from_secs(5))).map_err(Failure::again)?;
        let mut fields = fields(message);
        let mut sent = socket.send_to(&fields, &self.path);
        if is_too_long(&sent) {
            // Without the incident's line, which is the last field.
            fields.truncate(fields.len() - field("TIDEGAUGE_INCIDENT", &message.line).len());
            sent = socket.send_to(&fields, &self.path);
        }
        sent.map(|_| ()).map_err(|error| Failure::again(format!("{}: {error}", self.path.display())))
    }
}

fn is_too_long(sent: &io::Result<usize>) -> bool {
    sent.as_ref().is_err_and(|error| error.raw_os_error() == Some(MESSAGE_TOO_LONG))
}

fn fields(message: &Message) -> Vec<u8> {
    let mut fields = field("MESSAGE", &message.summary());
    fields.extend(field("PRIORITY", &message.severity.syslog().to_string()));
    fields.extend(field("SYSLOG_IDENTIFIER", "tidegauge"));
    for (name, value) in parameters(message).iter().filter(|(_, value)| !value.is_empty()) {
        fields.extend(field(&format!("TIDEGAUGE_{}", name.to_ascii_uppercase()), value));
    }
    fields.extend(field("TIDEGAUGE_INCIDENT", &message.line));
    fields
}

/// `NAME=value`, or with the value's length where it has lines.
fn field(name: &str, value: &str) -> Vec<u8> {
    if !value.contains('\n') {
        return format!("{name}={value}\n").into_bytes();
    }
    let mut field = format!("{name}\n").into_bytes();
    field.extend((value.len() as u64).to_le_bytes());
    field.extend(value.as_bytes());
    field.push(b'\n');
    field
}
