//! Heat maps: packets of the busiest listeners, and who asks by address space and by country, all over the time of the run.
//!
//! Listeners are those of windows. Who asks is what lines name: what the busiest networks asked from one `graph` line to the
//! next; at each word on an incident its busiest networks with their attempts (or packets) in the second before, where graphs do
//! not tell of that; and the initiator of each connection, where the run tells connections and no graphs. So many at least:
//! quiet networks, and those of floods from everywhere, are not named.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::countries::Countries;
use super::grid::{Columns, Grid, Next};
use crate::line::{Event, Line, number};

/// All maps of a run.
#[derive(Debug, Default)]
pub(super) struct Heat {
    columns: Columns,
    listeners: Grid,
    /// By /8 of IPv4 and /32 of IPv6, and by /16 and /32.
    nets: [Grid; 2],
    countries: Option<(Arc<Countries>, Grid)>,
    /// By the newest graph of the run, if it tells any.
    asked: Option<Asked>,
}

/// Attempts of networks since the start of the run.
#[derive(Debug)]
struct Asked {
    /// Windows until then.
    windows: u64,
    /// Nothing was left out.
    is_all: bool,
    by_network: HashMap<String, f64>,
}

/// Length of IPv4 prefixes of [`Heat::nets`].
const NETS: [u8; 2] = [8, 16];

impl Heat {
    /// With a map by country, where that is known.
    pub(super) fn new(countries: Option<Arc<Countries>>) -> Self {
        Self { countries: countries.map(|known| (known, Grid::default())), ..Self::default() }
    }

    /// Takes a line.
    pub(super) fn take(&mut self, line: &Line) {
        match line.event {
            Event::Window => self.window(line),
            Event::Incident => self.incident(line),
            Event::Flow => self.connection(line),
            Event::Graph => self.graph(line),
            Event::Judgement | Event::Reload | Event::Source | Event::Summary => {}
        }
    }

    fn window(&mut self, line: &Line) {
        if self.columns.window(line.ts_ns, line.number("window_s")) == Next::Joined {
            let countries = self.countries.iter_mut().map(|(_, grid)| grid);
            self.nets.iter_mut().chain([&mut self.listeners]).chain(countries).for_each(Grid::join);
        }
        for listener in line.json["listeners"].as_array().into_iter().flatten() {
            let packets = number(listener, "packets").unwrap_or(0.0) as f32;
            self.listeners.add(&name_of(&listener["target"]), self.columns.newest(), packets);
        }
    }

    fn incident(&mut self, line: &Line) {
        // At its end nothing was counted anew; of attempts the graph tells more.
        if line.json["state"] == "closed" || (self.asked.is_some() && line.json["target"]["proto"] == "tcp") {
            return;
        }
        for network in line.json["sources"]["prefixes"].as_array().into_iter().flatten() {
            let count = number(network, "syn_per_s").unwrap_or(0.0);
            let addr = network["addr"].as_str().unwrap_or_default();
            self.source(addr, count as f32, self.columns.newest());
        }
    }

    /// What networks asked since the graph before, evenly over the time since then.
    fn graph(&mut self, line: &Line) {
        let columns = self.columns.since(self.asked.as_ref().map_or(0, |asked| asked.windows));
        let share = 1.0 / columns.clone().count().max(1) as f32;
        let before = self.asked.take();
        let mut asked = Asked {
            windows: self.columns.windows(),
            is_all: number(&line.json, "nodes_untold") == Some(0.0),
            by_network: HashMap::new(),
        };
        let nodes = line.json["nodes"].as_array().into_iter().flatten();
        for node in nodes.filter(|node| node["type"] == "network") {
            let (Some(id), Some(sum)) = (node["id"].as_str(), number(node, "asked")) else { continue };
            asked.by_network.insert(id.to_owned(), sum);
            let new = match &before {
                None => sum,
                Some(before) => match before.by_network.get(id) {
                    Some(known) => sum - known,
                    None if before.is_all => sum,
                    // It was not among the busiest: nobody knows since when it asks.
                    None => 0.0,
                },
            };
            let addr = id.split('/').next().unwrap_or_default();
            for column in columns.clone() {
                self.source(addr, new.max(0.0) as f32 * share, column);
            }
        }
        self.asked = Some(asked);
    }

