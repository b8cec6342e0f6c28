//! What is switched off is not counted, and judging later gives the same.

use tidegauge_ebpf::counter::Counter;
use tidegauge_ebpf::settings::feature;

use crate::scene::{ACK, PSH, Scene, Talk};

fn conversation(scene: &mut Scene) {
    let mut talk = Talk::new();
    talk.shake_hands(scene);
    for _ in 0..20 {
        scene.wait_ms(1);
        scene.hear(&talk.client(ACK | PSH, 500));
        scene.hear(&talk.server(ACK, 0));
    }
    talk.close(scene);
}

#[test]
fn judging_later_changes_nothing() {
    let mut at_once = Scene::new();
    conversation(&mut at_once);
    for lag in 1..=7 {
        let mut later = Scene::new();
        later.lag = lag;
        conversation(&mut later);
        assert!(later.get(Counter::RwndSamples) < at_once.get(Counter::RwndSamples), "nothing waited");
        assert_eq!(later.get(Counter::Segments), at_once.get(Counter::Segments));
        later.flush();
        assert_eq!(later.counters(), at_once.counters(), "by {lag}");
    }
}

#[test]
fn a_switched_off_feature_counts_nothing() {
    let with = |features| {
        let mut scene = Scene::new();
        scene.settings.features = features;
        conversation(&mut scene);
        scene
    };
    let headers = with(0);
    assert_eq!(headers.get(Counter::Segments), with(feature::ALL).get(Counter::Segments));
    assert_eq!((headers.get(Counter::Syn), headers.get(Counter::Attempted)), (1, 0));
    assert_eq!(with(feature::ALL & !feature::WINDOWS).counters().rwnd_bytes.count(), 0);
    assert_eq!(with(feature::ALL & !feature::PREFIXES).prefixes().count(), 0);
    assert_eq!(with(feature::ALL).prefixes().count(), 1);
}
