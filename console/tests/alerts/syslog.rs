//! Syslog over UDP, TCP and TLS, and HTTPS with the same certificate.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::support::{Run, counted, eventually, line, nobody, skip};

const SECONDS: Duration = Duration::from_secs(5);

fn table(address: &std::net::SocketAddr, transport: &str) -> String {
    let address = format!("localhost:{}", address.port());
    format!(
        "[[syslog]]\nname = \"log\"\naddress = {address:?}\ntransport = {transport:?}\nfacility = \"local0\"\n"
    )
}

#[test]
fn datagrams_are_messages() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SECONDS)).unwrap();
    let address = format!("127.0.0.1:{}", socket.local_addr().unwrap().port());
    let mut run =
        Run::start(&format!("[[syslog]]\nname = \"log\"\naddress = {address:?}\ntransport = \"udp\"\n"));
    run.tell(&line("a", "opened", "P1"));
    let mut bytes = [0; 65_536];
    let length = socket.recv(&mut bytes).unwrap();
    let text = std::str::from_utf8(&bytes[..length]).unwrap();
    assert!(
        text.starts_with("<26>1 ") && text.contains(" tidegauge ") && text.contains(" id=\"a\""),
        "{text}"
    );
    assert!(length <= 1_400);
    assert_eq!(run.end(SECONDS), 0);
}

#[test]
fn a_connection_that_was_closed_is_made_anew() {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let mut run = Run::start(&table(&listener.local_addr().unwrap(), "tcp"));
    for id in ["a", "b", "c"] {
        run.tell(&line(id, "opened", "P2"));
        // Each on a connection of its own, which is closed after it.
        let (socket, _) = listener.accept().unwrap();
        let message = counted(&mut BufReader::new(socket)).unwrap();
        assert!(message.starts_with("<132>1 ") && message.contains(&format!(" id=\"{id}\"")), "{message}");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.end(SECONDS), 0);
}

#[test]
fn messages_on_one_connection_are_counted() {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let mut run = Run::start(&table(&listener.local_addr().unwrap(), "tcp"));
    for state in ["opened", "closed"] {
        run.tell(&line("a", state, "P2"));
    }
    let mut from = BufReader::new(listener.accept().unwrap().0);
    assert!(counted(&mut from).unwrap().contains(" state=\"opened\""));
    assert!(counted(&mut from).unwrap().contains(" state=\"closed\""));
    assert_eq!(run.end(SECONDS), 0);
    assert_eq!(counted(&mut from), None);
}

/// A certificate for `localhost`: what a server needs, and the file for those who trust it.
fn certificate(dir: &tempfile::TempDir) -> (Arc<ServerConfig>, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = dir.path().join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), path)
}

/// A TLS receiver that closes each connection after one message.
fn tls_receiver(config: Arc<ServerConfig>, listener: TcpListener) -> Receiver<String> {
    let (told, messages) = channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(session, socket.unwrap()));
            if let Some(message) = counted(&mut stream) {
                let _ = told.send(message);
            }
        }
    });
    messages
}

#[test]
fn tls_is_for_those_who_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ca) = certificate(&dir);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let address = listener.local_addr().unwrap();
    let messages = tls_receiver(config, listener);
    let mut run = Run::start(&format!("{}ca_file = {ca:?}\n", table(&address, "tls")));
    for id in ["a", "b", "c"] {
        run.tell(&line(id, "opened", "P2"));
        let message = messages.recv_timeout(SECONDS).unwrap();
        assert!(message.contains(&format!(" id=\"{id}\"")), "{message}");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.end(SECONDS), 0);
    let other = tempfile::tempdir().unwrap();
    let (_, other) = certificate(&other);
    let mut run = Run::start(&format!("{}ca_file = {other:?}\n", table(&address, "tls")));
    run.tell(&line("secret", "opened", "P2"));
    eventually("it is refused", || !run.said().is_empty());
    assert!(run.said()[0].contains("certificate"), "{:?}", run.said());
    assert!(messages.try_recv().is_err());
    assert_eq!(run.end(Duration::from_millis(100)), 1);
}

#[test]
fn https_is_spoken_to_webhooks() {
    let dir = tempfile::tempdir().unwrap();
    let (config, ca) = certificate(&dir);
    let listener = TcpListener::bind("localhost:0").unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let server = thread::spawn(move || {
        let session = ServerConnection::new(config).unwrap();
        let mut stream = StreamOwned::new(session, listener.accept().unwrap().0);
        let mut request = Vec::new();
        let mut bytes = [0; 4_096];
        while !request.ends_with(b"}") {
            let count = stream.read(&mut bytes).unwrap();
            request.extend_from_slice(&bytes[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let mut run = Run::start(&format!("[[webhook]]\nname = \"ops\"\nurl = {url:?}\nca_file = {ca:?}\n"));
    run.tell(&line("a", "opened", "P1"));
    assert_eq!(run.end(SECONDS), 0);
    assert!(server.join().unwrap().starts_with("POST /hook HTTP/1.1\r\n"));
}

/// A real receiver, which ends with the test.
struct Rsyslog(std::process::Child, tempfile::TempDir);

impl Rsyslog {
    fn start(port: u16) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let (config, out) = (dir.path().join("conf"), dir.path().join("out"));
        let text = format!(
            "module(load=\"imtcp\")\nmodule(load=\"imudp\")\n\
             input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             input(type=\"imudp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             template(name=\"fields\" type=\"string\" string=\"%syslogseverity-text%|%app-name%|%msgid%|%structured-data%|%msg%\\n\")\n\
             action(type=\"omfile\" file={out:?} template=\"fields\")\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = std::process::Command::new("rsyslogd")
            .args(["-n", "-iNONE", "-f"])
            .arg(&config)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        Some(Self(child, dir))
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.1.path().join("out")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_receiver_takes_messages_apart() {
    let port = nobody().port();
    let Some(receiver) = Rsyslog::start(port) else {
        return skip("a_real_receiver_takes_messages_apart", "rsyslog is not here");
    };
    eventually("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    for (transport, id) in [("tcp", "by-tcp"), ("udp", "by-udp")] {
        let address = format!("127.0.0.1:{port}");
        let mut run = Run::start(&format!(
            "[[syslog]]\nname = \"log\"\naddress = {address:?}\ntransport = {transport:?}\n"
        ));
        run.tell(&line(id, "opened", "P1"));
        assert_eq!(run.end(SECONDS), 0);
        let of_it = |line: &String| line.contains(&format!(" id=\"{id}\""));
        eventually("it is written", || receiver.lines().iter().any(of_it));
        let found = receiver.lines().into_iter().find(of_it).unwrap();
        let fields: Vec<_> = found.split('|').collect();
        assert_eq!(fields[..3], ["crit", "tidegauge", "incident"], "{found}");
        assert!(fields[3].starts_with("[tidegauge@32473 id=") && fields[3].ends_with("\"]"), "{found}");
        assert!(fields[4].contains("P1 syn_flood opened: 10.0.0.1:80/tcp"), "{found}");
    }
}
