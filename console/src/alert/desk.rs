//! Who is told what: lines and the time in, messages for receivers out. No clock, no disk, no network.
//!
//! For each incident and each receiver it is kept what the receiver was told last. A line is a message where that is not
//! what the line says: told nothing and open, told another severity, told something and closed. So a line that was
//! lost, an incident that outgrows a route's severities and one that is still there when quiet hours end need no rules of
//! their own, and nobody hears of the end of what they were not told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::limit::{Bucket, More};
use super::message::{Change, Message, Severity};
use super::quiet;
use super::settings::{Route, Settings, names};
use crate::line::{Event, Line};

/// Open incidents that are followed; of more, the oldest is forgotten.
const INCIDENTS_MAX: usize = 4_096;
/// Incidents that wait for the end of quiet hours, for each receiver; more are summed up.
const HELD_MAX: usize = 256;

/// What a route says of an incident, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Not,
    Later,
    Now,
}

/// What one receiver knows of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// In a sum.
    Summed(Severity),
    Severity(Severity),
}

struct Known {
    step: u32,
    severity: Severity,
    order: u64,
    told: Vec<Told>,
}

struct Lane {
    bucket: Bucket,
    more: More,
    held: BTreeMap<String, Arc<Line>>,
}

/// What was not told, and why; of the desk as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeskCounts {
    /// Lines of incidents.
    pub lines: u64,
    /// Not told alone: consequences of something else.
    pub consequences: u64,
    /// Incidents that were forgotten for want of room.
    pub forgotten: u64,
    /// Lines without what an incident must have.
    pub not_understood: u64,
    /// Told in a sum.
    pub summed: u64,
    /// Held back in quiet hours, and told or over since.
    pub quiet: u64,
}

/// A message, and the place of its receiver.
pub(super) type Addressed = (usize, Message);

/// Decides.
pub(super) struct Desk {
    run: String,
    routes: Vec<Route>,
    consequences: bool,
    lanes: Vec<Lane>,
    known: BTreeMap<String, Known>,
    orders: u64,
    pub(super) counts: DeskCounts,
}

impl Desk {
    pub(super) fn new(run: String, settings: &Settings, now: Timestamp) -> Self {
        let lanes = settings.receivers.iter().map(|receiver| Lane {
            bucket: Bucket::new(receiver.limit, now),
            more: More::default(),
            held: BTreeMap::new(),
        });
        Self {
            run,
            routes: settings.routes.clone(),
            consequences: settings.consequences,
            lanes: lanes.collect(),
            known: BTreeMap::new(),
            orders: 0,
            counts: DeskCounts::default(),
        }
    }

    /// A line, and what is to be told because of it.
    pub(super) fn take(&mut self, line: &Arc<Line>, now: Timestamp) -> Vec<Addressed> {
        if line.event != Event::Incident {
            return Vec::new();
        }
        let text = |name: &str| line.json[name].as_str().unwrap_or_default();
        let (id, state) = (text("id").to_owned(), text("state"));
        let Some(severity) = Severity::from_name(text("severity")).filter(|_| !id.is_empty()) else {
            self.counts.not_understood += 1;
            return Vec::new();
        };
        self.counts.lines += 1;
        let is_closed = state == "closed";
        if !self.consequences && !line.json["because_of"].is_null() && !self.known.contains_key(&id) {
            self.counts.consequences += 1;
        }
        self.step(&id, severity, is_closed);
        let told = if is_closed {
            self.close(&id, line, severity, now)
        } else {
            self.tell(&id, line, severity, now)
        };
        if is_closed {
            self.known.remove(&id);
        }
        told
    }

