//! What is answered to which path.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Form, Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use bytes::Bytes;
use flate2::Compression;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::events::Hub;
use super::guard::{Guard, Peer, guard};
use super::limits::BODY_BYTES_MAX;
use super::past::{Past, Refusal};
use super::sessions::Sessions;
use super::{assets, evidence, told};
use crate::board::{IncidentCard, SharedBoard};
use crate::metrics::{self, Metrics};

/// A board that was told may be told again for so long, while lines come faster than anybody looks.
const SAME_BOARD: Duration = Duration::from_millis(200);
/// The same of what pages ask for every few seconds.
const SAME_CHART: Duration = Duration::from_secs(1);

/// What answers are made of.
pub(super) struct Shared {
    pub(super) board: SharedBoard,
    pub(super) hub: Arc<Hub>,
    pub(super) guard: Arc<Guard>,
    pub(super) metrics: Option<Metrics>,
    pub(super) past: Option<Past>,
    pub(super) kept: Answers,
}

/// Answers that are the same for all who ask.
#[derive(Default)]
pub(super) struct Answers {
    board: Kept,
    heat: Kept,
    graph: Kept,
    /// Of the newest connections, without a search.
    flows: Kept,
}

/// An answer as it was sent: hundreds who ask at once cost one.
#[derive(Default)]
struct Kept(Mutex<Option<Told>>);

#[derive(Clone)]
struct Told {
    at: Instant,
    changes: Option<u64>,
    plain: Bytes,
    packed: Bytes,
}

impl Kept {
    /// The last answer, where nothing changed since, as far as that is known, or it is younger than `same`; else what is
    /// made now.
    fn told(&self, changes: Option<u64>, same: Duration, make: impl FnOnce() -> Value) -> Told {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = kept.as_ref();
        if let Some(told) =
            last.filter(|told| (changes.is_some() && told.changes == changes) || told.at.elapsed() < same)
        {
            return told.clone();
        }
        let plain = Bytes::from(make().to_string());
        let packed = assets::pack(&plain, Compression::fast());
        kept.insert(Told { at: Instant::now(), changes, plain, packed }).clone()
    }
}

