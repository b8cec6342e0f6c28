//! Counters of the busiest listeners; everything else is one listener more, named `other`.
//!
//! Bounded: [`LISTENERS_MAX`] have series of their own, whoever asks for how many. One that has become much busier than the
//! calmest of them takes its place: that one's series end there, and begin at zero should it come back, which Prometheus
//! takes as a counter that was reset. `other` has what nobody had a place for meanwhile, so that rates add up to the whole.

use serde_json::Value;

use super::family::Since;
use crate::line::{Line, number};

/// Listeners with series of their own.
pub const LISTENERS_MAX: usize = 50;

/// Windows name the busiest; more of them than this are not looked at.
const LISTED_MAX: usize = 512;

/// In this time without packets a listener's share in its place halves.
const HALF_LIFE_S: f64 = 60.0;

/// By how much busier a listener must be to take a place.
const BUSIER: f64 = 2.0;

/// What is counted: label, path in a listener's object, path in the window.
pub(super) const COUNTED: [(&str, &str, &str); 6] = [
    ("packets", "packets", "packets"),
    ("bytes", "bytes", "bytes"),
    ("answered", "answered", "handshake.answered"),
    ("attempted", "attempted", "handshake.attempted"),
    ("completed", "completed", "handshake.completed"),
    ("refused", "refused", "handshake.refused"),
];

pub(super) type Counts = [u64; COUNTED.len()];

/// A listener with series of its own.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) counts: Counts,
    /// When it got its place.
    pub(super) since: Since,
    /// Packets per second, lately.
    busy: f64,
    /// Of the newest window, where it was in it.
    pub(super) half_open: Option<f64>,
    pub(super) rtt_listener_ms: Option<f64>,
    pub(super) rtt_peer_ms: Option<f64>,
}

/// All listeners.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) places: Vec<Place>,
    pub(super) other: Counts,
    /// How often one took another's place.
    pub(super) replaced: u64,
}

impl Listeners {
    /// Takes a window.
    pub(super) fn take(&mut self, line: &Line) {
        let window_s = line.number("window_s").filter(|length| *length > 0.0).unwrap_or(1.0);
        let kept = 0.5_f64.powf(window_s / HALF_LIFE_S);
        for place in &mut self.places {
            place.busy *= kept;
            (place.half_open, place.rtt_listener_ms, place.rtt_peer_ms) = (None, None, None);
        }
        let mut told = Counts::default();
        let listed = line.json["listeners"].as_array().map_or(&[][..], Vec::as_slice);
        for listener in listed.iter().take(LISTED_MAX) {
            let counts = COUNTED.map(|(_, path, _)| whole(number(listener, path)));
            let per_s = counts[0] as f64 / window_s;
            let Some(place) = self.place(&name(listener), per_s) else { continue };
            place.busy += per_s * (1.0 - kept);
            place.half_open = number(listener, "half_open");
            place.rtt_listener_ms = number(listener, "rtt_listener_ms");
            place.rtt_peer_ms = number(listener, "rtt_peer_ms");
            for ((sum, told), count) in place.counts.iter_mut().zip(&mut told).zip(counts) {
                *sum += count;
                *told += count;
            }
        }
        let all = COUNTED.map(|(_, _, path)| whole(line.number(path)));
        for ((other, all), told) in self.other.iter_mut().zip(all).zip(told) {
            *other += all.saturating_sub(told);
        }
    }

    /// The place of a listener, its own or a new one; `None` where there is none for it.
    fn place(&mut self, name: &str, per_s: f64) -> Option<&mut Place> {
        if let Some(at) = self.places.iter().position(|place| place.name == name) {
            return self.places.get_mut(at);
        }
        let new = Place { name: name.to_owned(), busy: per_s, ..Place::default() };
        if self.places.len() < LISTENERS_MAX {
            self.places.push(new);
            return self.places.last_mut();
        }
        let calmest = self.places.iter_mut().min_by(|one, other| one.busy.total_cmp(&other.busy))?;
        if per_s <= BUSIER * calmest.busy {
            return None;
        }
        *calmest = new;
        self.replaced += 1;
        Some(calmest)
    }
}

/// `10.0.0.2:80`, `[fd00::2]:80`.
fn name(listener: &Value) -> String {
    let addr = listener["target"]["addr"].as_str().unwrap_or_default();
    let port = listener["target"]["port"].as_u64().unwrap_or_default();
    if addr.contains(':') { format!("[{addr}]:{port}") } else { format!("{addr}:{port}") }
}

/// A count: contract numbers are whole, and unknown ones add nothing.
pub(super) fn whole(number: Option<f64>) -> u64 {
    number.map_or(0, |number| number.max(0.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(packets: u64, listeners: &[(u32, u64)]) -> Line {
        let listeners: Vec<String> = listeners
            .iter()
            .map(|(port, packets)| {
                format!(r#"{{"target":{{"addr":"10.0.0.1","port":{port}}},"packets":{packets},"bytes":0}}"#)
            })
            .collect();
        let text = format!(
            r#"{{"ts":"1970-01-01T00:00:01Z","event":"window","window_s":1.0,"packets":{packets},"listeners":[{}]}}"#,
            listeners.join(",")
        );
        Line::parse(&text).unwrap()
    }

    fn sum(listeners: &Listeners) -> u64 {
        listeners.places.iter().map(|place| place.counts[0]).sum::<u64>() + listeners.other[0]
    }

    #[test]
    fn what_has_no_place_is_other_and_all_adds_up() {
        let mut listeners = Listeners::default();
        for port in 0..LISTENERS_MAX as u32 {
            listeners.take(&window(100, &[(port, 60)]));
        }
        assert_eq!((listeners.places.len(), listeners.other[0]), (LISTENERS_MAX, 40 * LISTENERS_MAX as u64));
        listeners.take(&window(100, &[(1_000, 10)]));
        assert_eq!((listeners.places.len(), listeners.replaced), (LISTENERS_MAX, 0));
        assert_eq!(sum(&listeners), 100 * (LISTENERS_MAX as u64 + 1));
    }

    #[test]
    fn who_is_much_busier_takes_the_place_of_the_calmest() {
        let mut listeners = Listeners::default();
        for port in 0..LISTENERS_MAX as u32 {
            listeners.take(&window(u64::from(port) + 10, &[(port, u64::from(port) + 10)]));
        }
        listeners.take(&window(5_000, &[(1_000, 5_000)]));
        let names: Vec<_> = listeners.places.iter().map(|place| place.name.as_str()).collect();
        assert!(names.contains(&"10.0.0.1:1000") && !names.contains(&"10.0.0.1:0"), "{names:?}");
        assert_eq!((listeners.places.len(), listeners.replaced), (LISTENERS_MAX, 1));
    }

    #[test]
    fn a_crowd_of_strangers_does_not_push_the_regular_out() {
        let mut listeners = Listeners::default();
        for second in 0..2_000 {
            let strangers: Vec<_> = (0..9).map(|n| (1_000 + second * 9 + n, 20)).collect();
            let all: Vec<_> = std::iter::once((80, 500)).chain(strangers).collect();
            listeners.take(&window(1_000, &all));
        }
        let regular = listeners.places.iter().find(|place| place.name == "10.0.0.1:80").unwrap();
        assert_eq!(regular.counts[0], 500 * 2_000);
        assert_eq!(listeners.places.len(), LISTENERS_MAX);
    }
}
