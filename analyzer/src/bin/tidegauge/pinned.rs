//! Counting on where an earlier run stopped: what lies between the two, and how far this one has told.

use std::io;

use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::output::{Gap, PinState};
use tidegauge_analyzer::quality::SourceLosses;
use tidegauge_analyzer::window::Window;
use tidegauge_capture::xdp::pin::{Pin, Start, Told as Noted};
use tidegauge_ebpf::counter::{Counter, Counters};

use super::sink::Sink;
use super::told::Told;

/// The run's account of pinned tables; of none, where the run is not pinned.
pub(crate) struct Account<'a> {
    pin: Option<&'a Pin>,
    /// What earlier runs told.
    before: Counters,
    /// Until when it is noted that this one told.
    noted_ns: u64,
    /// What was counted since the earlier run told, if there was one and its note can be true.
    gap: Option<Window>,
}

impl<'a> Account<'a> {
    /// Opens it; `held` reads the tables, of which from then on only what is new is a tick's.
    pub(crate) fn open(pin: Option<&'a Pin>, now_ns: u64, held: impl FnOnce() -> Counters) -> Self {
        let mut account = Self { pin, before: Counters::default(), noted_ns: now_ns, gap: None };
        let Some(pin) = pin else { return account };
        let Start::TakenOver(noted) = pin.start() else {
            pin.tell(&Noted { totals: account.before, end_ns: now_ns });
            return account;
        };
        let held = held();
        if is_true(&noted.totals, &held) {
            account.before = noted.totals;
            account.noted_ns = noted.end_ns;
            account.gap = Some(Window {
                start_ns: noted.end_ns.min(now_ns),
                end_ns: now_ns,
                totals: Box::new(held.since(&noted.totals)),
                ..Window::default()
            });
        } else {
            account.before = held;
        }
        account
    }

    /// What the `source` line says of it.
    pub(crate) fn state(&self) -> Option<PinState> {
        let pin = self.pin?;
        let (state, why) = match pin.start() {
            Start::Fresh => ("fresh", None),
            Start::Replaced { why } => ("replaced", Some(why.clone())),
            Start::TakenOver(_) => ("taken_over", None),
        };
        let gap = self.gap.as_ref().map(|gap| Gap {
            lasted_ns: gap.end_ns - gap.start_ns,
            packets: gap.totals.get(Counter::Packets),
            bytes: gap.totals.get(Counter::Bytes),
        });
        Some(PinState { dir: pin.dir().display().to_string(), state, why, gap })
    }

    /// Hands out what was counted between the runs, as the first window; the beginning of what this run tells of.
    pub(crate) fn tell_gap(
        &self,
        first_ns: u64,
        engine: &mut Engine,
        sink: &mut Sink,
        losses: &mut SourceLosses,
    ) -> io::Result<u64> {
        let taken_over = self.pin.is_some_and(|pin| matches!(pin.start(), Start::TakenOver(_)));
        let Some(gap) = &self.gap else {
            if taken_over {
                losses.unseen.push("packets between the runs: the earlier run's note is broken".to_owned());
            }
            return Ok(first_ns);
        };
        engine.add_before(&gap.totals);
        sink.gap(gap, engine.config(), losses)?;
        Ok(gap.start_ns)
    }

    /// Notes what was handed out by now; the next run takes it from there.
    pub(crate) fn note(&mut self, told: &Told) {
        let Some(pin) = self.pin else { return };
        if told.end_ns == 0 || told.end_ns == self.noted_ns {
            return;
        }
        let mut totals = self.before;
        totals.merge(&told.totals);
        pin.tell(&Noted { totals, end_ns: told.end_ns });
        self.noted_ns = told.end_ns;
    }
}

/// Counters only grow: a note beyond them is none.
fn is_true(noted: &Counters, held: &Counters) -> bool {
    noted.values.iter().zip(&held.values).all(|(noted, held)| noted <= held)
}
