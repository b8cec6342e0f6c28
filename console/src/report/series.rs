//! The numbers of a run over time, however long it was, in [`POINTS_MAX`] points: when they are full, neighbours become one.

use crate::board::Point;

/// Points of a report: more than a page has pixels would not be seen.
pub const POINTS_MAX: usize = 720;

/// A run over time.
#[derive(Clone, Debug, Default)]
pub struct Series {
    points: Vec<Point>,
    /// Windows that a point is made of.
    windows: u64,
    /// Those of the newest point, where it is not full.
    newest: u64,
}

impl Series {
    /// Adds a window.
    pub fn push(&mut self, point: Point) {
        self.windows = self.windows.max(1);
        match self.points.last_mut() {
            Some(last) if self.newest < self.windows => {
                merge(last, &point);
                self.newest += 1;
            }
            _ => {
                self.points.push(point);
                self.newest = 1;
            }
        }
        if self.points.len() > POINTS_MAX {
            self.halve();
        }
    }

    /// The points, oldest first.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The run in at most `most` points.
    pub fn condensed(&self, most: usize) -> Vec<Point> {
        let together = self.points.len().div_ceil(most.max(1)).max(1);
        let condensed = self.points.chunks(together).map(|points| {
            let mut one = points[0].clone();
            points[1..].iter().for_each(|next| merge(&mut one, next));
            one
        });
        condensed.collect()
    }

    /// Windows in a point: of more than one, sums and rates are of all, other numbers are the worst.
    pub const fn windows_per_point(&self) -> u64 {
        self.windows
    }

    fn halve(&mut self) {
        let mut halved: Vec<Point> = Vec::with_capacity(POINTS_MAX + 1);
        for pair in self.points.chunks(2) {
            let mut one = pair[0].clone();
            pair[1..].iter().for_each(|next| merge(&mut one, next));
            halved.push(one);
        }
        // Of an odd number the last one has no neighbour yet.
        self.newest = if self.points.len() % 2 == 1 { self.newest } else { self.windows + self.newest };
        self.windows *= 2;
        self.points = halved;
    }
}

/// Adds the next point: counts add, rates are those of all the time, of the rest the worst stands.
fn merge(own: &mut Point, next: &Point) {
    let time_s = own.window_s + next.window_s;
    let mean = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => Some((one * own.window_s + other * next.window_s) / time_s),
        (one, other) => one.or(other),
    };
    own.conn_rate = mean(own.conn_rate, next.conn_rate);
    own.conn_rate_usual = mean(own.conn_rate_usual, next.conn_rate_usual);
    let sum = |own: &mut Option<f64>, next: Option<f64>| *own = either(*own, next, |one, other| one + other);
    sum(&mut own.packets, next.packets);
    sum(&mut own.bytes, next.bytes);
    sum(&mut own.attempted, next.attempted);
    sum(&mut own.answered, next.answered);
    sum(&mut own.completed, next.completed);
    let high = |own: &mut Option<f64>, next: Option<f64>| *own = either(*own, next, f64::max);
    high(&mut own.rtt_p50_ms, next.rtt_p50_ms);
    high(&mut own.rtt_p99_ms, next.rtt_p99_ms);
    high(&mut own.loss_ratio, next.loss_ratio);
    let low = |own: &mut Option<f64>, next: Option<f64>| *own = either(*own, next, f64::min);
    low(&mut own.rwnd_p1_bytes, next.rwnd_p1_bytes);
    low(&mut own.rwnd_p50_bytes, next.rwnd_p50_bytes);
    low(&mut own.health, next.health);
    low(&mut own.healthy_next, next.healthy_next);
    own.layers.iter_mut().zip(next.layers).for_each(|(own, next)| low(own, next));
    own.complete &= next.complete;
    own.window_s = time_s;
    own.ts_ns = next.ts_ns;
}

fn either(one: Option<f64>, other: Option<f64>, both: impl Fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(both(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_sums_and_its_worst() {
        let mut series = Series::default();
        let windows = 10_000;
        for second in 1..=windows {
            series.push(Point {
                ts_ns: second * 1_000_000_000,
                window_s: 1.0,
                packets: Some(3.0),
                rtt_p99_ms: (second == 777).then_some(9.0),
                health: Some(if second == 8_888 { 5.0 } else { 100.0 }),
                ..Point::default()
            });
        }
        let points = series.points();
        assert!(points.len() <= POINTS_MAX && points.len() > POINTS_MAX / 3, "{}", points.len());
        let sum = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>();
        assert_eq!(sum(|point| point.packets.unwrap_or(0.0)), 3.0 * windows as f64);
        assert_eq!(sum(|point| point.window_s), windows as f64);
        assert_eq!(points.iter().filter_map(|point| point.rtt_p99_ms).collect::<Vec<_>>(), [9.0]);
        assert_eq!(points.iter().filter(|point| point.health == Some(5.0)).count(), 1);
        assert!(points.is_sorted_by_key(|point| point.ts_ns));
        assert_eq!(points.last().map(|point| point.ts_ns), Some(windows * 1_000_000_000));
        let full = series.windows_per_point() as f64;
        assert!(
            points[..points.len() - 1].iter().all(|point| point.window_s == full),
            "all are full but the last"
        );
    }
}
