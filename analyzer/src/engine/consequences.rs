//! Marks incidents that are consequences of others, when something opens.

use super::Engine;
use crate::cause::{self, Because};
use crate::incident::{Incident, State};

impl Engine {
    /// Marks what is a consequence of something else, and adds those that were told before to what changed.
    pub(super) fn relate(&mut self, changed: &mut Vec<Incident>) {
        let opened = changed.iter().filter(|incident| incident.state == State::Opened);
        let opened: Vec<String> = opened.map(|incident| incident.id.clone()).collect();
        if opened.is_empty() {
            return;
        }
        self.run.incidents_unrelated += opened.len().saturating_sub(cause::OPENED_MAX) as u64;
        let related = cause::relate(&opened, self.open_incidents(), &self.graph);
        for (id, because) in related {
            self.change_open(&because.id, changed, |cause| cause.consequences += 1);
            self.mark(&id, because, changed);
        }
    }

    fn mark(&mut self, id: &str, because: Because, changed: &mut Vec<Incident>) {
        let now_ns = self.now_ns;
        let told = changed.iter().any(|incident| incident.id == id);
        let marked = self.change_open(id, changed, |incident| {
            incident.because_of = Some(because.clone());
            if !told {
                (incident.state, incident.updated_ns) = (State::Updated, now_ns);
            }
        });
        if !told {
            changed.extend(marked);
        }
    }

    /// Changes an open incident, and where it is about to be told, that too; returns it as it is now.
    fn change_open(
        &mut self,
        id: &str,
        changed: &mut [Incident],
        change: impl Fn(&mut Incident),
    ) -> Option<Incident> {
        changed.iter_mut().filter(|incident| incident.id == id).for_each(&change);
        let of_listeners = self.listeners.values_mut().flat_map(|listener| listener.incidents.iter_mut());
        let open = of_listeners.chain(self.scopes.incidents_mut()).chain(self.local_host.incidents_mut());
        let mut open = open.chain(&mut self.sight.incident);
        let incident = open.find(|incident| incident.id == id)?;
        change(incident);
        Some(incident.clone())
    }
}
