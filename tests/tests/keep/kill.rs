//! `kill -9` at random moments under traffic: the interface is as it was found, or pinned state is taken over, and no
//! client notices.
//!
//! The normal run kills ten times each way; `TIDEGAUGE_KILLS=50` asks for another number. Moments come from a seed, and
//! lie before, within and after the loading of the program.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tidegauge_tests::client::{self, Counts, Load};
use tidegauge_tests::netns::{Lab, SERVER_IFACE, SERVER_V4, Side};
use tidegauge_tests::random::Random;
use tidegauge_tests::skip::lab_or_skip;

use crate::hooks::{BpfFs, Hooks, wait_until_attached, wait_until_none};
use crate::load::Server;
use crate::running::{Live, alone};
use crate::support::{run, tidegauge};

const KILLS_VARIABLE: &str = "TIDEGAUGE_KILLS";
const KILLS: usize = 10;
const SEED: u64 = 9;
/// Kills take turns: one within the first moments, while the program is being loaded; one while it is attached.
const MOMENT_MAX_MS: u32 = 250;
const ATTACHED_MAX_MS: u32 = 1_000;
const ECHO_PORT: u16 = 7;
const MESSAGE_BYTES: usize = 64;
const MESSAGE_PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(5);

fn kills() -> usize {
    std::env::var(KILLS_VARIABLE).ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

/// A server that says back what it hears, on connections that stay.
pub(crate) struct Echo {
    address: SocketAddr,
}

impl Echo {
    /// Serves until the test process ends; its namespace is deleted before that.
    pub(crate) fn start(lab: &Lab) -> Self {
        let address = SocketAddr::from((SERVER_V4, ECHO_PORT));
        let listener = lab.inside(Side::Server, || TcpListener::bind(address)).unwrap().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || say_back(stream));
            }
        });
        Self { address }
    }
}

fn say_back(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = [0; MESSAGE_BYTES];
    loop {
        stream.read_exact(&mut message)?;
        stream.write_all(&message)?;
    }
}

/// Requests on one connection, two hundred a second, each answered before the next.
pub(crate) struct Stream {
    asking: JoinHandle<Asked>,
    over: Arc<AtomicBool>,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) answered: u64,
    /// Not answered, wrongly answered, or the connection broke.
    pub(crate) failed: u64,
    pub(crate) slowest: Duration,
}

impl Stream {
    pub(crate) fn open(lab: &Lab, echo: &Echo) -> Self {
        let connect = || TcpStream::connect_timeout(&echo.address, PATIENCE);
        let stream = lab.inside(Side::Client, connect).unwrap().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        Self { asking: std::thread::spawn(move || ask(stream, &is_over)), over }
    }

    pub(crate) fn end(self) -> Asked {
        self.over.store(true, Ordering::Relaxed);
        self.asking.join().unwrap()
    }
}

fn ask(mut stream: TcpStream, is_over: &AtomicBool) -> Asked {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut asked = Asked::default();
    while !is_over.load(Ordering::Relaxed) {
        let message = [asked.answered as u8; MESSAGE_BYTES];
        let mut answer = [0; MESSAGE_BYTES];
        let started = Instant::now();
        let exchanged = stream.write_all(&message).and_then(|()| stream.read_exact(&mut answer));
        if exchanged.is_err() || answer != message {
            asked.failed += 1;
            return asked;
        }
        asked.answered += 1;
        asked.slowest = asked.slowest.max(started.elapsed());
        std::thread::sleep(MESSAGE_PAUSE);
    }
    asked
}

/// New connections all the time, until `stop`.
fn connect<'scope>(
    scope: &'scope Scope<'scope, '_>,
    lab: &'scope Lab,
    stop: &'scope AtomicBool,
) -> ScopedJoinHandle<'scope, Counts> {
    let load = Load {
        target: (SERVER_V4, 80).into(),
        sources: Vec::new(),
        rate_per_s: 200,
        duration: Duration::from_secs(600),
        workers: 16,
    };
    scope.spawn(move || lab.inside(Side::Client, || client::connect(&load, stop)).unwrap().unwrap())
}

