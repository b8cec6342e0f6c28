//! A receiver of OTLP/HTTP that takes requests apart.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use flate2::read::GzDecoder;
use tiny_http::{Header, Response, Server};

use crate::decode::Export;

/// What it answers.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: &'static str,
    /// `Retry-After`, seconds.
    pub(crate) after: Option<u32>,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, body: "{}", after: None }
    }
}

/// All that came.
type Heard = Arc<Mutex<Vec<(Instant, Export)>>>;

pub(crate) struct Receiver {
    address: SocketAddr,
    heard: Heard,
    server: Arc<Server>,
}

impl Receiver {
    /// Answers with what is made of how many came before.
    pub(crate) fn start(answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        Self::at("127.0.0.1:0", answer)
    }

    pub(crate) fn at(address: &str, answer: impl Fn(usize) -> Answer + Send + 'static) -> Self {
        let server = Arc::new(Server::http(address).unwrap());
        let heard = Heard::default();
        let (serving, hearing) = (Arc::clone(&server), Arc::clone(&heard));
        thread::spawn(move || {
            while let Ok(mut request) = serving.recv() {
                let at = Instant::now();
                let headers = request.headers().iter().map(|header| {
                    (header.field.as_str().as_str().to_ascii_lowercase(), header.value.to_string())
                });
                let (path, headers) = (request.url().to_owned(), headers.collect());
                let mut body = String::new();
                GzDecoder::new(request.as_reader()).read_to_string(&mut body).unwrap();
                let before = {
                    let mut heard = hearing.lock().unwrap();
                    heard.push((at, Export::of(path, headers, &body)));
                    heard.len() - 1
                };
                let Answer { status, body, after } = answer(before);
                let mut response = Response::from_string(body).with_status_code(status);
                if let Some(after) = after {
                    response.add_header(Header::from_bytes("Retry-After", after.to_string()).unwrap());
                }
                let _ = request.respond(response);
            }
        });
        Self { address: server.server_addr().to_ip().unwrap(), heard, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn exports(&self) -> Vec<Export> {
        self.heard.lock().unwrap().iter().map(|(_, export)| export.clone()).collect()
    }

    /// When requests came.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.heard.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

/// A port on which nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
