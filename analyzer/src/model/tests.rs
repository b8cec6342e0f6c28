//! Health is linear and knows what is unknown; the forecast learns, is bounded and repeats itself.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::listener::ListenerCounter;

use super::*;
use crate::cause::Layer;
use crate::window::ListenerWindow;

fn window(attempted: u64, completed: u64, payload: u64, again: u64) -> Window {
    let mut window = Window { end_ns: 1, ..Window::default() };
    for (counter, count) in [
        (Counter::Attempted, attempted),
        (Counter::Answered, attempted),
        (Counter::Completed, completed),
        (Counter::PayloadSegments, payload),
        (Counter::RetransmitOrReordered, again),
    ] {
        window.totals.add(counter, count);
    }
    window
}

/// The outlooks of so many seconds.
fn seconds(windows: impl IntoIterator<Item = Window>) -> (Vec<Outlook>, Tally) {
    let (mut model, config) = (Model::default(), Config::default());
    let outlooks = windows
        .into_iter()
        .map(|window| model.end_second(&config, &window, &Interval::default(), Learning::Goes));
    let outlooks = outlooks.collect();
    (outlooks, model.tally())
}

#[test]
fn health_is_linear_and_the_worst_layer_is_named() {
    let (outlooks, _) = seconds([window(100, 100, 1_000, 0), window(100, 100, 1_000, 50)]);
    assert_eq!((outlooks[0].health.score, outlooks[0].health.feature), (Some(100.0), None));
    // 50 of 2,000 over five seconds are half of the model's 5 %.
    let health = &outlooks[1].health;
    assert_eq!((health.score, health.feature), (Some(50.0), Some(Feature::LossRatio)));
    assert_eq!(health.layers[Layer::Transport as usize], Some(100.0));
    assert_eq!(health.json()["layer"], "network");
}

#[test]
fn what_was_not_measured_is_unknown() {
    let (outlooks, _) = seconds([Window { end_ns: 1, ..Window::default() }]);
    let Outlook { features, health, healthy_next } = &outlooks[0];
    for feature in Feature::ALL.iter().filter(|feature| **feature != Feature::ConnRate) {
        assert_eq!(features.get(*feature), None, "{}", feature.name());
    }
    assert_eq!(health.layers, [None, None, Some(100.0), None, None], "no attempt is a rate of none");
    assert_eq!(*healthy_next, None);
    let few = seconds([window(5, 5, 10, 5)]).0;
    assert_eq!(few[0].features.get(Feature::LossRatio), None, "ten segments are no ratio");
}

#[test]
fn a_host_tells_its_own_layer() {
    let mut model = Model::default();
    model.note_host(HostShares { tcp_connections: Some(0.6), mem_fragmentation: None });
    let outlook =
        model.end_second(&Config::default(), &window(0, 0, 0, 0), &Interval::default(), Learning::Goes);
    assert_eq!(outlook.health.layers[Layer::Resource as usize], Some(25.0));
}

#[test]
fn attempts_that_time_out_are_counted_and_remembered() {
    let (outlooks, _) = seconds((0..30).map(|_| window(100, 90, 0, 0)));
    let features = outlooks.last().unwrap().features;
    assert_eq!(features.get(Feature::ConnSuccess24h), Some(0.9));
    // Those of the last second may still be answered.
    let ratio = features.get(Feature::ConnTimeoutRatio).unwrap();
    assert!((0.06..=0.1).contains(&ratio), "{ratio}");
}

#[test]
fn the_slope_is_known_after_six_minutes() {
    let lossy = |second: u64| window(0, 0, 1_000, if second < 180 { 0 } else { 20 });
    let (outlooks, _) = seconds((0..360).map(lossy));
    assert_eq!(outlooks[200].features.get(Feature::LossSlope5m), None);
    let slope = outlooks[359].features.get(Feature::LossSlope5m).unwrap();
    assert!((slope - 0.02).abs() < 1e-9, "{slope}");
}

#[test]
fn a_forecast_learns_within_bounds_and_repeats_itself() {
    // Ill every other half minute.
    let run =
        || {
            seconds((0..1_200).map(|second: u64| {
                window(0, 0, 1_000, if (second / 30).is_multiple_of(2) { 0 } else { 100 })
            }))
        };
    let (outlooks, tally) = run();
    assert_eq!((outlooks.clone(), tally), run());
    let chances = outlooks.iter().filter_map(|outlook| outlook.healthy_next);
    assert!(chances.clone().count() > 1_100 && chances.clone().all(|chance| (0.0..=1.0).contains(&chance)));
    let (brier, persistence) = (tally.brier().unwrap(), tally.brier_of_persistence().unwrap());
    assert!(brier < 0.1 && persistence < 0.1, "{brier} {persistence}");
}

#[test]
fn what_is_usual_of_all_is_not_learnt_while_something_is_wrong() {
    let (mut model, config, seen) = (Model::default(), Config::default(), Interval::default());
    let mut usual_after = |attempted, seconds, learning| {
        let outlooks =
            (0..seconds).map(|_| model.end_second(&config, &window(attempted, 0, 0, 0), &seen, learning));
        outlooks.last().and_then(|outlook| outlook.features.get(Feature::ConnRateUsual))
    };
    assert_eq!(usual_after(20, 30, Learning::Goes), Some(20.0));
    assert_eq!(usual_after(5_000, 300, Learning::Waits), Some(20.0));
    assert!(usual_after(5_000, 90, Learning::Goes).is_some_and(|usual| usual > 20.0));
}

#[test]
fn a_listener_is_as_healthy_as_the_worst_of_its_features() {
    let health = |again: u64| {
        let mut listener = ListenerWindow::default();
        listener.counters[ListenerCounter::PayloadSegments as usize] = 1_000;
        listener.counters[ListenerCounter::RetransmitOrReordered as usize] = again;
        let features = Features::of_listener(&listener, 1.0, true);
        Health::of(&Config::default(), &features).json_of_place().to_string()
    };
    assert_eq!(health(0), r#"{"score":100.0,"layer":null,"feature":null}"#);
    // Half of the 5 % that are too many.
    assert_eq!(health(25), r#"{"score":50.0,"layer":"network","feature":"loss_ratio"}"#);
    assert_eq!(health(500), r#"{"score":0.0,"layer":"network","feature":"loss_ratio"}"#);
}
