//! Who may look: the token, and browsers that once showed it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use subtle::ConstantTimeEq;

use super::limits::{SESSION_TIME_MAX, SESSIONS_MAX};

/// The cookie's name.
const COOKIE: &str = "tidegauge";

#[derive(Debug)]
struct Session {
    name: String,
    until: Instant,
}

/// The token, and the sessions it opened.
pub(super) struct Sessions {
    token: String,
    /// Oldest first.
    open: Mutex<VecDeque<Session>>,
}

impl Sessions {
    pub(super) fn new(token: String) -> Self {
        Self { token, open: Mutex::default() }
    }

    /// Whether this is the token; takes the same time whatever it is.
    pub(super) fn is_token(&self, said: &str) -> bool {
        self.token.as_bytes().ct_eq(said.as_bytes()).into()
    }

    /// Opens a session; its cookie. `None` where the system has no random numbers.
    pub(super) fn open(&self, is_tls: bool) -> Option<String> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).ok()?;
        let mut name = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(name, "{byte:02x}");
        }
        let cookie = format!(
            "{COOKIE}={name}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{}",
            SESSION_TIME_MAX.as_secs(),
            if is_tls { "; Secure" } else { "" }
        );
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() == SESSIONS_MAX {
            open.pop_front();
        }
        open.push_back(Session { name, until: Instant::now() + SESSION_TIME_MAX });
        Some(cookie)
    }

    /// Whether one of these cookies is of a session.
    pub(super) fn knows(&self, cookies: &str) -> bool {
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|session| session.until > now);
        named(cookies).any(|name| {
            open.iter().fold(false, |known, session| {
                known | bool::from(session.name.as_bytes().ct_eq(name.as_bytes()))
            })
        })
    }

    /// Closes the sessions of these cookies.
    pub(super) fn close(&self, cookies: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for name in named(cookies) {
            open.retain(|session| session.name != name);
        }
    }

    /// Makes the browser forget.
    pub(super) fn no_cookie() -> String {
        format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
    }
}

fn named(cookies: &str) -> impl Iterator<Item = &str> {
    cookies.split(';').filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_until_it_is_closed_and_their_number_is_bounded() {
        let sessions = Sessions::new("open sesame open sesame".into());
        assert!(sessions.is_token("open sesame open sesame") && !sessions.is_token("open sesame"));
        let cookie = sessions.open(true).unwrap();
        assert!(cookie.ends_with("; Secure"), "{cookie}");
        let said = format!("other=1; {}", cookie.split(';').next().unwrap());
        assert!(sessions.knows(&said) && !sessions.knows("tidegauge=0; tidegauge="));
        sessions.close(&said);
        assert!(!sessions.knows(&said));
        let first = sessions.open(false).unwrap();
        for _ in 0..SESSIONS_MAX {
            sessions.open(false).unwrap();
        }
        assert!(!sessions.knows(first.split(';').next().unwrap()));
    }
}