impl Told {
    fn answer(self, headers: &HeaderMap) -> Response {
        assets::packed_or_plain(headers, "application/json", self.packed, || self.plain)
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/api/board", get(board))
        .route("/api/events", get(events))
        .route("/api/incident/{id}", get(incident))
        .route("/api/evidence/{id}", get(evidence_of))
        .route("/api/flows", get(flows))
        .route("/api/heat", get(heat))
        .route("/api/graph", get(graph))
        .route("/api/history", get(history))
        .route("/healthz", get(healthz))
        .route("/logout", post(logout));
    for asset in assets::all() {
        let path = asset.path;
        let answer = move |headers: HeaderMap| async move { asset.answer(&headers) };
        router = router.route(path, if path == "/login" { get(answer).post(login) } else { get(answer) });
    }
    if shared.metrics.is_some() {
        router = router.route("/metrics", get(tell_metrics));
    }
    let outside = middleware::from_fn_with_state(Arc::clone(&shared.guard), guard);
    router
        .fallback(async || (StatusCode::NOT_FOUND, "no such page\n"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(outside)
        .with_state(shared)
}

async fn board(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let changes = Some(shared.hub.changes.load(Ordering::Relaxed));
    shared.kept.board.told(changes, SAME_BOARD, || shared.told()).answer(&headers)
}

impl Shared {
    fn card(&self, id: &str) -> Option<IncidentCard> {
        self.board.look().incidents().find(|card| card.id() == id).cloned()
    }

    fn told(&self) -> Value {
        // Whoever looks at the board holds its writer up: lines and points are copied, and nothing is written meanwhile.
        let board = self.board.look().clone();
        let mut json = told::board(&board);
        json["served"] = self.hub.served();
        json["has_history"] = json!(self.past.is_some());
        json["version"] = json!(env!("CARGO_PKG_VERSION"));
        json["has_login"] = json!(self.guard.sessions.is_some());
        json
    }
}

async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let messages = ReceiverStream::new(shared.hub.subscribe()).map(Ok::<_, std::convert::Infallible>);
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(messages)).into_response()
}

async fn incident(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match shared.card(&id) {
        Some(card) => json_of(&headers, &told::whole_incident(&card)),
        None => (StatusCode::NOT_FOUND, "no such incident, or it is forgotten\n").into_response(),
    }
}

/// Only what the run itself has named: the client names an incident, never a file.
async fn evidence_of(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let card = shared.card(&id);
    let path = card.as_ref().and_then(|card| card.line.json["evidence"]["path"].as_str());
    let Some(path) = path else {
        let why = "no packets were kept of this incident: give the run --evidence DIR\n";
        return (StatusCode::NOT_FOUND, why).into_response();
    };
    match evidence::open(path).await {
        Ok(file) => {
            let about = [
                (CONTENT_TYPE, "application/x-pcapng".to_owned()),
                (
                    CONTENT_DISPOSITION,
                    format!("attachment; filename=\"{}.pcapng\"", evidence::file_name(&id)),
                ),
            ];
            (about, Body::from_stream(evidence::chunks(file))).into_response()
        }
        Err(error) => (StatusCode::GONE, format!("the evidence cannot be read: {error}\n")).into_response(),
    }
}

async fn flows(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    match query.get("q").map_or("", String::as_str) {
        "" => shared.kept.flows.told(None, SAME_CHART, || shared.hub.flows("")).answer(&headers),
        words => json_of(&headers, &shared.hub.flows(words)),
    }
}

async fn heat(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.kept.heat.told(None, SAME_CHART, || shared.hub.heat()).answer(&headers)
}

async fn graph(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.kept.graph.told(None, SAME_CHART, || shared.hub.graph()).answer(&headers)
}

async fn history(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(past) = &shared.past else {
        return (StatusCode::NOT_FOUND, "no history is kept: give serve --history DIR\n").into_response();
    };
    match past.told(&query).await {
        Ok(told) => json_of(&headers, &told),
        Err(Refusal::Asked(why)) => (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        Err(Refusal::Busy) => {
            (StatusCode::SERVICE_UNAVAILABLE, "another interval is being read: try again\n").into_response()
        }
        Err(Refusal::History(error)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the history cannot be read: {error}\n"))
                .into_response()
        }
        Err(Refusal::Incident) => (StatusCode::NOT_FOUND, "no such incident in it\n").into_response(),
    }
}

/// Whether the server answers; nothing of the run.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn tell_metrics(State(shared): State<Arc<Shared>>) -> Response {
    let Some(metrics) = &shared.metrics else { return StatusCode::NOT_FOUND.into_response() };
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text()).into_response()
}

async fn login(
    State(shared): State<Arc<Shared>>,
    Extension(Peer(peer)): Extension<Peer>,
    Form(form): Form<std::collections::HashMap<String, String>>,
) -> Response {
    let token = form.get("token").map_or("", |token| token.trim());
    let Some(sessions) = &shared.guard.sessions else { return go("/") };
    if !shared.guard.token_is_right(token, peer) {
        return go("/login#wrong");
    }
    match sessions.open(shared.guard.is_tls) {
        Some(cookie) => ([(SET_COOKIE, cookie)], go("/")).into_response(),
        None => (StatusCode::INTERNAL_SERVER_ERROR, "the system has no random numbers\n").into_response(),
    }
}

async fn logout(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let cookies = headers.get(COOKIE).and_then(|cookies| cookies.to_str().ok()).unwrap_or_default();
    if let Some(sessions) = &shared.guard.sessions {
        sessions.close(cookies);
    }
    ([(SET_COOKIE, Sessions::no_cookie())], go("/login")).into_response()
}

fn json_of(headers: &HeaderMap, json: &Value) -> Response {
    let plain = Bytes::from(json.to_string());
    let packed = assets::pack(&plain, Compression::fast());
    assets::packed_or_plain(headers, "application/json", packed, || plain)
}

fn go(to: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}
