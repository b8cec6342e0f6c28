//! What a run has handed out: what a reader of its output has.

use tidegauge_analyzer::window::Window;
use tidegauge_ebpf::counter::Counters;

/// Windows that were handed out, as a sum.
#[derive(Default)]
pub(crate) struct Told {
    /// All totals.
    pub(crate) totals: Counters,
    /// End of the last one.
    pub(crate) end_ns: u64,
}

impl Told {
    pub(crate) fn add(&mut self, window: &Window) {
        self.totals.merge(&window.totals);
        self.end_ns = self.end_ns.max(window.end_ns);
    }
}
