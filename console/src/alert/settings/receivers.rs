//! Receivers as the file has them: one kind of table for each way of telling.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{FullPath, HostPort, HttpUrl, Name, SettingsError, Whole, wrong};
use crate::alert::receive::Body;

/// How much a receiver is told: then what is more is summed up.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Messages at once.
    #[serde(default = "burst")]
    pub burst: Whole<1, 100_000>,
    /// Messages a minute after that.
    #[serde(default = "per_minute")]
    pub per_minute: Whole<1, 100_000>,
}

impl Default for Limit {
    fn default() -> Self {
        Self { burst: burst(), per_minute: per_minute() }
    }
}

fn burst() -> Whole<1, 100_000> {
    Whole::of(20)
}

fn per_minute() -> Whole<1, 100_000> {
    Whole::of(30)
}

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct ReceiverSettings {
    /// Its name in routes, and of its directory.
    pub name: String,
    /// How much.
    pub limit: Limit,
    /// In which way.
    pub how: How,
    /// Its place in the file, for errors.
    pub(super) at: usize,
}

/// A way of telling.
#[derive(Clone, Debug)]
pub enum How {
    /// The Alertmanager's API.
    Alertmanager(AlertmanagerSettings),
    /// A file in Suricata's EVE format.
    Eve(EveSettings),
    /// A program.
    Exec(ExecSettings),
    /// The journal of this host.
    Journald(JournaldSettings),
    /// A syslog receiver.
    Syslog(SyslogSettings),
    /// An HTTP POST.
    Webhook(Box<WebhookSettings>),
}

impl How {
    /// As the file calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Eve(_) => "eve",
            Self::Exec(_) => "exec",
            Self::Journald(_) => "journald",
            Self::Syslog(_) => "syslog",
            Self::Webhook(_) => "webhook",
        }
    }
}

impl How {
    /// Whether it is known that what was sent has arrived.
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::Syslog(syslog) if *syslog.transport.get_ref() == Transport::Udp)
    }
}

/// `[[webhook]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    name: Spanned<Name>,
    /// Where to.
    pub url: HttpUrl,
    /// The body; without, the incident's line.
    template: Option<Spanned<String>>,
    /// The same in a file.
    template_file: Option<Spanned<PathBuf>>,
    /// Its type.
    #[serde(default = "json_type")]
    pub content_type: String,
    /// More headers.
    #[serde(default)]
    headers: BTreeMap<String, Spanned<String>>,
    /// A file with the key of signatures.
    secret_file: Option<Spanned<PathBuf>>,
    /// A file with the token of `Authorization: Bearer`.
    bearer_file: Option<Spanned<PathBuf>>,
    /// Authorities to trust instead of the host's.
    pub ca_file: Option<FullPath>,
    /// For connecting, sending and the answer together.
    #[serde(default = "timeout")]
    pub timeout_ms: Whole<10, 60_000>,
    #[serde(default)]
    limit: Limit,
    /// What became of the files and the template.
    #[serde(skip)]
    pub(crate) loaded: Loaded,
}

/// What a webhook needs from files, read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) body: Body,
    pub(crate) secret: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, String)>,
}

fn json_type() -> String {
    "application/json".into()
}

fn timeout() -> Whole<10, 60_000> {
    Whole::of(5_000)
}

/// `[[syslog]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyslogSettings {
    name: Spanned<Name>,
    /// Where to.
    pub address: HostPort,
    /// How.
    pub transport: Spanned<Transport>,
    /// Who speaks, as syslog sorts it.
    #[serde(default)]
    pub facility: Facility,
    /// Authorities to trust instead of the host's, of TLS.
    pub ca_file: Option<Spanned<FullPath>>,
    /// For connecting, and for writing.
    #[serde(default = "timeout")]
    pub timeout_ms: Whole<10, 60_000>,
    #[serde(default)]
    limit: Limit,
}

/// How syslog messages travel.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// RFC 6587, with octet counting.
    Tcp,
    /// RFC 5425.
    Tls,
    /// RFC 5426.
    Udp,
}

/// Syslog's facilities that fit.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Facility {
    /// 3
    #[default]
    Daemon = 3,
    /// 4
    Auth = 4,
    /// 16
    Local0 = 16,
    /// 17
    Local1 = 17,
    /// 18
    Local2 = 18,
    /// 19
    Local3 = 19,
    /// 20
    Local4 = 20,
    /// 21
    Local5 = 21,
    /// 22
    Local6 = 22,
    /// 23
    Local7 = 23,
}

/// `[[alertmanager]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerSettings {
    name: Spanned<Name>,
    /// The server, without `/api/v2/alerts`.
    pub url: HttpUrl,
    /// More labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How often what is open is told again, seconds; it ends by itself after four times as long.
    #[serde(default = "resend")]
    pub resend_s: Whole<1, 3_600>,
    /// Authorities to trust instead of the host's.
    pub ca_file: Option<FullPath>,
    /// For connecting, sending and the answer together.
    #[serde(default = "timeout")]
    pub timeout_ms: Whole<10, 60_000>,
    #[serde(default)]
    limit: Limit,
}

fn resend() -> Whole<1, 3_600> {
    Whole::of(60)
}

