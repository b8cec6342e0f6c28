//! When a run tells what talks to what: `--graph-lines`, every ten seconds of packet time and at the end.

/// Packet time between graphs.
const EVERY_NS: u64 = 10_000_000_000;

/// Whether, and not before which packet time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GraphLines(Option<u64>);

impl GraphLines {
    pub(crate) fn of(args: &super::args::CommonArgs) -> Self {
        Self(args.graph_lines.then_some(0))
    }

    /// Whether one is to be told now; then the next one is later.
    pub(crate) fn are_due(&mut self, now_ns: u64) -> bool {
        let is_due = self.0.is_some_and(|from_ns| now_ns >= from_ns);
        if is_due {
            self.0 = Some(now_ns + EVERY_NS);
        }
        is_due
    }

    /// The last one is told whenever it is.
    pub(crate) fn end(&mut self) {
        self.0 = self.0.map(|_| 0);
    }
}
