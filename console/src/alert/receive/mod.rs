//! Ways of telling: each has what it needs for one receiver, and keeps its connection between messages.

mod alertmanager;
mod body;
mod eve;
mod exec;
mod http;
mod journald;
mod stream;
mod syslog;
mod webhook;

use std::time::Duration;

pub(crate) use body::Body;

use super::message::Message;
use super::settings::{How, ReceiverSettings};

/// Why a receiver was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may be told later.
    Again {
        /// In words.
        why: String,
        /// Not earlier, if the receiver said so.
        after: Option<Duration>,
    },
    /// It will never have this message.
    Refused(String),
}

impl Failure {
    pub(crate) fn again(why: impl ToString) -> Self {
        Self::Again { why: why.to_string(), after: None }
    }

    /// In words.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Again { why, .. } | Self::Refused(why) => why,
        }
    }
}

/// Somebody to tell.
pub(crate) enum Receiver {
    Alertmanager(alertmanager::Alertmanager),
    Eve(eve::Eve),
    Exec(exec::Exec),
    Journald(journald::Journald),
    Syslog(syslog::Syslog),
    Webhook(Box<webhook::Webhook>),
}

impl Receiver {
    /// Prepares it; nothing is connected or opened yet.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub(crate) fn new(settings: &ReceiverSettings) -> Result<Self, String> {
        Ok(match &settings.how {
            How::Alertmanager(how) => Self::Alertmanager(alertmanager::Alertmanager::new(how)?),
            How::Eve(how) => Self::Eve(eve::Eve::new(how)),
            How::Exec(how) => Self::Exec(exec::Exec::new(how)),
            How::Journald(how) => Self::Journald(journald::Journald::new(how)),
            How::Syslog(how) => Self::Syslog(syslog::Syslog::new(how)?),
            How::Webhook(how) => Self::Webhook(Box::new(webhook::Webhook::new(how)?)),
        })
    }

    /// Tells it, within its time.
    pub(crate) fn tell(&mut self, message: &Message) -> Result<(), Failure> {
        match self {
            Self::Alertmanager(receiver) => receiver.tell(message),
            Self::Eve(receiver) => receiver.tell(message),
            Self::Exec(receiver) => receiver.tell(message),
            Self::Journald(receiver) => receiver.tell(message),
            Self::Syslog(receiver) => receiver.tell(message),
            Self::Webhook(receiver) => receiver.tell(message),
        }
    }

    /// Takes over what another one of the same receiver knew, when its settings were read again.
    pub(crate) fn succeed(&mut self, before: Self) {
        if let (Self::Alertmanager(receiver), Self::Alertmanager(before)) = (self, before) {
            receiver.succeed(before);
        }
    }

    /// When it has to be looked after although there is nothing to tell.
    pub(crate) fn look(&self, otherwise: Duration) -> Duration {
        match self {
            Self::Alertmanager(receiver) => receiver.look().min(otherwise),
            _ => otherwise,
        }
    }

    /// Looks after it; `None` where nothing was to be done.
    pub(crate) fn idle(&mut self) -> Option<Result<(), String>> {
        match self {
            Self::Alertmanager(receiver) => receiver.resend(),
            _ => None,
        }
    }
}
