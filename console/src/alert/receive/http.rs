//! What the answer to a POST means to webhooks and the Alertmanager.

use ureq::Body;
use ureq::http::Response;

use super::Failure;
use crate::http::{Answer, why_none};

/// What the answer to a POST means.
pub(super) fn judge(answer: Result<Response<Body>, ureq::Error>) -> Result<(), Failure> {
    let answer = Answer::read(answer.map_err(|error| Failure::again(why_none(&error)))?);
    if answer.status.is_success() {
        return Ok(());
    }
    let why = answer.why();
    let is_passing = answer.status.is_server_error() || matches!(answer.status.as_u16(), 408 | 425 | 429);
    if is_passing { Err(Failure::Again { why, after: answer.after }) } else { Err(Failure::Refused(why)) }
}