/// `[[eve]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EveSettings {
    name: Spanned<Name>,
    /// The file.
    pub path: FullPath,
    /// Then it is set aside.
    #[serde(default = "eve_mib")]
    pub mib_max: Whole<1, 65_536>,
    /// Files that were set aside and are kept.
    #[serde(default = "eve_files")]
    pub files_max: Whole<1, 1_000>,
    #[serde(default)]
    limit: Limit,
}

fn eve_mib() -> Whole<1, 65_536> {
    Whole::of(64)
}

fn eve_files() -> Whole<1, 1_000> {
    Whole::of(8)
}

/// `[[journald]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournaldSettings {
    name: Spanned<Name>,
    /// Its socket.
    #[serde(default = "journal")]
    pub socket: FullPath,
    #[serde(default)]
    limit: Limit,
}

fn journal() -> FullPath {
    FullPath("/run/systemd/journal/socket".into())
}

/// `[[exec]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSettings {
    name: Spanned<Name>,
    /// The program; there is no shell.
    pub program: FullPath,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Then it is killed.
    #[serde(default = "exec_timeout")]
    pub timeout_ms: Whole<10, 600_000>,
    /// How often it is tried with one message.
    #[serde(default = "exec_tries")]
    pub tries_max: Whole<1, 100>,
    /// Whose rights it has when root starts it.
    #[serde(default = "nobody")]
    pub uid: Whole<1, 4_294_967_294>,
    /// The group's.
    #[serde(default = "nobody")]
    pub gid: Whole<1, 4_294_967_294>,
    #[serde(default)]
    limit: Limit,
}

fn exec_timeout() -> Whole<10, 600_000> {
    Whole::of(10_000)
}

fn exec_tries() -> Whole<1, 100> {
    Whole::of(3)
}

fn nobody() -> Whole<1, 4_294_967_294> {
    Whole::of(65_534)
}

fn named(name: &Spanned<Name>, limit: Limit, how: How) -> ReceiverSettings {
    ReceiverSettings { name: name.get_ref().0.clone(), at: name.span().start, limit, how }
}

macro_rules! receiver_of {
    ($($settings:ident => $how:ident),+) => {
        $(impl From<$settings> for ReceiverSettings {
            fn from(settings: $settings) -> Self {
                named(&settings.name.clone(), settings.limit, How::$how(settings))
            }
        })+
    };
}

receiver_of!(AlertmanagerSettings => Alertmanager, EveSettings => Eve, ExecSettings => Exec, JournaldSettings => Journald);

/// Those kinds that need more checks than the parser makes.
pub(super) fn all(
    text: &str,
    webhooks: Vec<WebhookSettings>,
    syslogs: Vec<SyslogSettings>,
) -> Result<Vec<ReceiverSettings>, SettingsError> {
    let mut receivers = Vec::new();
    for mut webhook in webhooks {
        webhook.loaded = webhook.load(text)?;
        receivers.push(named(&webhook.name.clone(), webhook.limit, How::Webhook(Box::new(webhook))));
    }
    for syslog in syslogs {
        if let Some(ca) = syslog.ca_file.as_ref().filter(|_| *syslog.transport.get_ref() != Transport::Tls) {
            return Err(wrong(text, ca.span().start, "only transport = \"tls\" has authorities".into()));
        }
        receivers.push(named(&syslog.name.clone(), syslog.limit, How::Syslog(syslog)));
    }
    Ok(receivers)
}

impl WebhookSettings {
    fn load(&self, text: &str) -> Result<Loaded, SettingsError> {
        let read = |path: &Spanned<PathBuf>| {
            std::fs::read_to_string(path.get_ref())
                .map_err(|error| wrong(text, path.span().start, format!("cannot read it: {error}")))
        };
        let template = match (&self.template, &self.template_file) {
            (Some(_), Some(file)) => {
                let reason = "`template` and `template_file` are two ways to say one thing";
                return Err(wrong(text, file.span().start, reason.into()));
            }
            (Some(template), None) => Some((template.get_ref().clone(), template.span().start)),
            (None, Some(file)) => Some((read(file)?, file.span().start)),
            (None, None) => None,
        };
        let is_json = self.content_type.starts_with("application/json");
        let body = match template {
            Some((template, at)) => {
                Body::template(template, is_json).map_err(|reason| wrong(text, at, reason))?
            }
            None => Body::Line,
        };
        let secret = match &self.secret_file {
            Some(file) => {
                let secret = read(file)?.trim_end().as_bytes().to_vec();
                if secret.len() < 16 {
                    let reason = "a secret of less than 16 bytes can be guessed";
                    return Err(wrong(text, file.span().start, reason.into()));
                }
                Some(secret)
            }
            None => None,
        };
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let fits = ureq::http::HeaderName::from_bytes(name.as_bytes()).is_ok()
                && ureq::http::HeaderValue::from_str(value.get_ref()).is_ok();
            if !fits {
                return Err(wrong(
                    text,
                    value.span().start,
                    format!("{name} cannot be a header with this value"),
                ));
            }
            headers.push((name.clone(), value.get_ref().clone()));
        }
        if let Some(file) = &self.bearer_file {
            let value = format!("Bearer {}", read(file)?.trim());
            if ureq::http::HeaderValue::from_str(&value).is_err() {
                return Err(wrong(text, file.span().start, "what is in it is no token".into()));
            }
            headers.push(("Authorization".into(), value));
        }
        Ok(Loaded { body, secret, headers })
    }
}