    /// Connections are handed on unread, thousands a second: only this is looked for.
    fn connection(&mut self, line: &Line) {
        if self.asked.is_some() {
            return;
        }
        let addr =
            line.text.split_once(r#""initiator":{"addr":""#).and_then(|(_, rest)| rest.split_once('"'));
        if let Some((addr, _)) = addr {
            self.source(addr, 1.0, self.columns.newest());
        }
    }

    fn source(&mut self, addr: &str, count: f32, column: usize) {
        let Ok(addr) = addr.parse::<IpAddr>() else { return };
        if count <= 0.0 {
            return;
        }
        for (grid, length) in self.nets.iter_mut().zip(NETS) {
            grid.add(&network(addr, length), column, count);
        }
        if let Some((known, grid)) = &mut self.countries {
            grid.add(known.of(addr).as_ref().map_or("unknown", |code| code.as_str()), column, count);
        }
    }

    /// The map of listeners, as the page draws it, with the others in `by`.
    pub(super) fn told(&self) -> Value {
        let columns = &self.columns;
        let mut told = self.listeners.told("packets", "listener", columns);
        told["by"] = json!({
            "net8": self.nets[0].told("attempts", "network", columns),
            "net16": self.nets[1].told("attempts", "network", columns),
            "country": self.countries.as_ref().map(|(_, grid)| grid.told("attempts", "country", columns)),
        });
        told
    }
}

/// The network of an address: so many bits of IPv4, 32 of IPv6.
fn network(addr: IpAddr, length: u8) -> String {
    match addr.to_canonical() {
        IpAddr::V4(addr) => {
            let kept = addr.to_bits() & (u32::MAX << (32 - u32::from(length)));
            format!("{}/{length}", std::net::Ipv4Addr::from_bits(kept))
        }
        IpAddr::V6(addr) => {
            let [one, two, ..] = addr.segments();
            format!("{}/32", std::net::Ipv6Addr::new(one, two, 0, 0, 0, 0, 0, 0))
        }
    }
}

/// `10.0.0.2:80/tcp`, as incidents are named.
pub(super) fn name_of(target: &Value) -> String {
    let addr = target["addr"].as_str().unwrap_or("everything");
    match (target["port"].as_u64(), target["proto"].as_str()) {
        (Some(port), Some(proto)) if addr.contains(':') => format!("[{addr}]:{port}/{proto}"),
        (Some(port), Some(proto)) => format!("{addr}:{port}/{proto}"),
        _ => addr.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::{COLUMNS_MAX, ROWS_MAX, ROWS_TOLD_MAX};
    use super::*;

    fn window(second: usize, port: usize) -> Line {
        let text = format!(
            r#"{{"ts":"1970-01-01T01:{:02}:{:02}Z","event":"window","window_s":1.0,"listeners":[{{"target":{{"addr":"10.0.0.1","port":{port},"proto":"tcp"}},"packets":2}}]}}"#,
            second / 60,
            second % 60
        );
        Line::parse(&text).unwrap()
    }

    fn incident(state: &str, networks: &[(&str, u32)]) -> Line {
        let of = |(addr, count): &(&str, u32)| format!(r#"{{"addr":"{addr}","syn_per_s":{count}}}"#);
        let networks: Vec<_> = networks.iter().map(of).collect();
        let text = format!(
            r#"{{"ts":"1970-01-01T01:00:01Z","event":"incident","state":"{state}","sources":{{"prefixes":[{}]}}}}"#,
            networks.join(",")
        );
        Line::parse(&text).unwrap()
    }

    fn sum(cells: &Value) -> f64 {
        cells.as_array().into_iter().flatten().filter_map(Value::as_f64).sum()
    }

    #[test]
    fn whatever_the_run_the_grid_has_its_size_and_loses_no_packet() {
        let mut heat = Heat::default();
        for second in 0..1_000 {
            heat.take(&window(second, second % 300));
        }
        let told = heat.told();
        let columns = told["columns"].as_u64().unwrap() as usize;
        assert!((COLUMNS_MAX / 2..=COLUMNS_MAX).contains(&columns), "{columns}");
        assert_eq!((told["column_s"].as_f64(), told["start_s"].as_f64()), (Some(16.0), Some(3_599.0)));
        let rows = told["rows"].as_array().unwrap();
        let all = rows.iter().map(|row| sum(&row["cells"])).sum::<f64>() + sum(&told["others"]);
        assert_eq!((rows.len(), all), (ROWS_TOLD_MAX, 2_000.0));
        assert_eq!(told["rows_untold"], ROWS_MAX - ROWS_TOLD_MAX);
    }

    #[test]
    fn who_asks_is_told_by_network_and_time() {
        let mut heat = Heat::default();
        heat.take(&window(0, 80));
        heat.take(&incident("opened", &[("10.77.3.0", 5), ("10.78.0.0", 2), ("2001:db8:7::", 4)]));
        heat.take(&window(1, 80));
        heat.take(&incident("updated", &[("10.77.0.0", 1)]));
        heat.take(&incident("closed", &[("10.77.0.0", 100)]));
        let flow = r#"{"ts":"1970-01-01T01:00:01Z","event":"flow","number":1,"initiator":{"addr":"::ffff:10.77.9.9","port":7},"responder":{"addr":"10.0.0.1","port":80}}"#;
        heat.take(&Line::unread(flow).unwrap());
        let told = heat.told();
        let rows = |name: &str| -> Vec<(String, Value)> {
            let rows = told["by"][name]["rows"].as_array().unwrap();
            rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row["cells"].clone())).collect()
        };
        assert_eq!(
            rows("net16"),
            [
                ("10.77.0.0/16".into(), json!([5.0, 2.0])),
                ("2001:db8::/32".into(), json!([4.0, 0.0])),
                ("10.78.0.0/16".into(), json!([2.0, 0.0])),
            ]
        );
        assert_eq!(rows("net8")[0], ("10.0.0.0/8".into(), json!([7.0, 2.0])));
        assert_eq!(told["by"]["country"], Value::Null);
    }

    #[test]
    fn what_a_graph_says_is_spread_over_the_time_since_the_one_before() {
        let graph = |networks: &[(&str, u32)], untold: u32| {
            let of =
                |(id, asked): &(&str, u32)| format!(r#"{{"id":"{id}","type":"network","asked":{asked}}}"#);
            let nodes: Vec<_> = networks.iter().map(of).collect();
            let text = format!(
                r#"{{"ts":"1970-01-01T01:00:01Z","event":"graph","nodes":[{}],"nodes_untold":{untold}}}"#,
                nodes.join(",")
            );
            Line::parse(&text).unwrap()
        };
        let mut heat = Heat::default();
        heat.take(&window(0, 80));
        heat.take(&graph(&[("10.77.0.0/24", 3)], 0));
        (1..5).for_each(|second| heat.take(&window(second, 80)));
        heat.take(&graph(&[("10.77.0.0/24", 11), ("10.78.0.0/24", 4)], 1));
        heat.take(&window(5, 80));
        heat.take(&graph(&[("10.77.0.0/24", 12), ("10.79.0.0/24", 9)], 1));
        let told = heat.told();
        let rows = &told["by"]["net16"]["rows"];
        assert_eq!(rows[0]["cells"], json!([3.0, 2.0, 2.0, 2.0, 2.0, 1.0]));
        assert_eq!(
            (&rows[1]["name"], &rows[1]["cells"]),
            (&json!("10.78.0.0/16"), &json!([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]))
        );
        assert_eq!(rows.as_array().map(Vec::len), Some(2), "of 10.79 nobody knows since when");
    }
}
