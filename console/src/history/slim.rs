//! What is kept of a line.

use serde_json::Value;

use crate::line::{Event, Line};

/// Listeners, hosts and targets that are kept of a window, the busiest of each.
pub const LISTED_MAX: usize = 16;

/// Lists of a window that grow with what is seen.
const LISTS: [&str; 3] = ["listeners", "hosts", "targets"];

/// The line as it is kept, without its end; `None` where it is not.
pub(super) fn kept(line: &Line) -> Option<String> {
    match line.event {
        Event::Flow | Event::Graph | Event::Judgement => None,
        Event::Incident | Event::Reload | Event::Source | Event::Summary => Some(line.text.clone()),
        Event::Window => Some(window(line)),
    }
}

fn window(line: &Line) -> String {
    let is_long = |name: &&&str| line.json[**name].as_array().is_some_and(|list| list.len() > LISTED_MAX);
    let long: Vec<&str> = LISTS.iter().filter(is_long).copied().collect();
    if long.is_empty() {
        return line.text.clone();
    }
    let mut json = line.json.clone();
    let mut left_out = serde_json::Map::new();
    for name in long {
        let Some(list) = json[name].as_array_mut() else { continue };
        left_out.insert(name.to_owned(), (list.len() - LISTED_MAX).into());
        list.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
        list.truncate(LISTED_MAX);
    }
    json["left_out"] = Value::Object(left_out);
    json.to_string()
}

/// How busy something is: packets where they are counted, else attempts.
fn weight(entry: &Value) -> f64 {
    let counts = ["packets", "udp_packets", "icmp_packets", "other_packets"];
    let packets: f64 = counts.iter().filter_map(|name| entry[*name].as_f64()).sum();
    packets.max(entry["features"]["conn_rate"].as_f64().unwrap_or(0.0))
}