    /// The incident's next step, if it is one.
    fn step(&mut self, id: &str, severity: Severity, is_closed: bool) {
        if let Some(known) = self.known.get_mut(id) {
            if known.severity != severity || is_closed {
                known.step += 1;
                known.severity = severity;
            }
            return;
        }
        if self.known.len() == INCIDENTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.order).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
                self.counts.forgotten += 1;
            }
        }
        self.orders += 1;
        let told = vec![Told::Nothing; self.lanes.len()];
        self.known.insert(id.to_owned(), Known { step: 0, severity, order: self.orders, told });
    }

    fn close(&mut self, id: &str, line: &Line, severity: Severity, now: Timestamp) -> Vec<Addressed> {
        let Some(known) = self.known.get(id) else { return Vec::new() };
        let mut messages = Vec::new();
        for (index, told) in known.told.iter().enumerate() {
            self.lanes[index].held.remove(id);
            let Told::Severity(before) = *told else { continue };
            let mut message = self.message(id, known.step, line, Change::Closed, severity, now);
            message.severity_before = Some(before).filter(|before| *before != severity);
            messages.push((index, message));
        }
        messages
    }

    fn tell(&mut self, id: &str, line: &Arc<Line>, severity: Severity, now: Timestamp) -> Vec<Addressed> {
        let because = !line.json["because_of"].is_null() && !self.consequences;
        let mut messages = Vec::new();
        for index in 0..self.lanes.len() {
            let told = self.known.get(id).map_or(Told::Nothing, |known| known.told[index]);
            let before = match told {
                Told::Severity(before) if before == severity => continue,
                Told::Severity(before) => Some(before),
                // What is in a sum is told if it becomes worse.
                Told::Summed(before) if severity >= before => continue,
                Told::Nothing | Told::Summed(_) => None,
            };
            if before.is_none() && because {
                continue;
            }
            match self.verdict(index, line, severity, now) {
                Verdict::Now => {}
                // What somebody knows of they are kept up to date with, be it out of a route's severities.
                Verdict::Not if before.is_some() => {}
                Verdict::Not => continue,
                Verdict::Later => {
                    self.hold(index, id, line, severity, now);
                    continue;
                }
            }
            messages.extend(self.tell_one(index, id, line, severity, before, now));
        }
        messages
    }

    /// Tells one receiver, unless it was told too much of late.
    fn tell_one(
        &mut self,
        index: usize,
        id: &str,
        line: &Line,
        severity: Severity,
        before: Option<Severity>,
        now: Timestamp,
    ) -> Option<Addressed> {
        let lane = &mut self.lanes[index];
        lane.held.remove(id);
        let step = self.known.get(id)?.step;
        if !lane.bucket.take(now) {
            self.sum(index, id, line, severity, before, now);
            return None;
        }
        self.known.get_mut(id)?.told[index] = Told::Severity(severity);
        let change = if before.is_some() { Change::Updated } else { Change::Opened };
        let mut message = self.message(id, step, line, change, severity, now);
        message.severity_before = before;
        Some((index, message))
    }

    fn sum(
        &mut self,
        index: usize,
        id: &str,
        line: &Line,
        severity: Severity,
        before: Option<Severity>,
        now: Timestamp,
    ) {
        let kind = line.json["kind"].as_str().unwrap_or_default();
        self.lanes[index].more.add(id, kind, severity, now);
        self.counts.summed += 1;
        // Somebody who was told of it before is told later, with the next line.
        if let (None, Some(known)) = (before, self.known.get_mut(id)) {
            known.told[index] = Told::Summed(severity);
        }
    }

    fn hold(&mut self, index: usize, id: &str, line: &Arc<Line>, severity: Severity, now: Timestamp) {
        let held = &mut self.lanes[index].held;
        if held.contains_key(id) || held.len() < HELD_MAX {
            if held.insert(id.to_owned(), Arc::clone(line)).is_none() {
                self.counts.quiet += 1;
            }
        } else {
            self.sum(index, id, line, severity, None, now);
        }
    }

    /// What is due because of the time: sums, and what quiet hours held back.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Addressed> {
        let mut messages = Vec::new();
        for index in 0..self.lanes.len() {
            if self.lanes[index].more.is_due(now) && !self.is_quiet(index, now) {
                messages.extend(self.more(index, now));
            }
            let held: Vec<_> =
                self.lanes[index].held.iter().map(|(id, line)| (id.clone(), Arc::clone(line))).collect();
            for (id, line) in held {
                messages.extend(self.release(index, &id, &line, now));
            }
        }
        messages
    }

    /// Tells of what was held back, unless it is quiet still, or there is nothing to tell any more.
    fn release(&mut self, index: usize, id: &str, line: &Arc<Line>, now: Timestamp) -> Option<Addressed> {
        let known = self.known.get(id).map(|known| (known.severity, known.told[index]));
        let (severity, before) = match known {
            Some((severity, Told::Severity(before))) if before != severity => (severity, Some(before)),
            Some((severity, Told::Nothing)) => (severity, None),
            _ => {
                self.lanes[index].held.remove(id);
                return None;
            }
        };
        match self.verdict(index, line, severity, now) {
            Verdict::Later => None,
            Verdict::Not if before.is_none() => {
                self.lanes[index].held.remove(id);
                None
            }
            Verdict::Not | Verdict::Now => self.tell_one(index, id, line, severity, before, now),
        }
    }

    /// Sums that are not told yet; nothing follows.
    pub(super) fn finish(&mut self, now: Timestamp) -> Vec<Addressed> {
        (0..self.lanes.len()).filter_map(|index| self.more(index, now)).collect()
    }

    fn more(&mut self, index: usize, now: Timestamp) -> Option<Addressed> {
        Some((index, self.lanes[index].more.message(&self.run, now)?))
    }

    fn message(
        &self,
        id: &str,
        step: u32,
        line: &Line,
        change: Change,
        severity: Severity,
        now: Timestamp,
    ) -> Message {
        Message::of(line, format!("{}/{id}/{step}", self.run), change, severity, nanoseconds(now))
    }

    fn verdict(&self, index: usize, line: &Line, severity: Severity, now: Timestamp) -> Verdict {
        if self.routes.is_empty() {
            return Verdict::Now;
        }
        let kind = line.json["kind"].as_str().unwrap_or_default();
        let of = |route: &Route| {
            let is_meant = route.receivers.contains(&index)
                && names(&route.severities, severity)
                && (route.kinds.is_empty() || route.kinds.iter().any(|named| named == kind))
                && (route.targets.is_empty()
                    || route.targets.iter().any(|target| target.has(&line.json["target"])));
            match &route.quiet {
                _ if !is_meant => Verdict::Not,
                Some(quiet) if !quiet.except.contains(&severity) && quiet::is_quiet(quiet, now) => {
                    Verdict::Later
                }
                _ => Verdict::Now,
            }
        };
        self.routes.iter().map(of).max().unwrap_or(Verdict::Not)
    }

    /// Whether all that leads to a receiver is quiet.
    fn is_quiet(&self, index: usize, now: Timestamp) -> bool {
        let mut leading = self.routes.iter().filter(|route| route.receivers.contains(&index)).peekable();
        leading.peek().is_some()
            && leading.all(|route| route.quiet.as_ref().is_some_and(|quiet| quiet::is_quiet(quiet, now)))
    }
}

pub(super) fn nanoseconds(now: Timestamp) -> i64 {
    i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
