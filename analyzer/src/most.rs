//! The value that most samples have, if more than half do (Boyer and Moore 1981).

/// A candidate and how far it leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most<T> {
    /// The candidate.
    pub value: Option<T>,
    /// Its lead. At least this many samples had it.
    pub lead: u32,
}

impl<T: Copy + PartialEq> Most<T> {
    /// One more sample.
    pub fn record(&mut self, value: T) {
        if self.value == Some(value) {
            self.lead = self.lead.saturating_add(1);
        } else if self.lead == 0 {
            *self = Self { value: Some(value), lead: 1 };
        } else {
            self.lead -= 1;
        }
    }
}