/// Kills `kills` runs under traffic; `after` looks at the interface each time. The clients' view of it.
fn killed(lab: &Lab, args: &[&str], mut after: impl FnMut(Hooks)) -> (Asked, Counts) {
    let _server = Server::start(lab, (SERVER_V4, 80).into(), &["echo-close"]);
    let echo = Echo::start(lab);
    let stop = AtomicBool::new(false);
    let mut random = Random::new(SEED);
    let stream = Stream::open(lab, &echo);
    std::thread::scope(|scope| {
        let clients = connect(scope, lab, &stop);
        for kill in 0..kills() {
            let mut command = lab.command(Side::Server, tidegauge());
            let live = Live::spawn(command.args(["live", "--json"]).args(args));
            let moment_max_ms = if kill % 2 == 0 {
                MOMENT_MAX_MS
            } else {
                wait_until_attached(lab);
                ATTACHED_MAX_MS
            };
            std::thread::sleep(Duration::from_millis(random.below(moment_max_ms).into()));
            let alive = Hooks::of(lab);
            let ended = live.end_by(Signal::SIGKILL);
            assert_eq!((ended.code, ended.stderr.as_str()), (None, ""), "it ran until it was killed");
            after(alive);
        }
        stop.store(true, Ordering::Relaxed);
        (stream.end(), clients.join().unwrap())
    })
}

fn assert_unnoticed(way: &str, (asked, counts): (Asked, Counts)) {
    println!("{way}: {} kills; {asked:?}; {counts:?}", kills());
    assert_eq!(asked.failed, 0, "{asked:?}");
    assert_eq!(counts.completed, counts.attempted, "{counts:?}");
    assert!(asked.answered > 100 && counts.attempted > 100, "a load worth the name: {asked:?} {counts:?}");
}

#[test]
fn after_each_kill_the_interface_is_as_it_was_found() {
    let Some(lab) = lab_or_skip("after_each_kill_the_interface_is_as_it_was_found") else { return };
    let _alone = alone();
    let mut attached = 0;
    let seen = killed(&lab, &[SERVER_IFACE], |alive| {
        attached += usize::from(!alive.xdp.is_empty());
        wait_until_none(&lab);
    });
    println!("{attached} of {} were attached when they were killed", kills());
    assert!(attached >= kills() / 2, "every other kill waits until it is attached");
    assert_unnoticed("not pinned", seen);
}

#[test]
fn a_pinned_run_killed_while_it_begins_is_begun_again() {
    let Some(lab) = lab_or_skip("a_pinned_run_killed_while_it_begins_is_begun_again") else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let option = bpf.option();
    let mut random = Random::new(SEED);
    let mut states = Vec::new();
    let unpin = || run(lab.command(Side::Server, tidegauge()).args(["unpin", SERVER_IFACE]).arg(bpf.pins()));
    for _ in 0..kills() {
        let mut command = lab.command(Side::Server, tidegauge());
        let live = Live::spawn(command.args(["live", "--json", SERVER_IFACE, &option]));
        std::thread::sleep(Duration::from_millis(random.below(MOMENT_MAX_MS).into()));
        live.end_by(Signal::SIGKILL);
        let left = Hooks::of(&lab);
        assert!(left.xdp.len() <= 1 && left.tcx.len() <= 1, "{left:?}");
        let next = Live::start(&lab, &[SERVER_IFACE, &option]);
        let hooks = Hooks::of(&lab);
        assert_eq!((hooks.xdp.len(), hooks.tcx.len()), (1, 1), "{hooks:?}");
        states.push(next.interrupt().events[0]["source"]["pin"]["state"].clone());
        assert_eq!(unpin().code, Some(0));
        wait_until_none(&lab);
    }
    println!("the next runs were {states:?}");
}

#[test]
fn pinned_state_outlives_each_kill_and_is_taken_over() {
    let Some(lab) = lab_or_skip("pinned_state_outlives_each_kill_and_is_taken_over") else { return };
    let _alone = alone();
    let bpf = BpfFs::mounted();
    let option = bpf.option();
    // A first run to its end: from here on there is always one program, whatever is killed when.
    Live::start(&lab, &[SERVER_IFACE, &option]).interrupt();
    let seen = killed(&lab, &[SERVER_IFACE, &option], |_| {
        let hooks = Hooks::of(&lab);
        assert_eq!((hooks.xdp.len(), hooks.tcx.len(), hooks.clsact), (1, 1, false), "{hooks:?}");
    });
    let last = Live::start(&lab, &[SERVER_IFACE, &option]).interrupt();
    let pin = &last.events[0]["source"]["pin"];
    assert_eq!(pin["state"], "taken_over", "{pin}");
    assert!(pin["gap"]["packets"].is_u64(), "{pin}");
    assert_unnoticed("pinned", seen);
    let unpinned = run(lab.command(Side::Server, tidegauge()).args(["unpin", SERVER_IFACE]).arg(bpf.pins()));
    assert_eq!(unpinned.code, Some(0), "{}", unpinned.stderr);
    wait_until_none(&lab);
}
