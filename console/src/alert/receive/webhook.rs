//! A webhook: a POST with a key against doubles, and a signature if there is a secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use ureq::Agent;

use super::{Body, Failure, http};
use crate::alert::message::Message;
use crate::alert::settings::WebhookSettings;
use crate::alert::spool::hex;
use crate::http::agent;

/// One receiver.
pub(crate) struct Webhook {
    agent: Agent,
    url: String,
    content_type: String,
    headers: Vec<(String, String)>,
    secret: Option<Vec<u8>>,
    body: Body,
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings) -> Result<Self, String> {
        let timeout = Duration::from_millis(settings.timeout_ms.get());
        let ca_file = settings.ca_file.as_ref().map(AsRef::as_ref);
        Ok(Self {
            agent: agent(settings.url.is_https(), ca_file, timeout)?,
            url: settings.url.0.clone(),
            content_type: settings.content_type.clone(),
            headers: settings.loaded.headers.clone(),
            secret: settings.loaded.secret.clone(),
            body: settings.loaded.body.clone(),
        })
    }

    pub(super) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        let body = self.body.of(message);
        let timestamp =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let mut request = self
            .agent
            .post(&self.url)
            .header("Content-Type", &self.content_type)
            .header("Idempotency-Key", &message.key)
            .header("X-Tidegauge-Event", message.what.name())
            .header("X-Tidegauge-Timestamp", &timestamp);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(signature) =
            self.secret.as_deref().and_then(|secret| signature(secret, &timestamp, &body))
        {
            request = request.header("X-Tidegauge-Signature", signature);
        }
        http::judge(request.send(&body))
    }
}

/// HMAC-SHA256 over the timestamp, a dot and the body: an old message cannot be sent again with a new time.
fn signature(secret: &[u8], timestamp: &str, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    for part in [timestamp.as_bytes(), b".", body.as_bytes()] {
        mac.update(part);
    }
    Some(format!("sha256={}", hex(&mac.finalize().into_bytes())))
}
