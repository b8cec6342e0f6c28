//! Who is told what: lines and the time in, messages for receivers out. No clock, no disk, no network.
//!
//! For each incident and each receiver it is kept what the receiver was told last. A line is a message where that is not
//! what the line says: told nothing and open, told another severity, told something and closed. So a line that was
//! lost, an incident that outgrows a route's severities and one that is still there when quiet hours end need no rules of
//! their own, and nobody hears of the end of what they were not told of.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::held::{Earlier, Held, held};
use super::limit::{Bucket, More};
use super::message::{Change, Message, Severity};
use super::quiet;
use super::settings::{Limit, Route, Settings, names};
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

/// One receiver.
struct Lane {
    name: String,
    bucket: Bucket,
    more: More,
    held: BTreeMap<String, Arc<Line>>,
    /// Of earlier runs.
    earlier: Vec<Earlier>,
    /// What is held is not what was kept last.
    is_changed: bool,
}

impl Lane {
    fn new(name: &str, limit: Limit, earlier: Vec<Held>, now: Timestamp) -> Self {
        let earlier = earlier.into_iter().filter_map(Earlier::of).take(HELD_MAX).collect();
        let (bucket, name) = (Bucket::new(limit, now), name.to_owned());
        Self { name, bucket, more: More::default(), held: BTreeMap::new(), earlier, is_changed: false }
    }

    fn release(&mut self, id: &str) {
        self.is_changed |= self.held.remove(id).is_some();
    }

    /// This run knows of it.
    fn supersede(&mut self, line: &Line) {
        let before = self.earlier.len();
        self.earlier.retain(|earlier| !earlier.is_about(line));
        self.is_changed |= self.earlier.len() != before;
    }
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
    /// The run is about to be ended: what it closes now is not over.
    pub(super) is_ending: bool,
    pub(super) counts: DeskCounts,
}

impl Desk {
    /// With what was held back for each receiver when an earlier run ended, by its name.
    pub(super) fn new(
        run: String,
        settings: &Settings,
        earlier: BTreeMap<String, Vec<Held>>,
        now: Timestamp,
    ) -> Self {
        let mut desk = Self {
            run,
            routes: Vec::new(),
            consequences: false,
            lanes: Vec::new(),
            known: BTreeMap::new(),
            orders: 0,
            is_ending: false,
            counts: DeskCounts::default(),
        };
        desk.change(settings, earlier, now);
        desk
    }

    /// Settings that were read again. Who is known by name keeps what they were told and what waits for them.
    pub(super) fn change(
        &mut self,
        settings: &Settings,
        mut earlier: BTreeMap<String, Vec<Held>>,
        now: Timestamp,
    ) {
        let place = |name: &str| self.lanes.iter().position(|lane| lane.name == name);
        let places: Vec<_> = settings.receivers.iter().map(|receiver| place(&receiver.name)).collect();
        let mut before: Vec<_> = std::mem::take(&mut self.lanes).into_iter().map(Some).collect();
        for (receiver, place) in settings.receivers.iter().zip(&places) {
            let name = &receiver.name;
            self.lanes.push(match place.and_then(|place| before[place].take()) {
                Some(lane) => Lane { bucket: lane.bucket.limited(receiver.limit), ..lane },
                None => Lane::new(name, receiver.limit, earlier.remove(name).unwrap_or_default(), now),
            });
        }
        for known in self.known.values_mut() {
            let told = |place: &Option<usize>| place.map_or(Told::Nothing, |place| known.told[place]);
            known.told = places.iter().map(told).collect();
        }
        self.routes.clone_from(&settings.routes);
        self.consequences = settings.consequences;
    }

    /// What is held back for a receiver, where that has changed since it was kept ([`Self::is_kept`]).
    pub(super) fn held(&self, index: usize) -> Option<Vec<Held>> {
        let lane = self.lanes.get(index).filter(|lane| lane.is_changed)?;
        let of = |(id, line): (&String, &Arc<Line>)| {
            let known = self.known.get(id)?;
            let before = match known.told[index] {
                Told::Severity(before) => Some(before),
                Told::Nothing | Told::Summed(_) => None,
            };
            Some(held(&self.run, id, known.step, before, line))
        };
        let earlier = lane.earlier.iter().map(|earlier| earlier.held.clone());
        Some(earlier.chain(lane.held.iter().filter_map(of)).collect())
    }

    /// What is held back for a receiver is on its way to the disk.
    pub(super) fn is_kept(&mut self, index: usize) {
        self.lanes[index].is_changed = false;
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
            let Told::Severity(before) = *told else {
                let lane = &mut self.lanes[index];
                match lane.held.get(id).filter(|_| self.is_ending) {
                    Some(line) => {
                        let step = known.step.saturating_sub(1);
                        lane.earlier.extend(Earlier::of(held(&self.run, id, step, None, line)));
                        lane.held.remove(id);
                    }
                    None => lane.release(id),
                }
                continue;
            };
            self.lanes[index].release(id);
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
        lane.release(id);
        lane.supersede(line);
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
        let lane = &mut self.lanes[index];
        lane.supersede(line);
        if lane.held.contains_key(id) || lane.held.len() + lane.earlier.len() < HELD_MAX {
            let before = lane.held.insert(id.to_owned(), Arc::clone(line));
            self.counts.quiet += u64::from(before.is_none());
            lane.is_changed |= before.is_none_or(|before| before.json["severity"] != severity.name());
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
            self.release_earlier(index, now, &mut messages);
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
                self.lanes[index].release(id);
                return None;
            }
        };
        match self.verdict(index, line, severity, now) {
            Verdict::Later => None,
            Verdict::Not if before.is_none() => {
                self.lanes[index].release(id);
                None
            }
            Verdict::Not | Verdict::Now => self.tell_one(index, id, line, severity, before, now),
        }
    }

    /// The same of what earlier runs left.
    fn release_earlier(&mut self, index: usize, now: Timestamp, messages: &mut Vec<Addressed>) {
        for earlier in std::mem::take(&mut self.lanes[index].earlier) {
            let verdict = self.verdict(index, &earlier.line, earlier.severity, now);
            let lane = &mut self.lanes[index];
            match verdict {
                Verdict::Later => {
                    lane.earlier.push(earlier);
                    continue;
                }
                Verdict::Not if earlier.held.before.is_none() => {}
                Verdict::Not | Verdict::Now if lane.bucket.take(now) => {
                    messages.push((index, earlier.message(nanoseconds(now))));
                }
                Verdict::Not | Verdict::Now => {
                    let text = |name: &str| earlier.line.json[name].as_str().unwrap_or_default();
                    lane.more.add(text("id"), text("kind"), earlier.severity, now);
                    self.counts.summed += 1;
                }
            }
            self.lanes[index].is_changed = true;
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
