//! Windows of several workers on the same tick, put together as if one had seen it all.
//!
//! Each worker has the flows that came to it. What it counted adds up, as in any merge; what is open at the tick's end
//! there is open beside what is here, while of one worker's ticks the most counts. Who asks many asks by many workers,
//! each of which tells its own running sum when that has changed: the newest of each are remembered here.
//!
//! Limit: as many rows as the workers have ([`crate::account::actors`]), forgotten when their period is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::account::actors::PERIOD_NS;
use crate::keyed::Keyed;
use crate::path::Trouble;
use crate::window::{ActorKey, ActorWindow, ListenerWindow, Window};

/// A network, and its prefix bits.
type Network = (IpAddr, u8);

/// Prefix bits below which hosts of two networks are all over the place.
const NETWORK_BITS_MIN: [u8; 2] = [16, 48];

/// The newest sums of those who ask many, by worker.
#[derive(Debug, Default)]
pub struct Joiner {
    actors: BTreeMap<ActorKey, BTreeMap<usize, ActorWindow>>,
}

impl Joiner {
    /// Puts the windows of a tick together, each with its worker's number.
    pub fn join(&mut self, windows: Vec<(usize, Window)>) -> Window {
        let mut windows = windows.into_iter();
        let Some((first, mut joined)) = windows.next() else { return Window::default() };
        let mut asking = BTreeSet::new();
        self.note(first, &joined, &mut asking);
        for (worker, mut window) in windows {
            self.note(worker, &window, &mut asking);
            joined.listeners.merge(std::mem::take(&mut window.listeners), join_listeners);
            joined.troubles.merge(std::mem::take(&mut window.troubles), Trouble::join);
            window.actors = Keyed::default();
            joined.merge(window);
        }
        let end_ns = joined.end_ns;
        self.actors.retain(|_, of_workers| {
            of_workers.retain(|_, asked| asked.began_ns.saturating_add(PERIOD_NS) > end_ns);
            !of_workers.is_empty()
        });
        let of_all = asking.into_iter().filter_map(|key| Some((key, self.of_all(&key)?)));
        joined.actors = Keyed::gather(of_all, ActorWindow::merge);
        joined
    }

    fn note(&mut self, worker: usize, window: &Window, asking: &mut BTreeSet<ActorKey>) {
        for (key, asked) in window.actors.iter() {
            self.actors.entry(*key).or_default().insert(worker, asked.clone());
            asking.insert(*key);
        }
    }

    fn of_all(&self, key: &ActorKey) -> Option<ActorWindow> {
        let mut of_workers = self.actors.get(key)?.values();
        let mut all = of_workers.next()?.clone();
        of_workers.for_each(|more| join_actors(&mut all, more));
        Some(all)
    }
}

fn join_listeners(own: &mut ListenerWindow, more: &ListenerWindow) {
    let (open, heads) = (own.open.saturating_add(more.open), own.heads.saturating_add(more.heads));
    own.merge(more);
    (own.open, own.heads) = (open, heads);
}

/// What is most of both parts is most; else what is most of the larger one is named.
fn join_actors(own: &mut ActorWindow, more: &ActorWindow) {
    let (larger, smaller) = if more.counts.asked > own.counts.asked { (more, &*own) } else { (&*own, more) };
    let mut all = larger.clone();
    all.began_ns = larger.began_ns.min(smaller.began_ns);
    all.counts.add(&smaller.counts);
    all.distinct.iter_mut().zip(&smaller.distinct).for_each(|(own, more)| own.add_all(more));
    [all.hosts, all.ports, all.places] = all.distinct.map(|bits| bits.estimate());
    all.host_is_most &= larger.host == smaller.host && smaller.host_is_most;
    all.port_is_most &= larger.port == smaller.port && smaller.port_is_most;
    all.network = larger.network.zip(smaller.network).and_then(|(one, other)| common_network(one, other));
    if larger.login == smaller.login {
        all.login_lead = larger.login_lead.saturating_add(smaller.login_lead);
    }
    *own = all;
}

/// The smallest network that has both, unless that is too large to say where something is.
fn common_network((one, one_bits): Network, (other, other_bits): Network) -> Option<Network> {
    let shorter = one_bits.min(other_bits);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            let (one, other) = (one.to_bits(), other.to_bits());
            let bits = shorter.min((one ^ other).leading_zeros() as u8);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
            (bits >= NETWORK_BITS_MIN[0]).then(|| (IpAddr::V4((one & mask).into()), bits))
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let (one, other) = (one.to_bits(), other.to_bits());
            let bits = shorter.min((one ^ other).leading_zeros() as u8);
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or_default();
            (bits >= NETWORK_BITS_MIN[1]).then(|| (IpAddr::V6((one & mask).into()), bits))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::actors::ActorCounts;
    use crate::window::{ActorProtocol, ListenerKey};

    const SECOND_NS: u64 = 1_000_000_000;

    fn key() -> ActorKey {
        ActorKey { address: IpAddr::from([198, 51, 100, 7]), protocol: ActorProtocol::Tcp }
    }

    fn asked(network: [u8; 4], asked: u32) -> ActorWindow {
        ActorWindow {
            began_ns: SECOND_NS,
            counts: ActorCounts { asked, ..ActorCounts::default() },
            network: Some((IpAddr::from(network), 24)),
            ..ActorWindow::default()
        }
    }

    fn window(end_ns: u64, actor: Option<ActorWindow>) -> Window {
        let actors = Keyed::gather(actor.map(|actor| (key(), actor)), ActorWindow::merge);
        Window { start_ns: end_ns - SECOND_NS / 10, end_ns, actors, ..Window::default() }
    }

    fn told(window: &Window) -> Option<(u32, Option<Network>)> {
        window.actors.values().next().map(|asked| (asked.counts.asked, asked.network))
    }

    #[test]
    fn who_asks_by_two_workers_asked_the_sum_also_where_only_one_of_them_tells() {
        let mut joiner = Joiner::default();
        let both = vec![
            (0, window(2 * SECOND_NS, Some(asked([192, 0, 2, 0], 30)))),
            (1, window(2 * SECOND_NS, Some(asked([192, 0, 3, 0], 40)))),
        ];
        let wide = Some((IpAddr::from([192, 0, 2, 0]), 23));
        assert_eq!(told(&joiner.join(both)), Some((70, wide)));
        let one = vec![
            (0, window(3 * SECOND_NS, Some(asked([192, 0, 2, 0], 50)))),
            (1, window(3 * SECOND_NS, None)),
        ];
        assert_eq!(told(&joiner.join(one)), Some((90, wide)));
        let late = 2 * PERIOD_NS;
        let mut again = asked([203, 0, 113, 0], 9);
        again.began_ns = late;
        let again = vec![(0, window(late + SECOND_NS, Some(again)))];
        assert_eq!(told(&joiner.join(again)), Some((9, Some((IpAddr::from([203, 0, 113, 0]), 24)))));
    }

    #[test]
    fn networks_far_apart_have_none_in_common() {
        let (one, other) = ((IpAddr::from([192, 0, 2, 0]), 24), (IpAddr::from([10, 0, 2, 0]), 24));
        assert_eq!(common_network(one, other), None);
        assert_eq!(common_network(one, one), Some(one));
    }

    #[test]
    fn connections_open_at_two_workers_add_and_at_two_ticks_do_not() {
        let listener = ListenerKey { address: IpAddr::from([192, 0, 2, 1]), port: 80 };
        let open = |open| {
            let of_listener = ListenerWindow { open, heads: open / 2, ..ListenerWindow::default() };
            Window {
                start_ns: SECOND_NS,
                end_ns: 2 * SECOND_NS,
                listeners: Keyed::gather([(listener, of_listener)], ListenerWindow::merge),
                ..Window::default()
            }
        };
        let mut tick = Joiner::default().join(vec![(0, open(10)), (1, open(6))]);
        let of = |window: &Window| window.listeners.values().map(|own| (own.open, own.heads)).next();
        assert_eq!(of(&tick), Some((16, 8)));
        tick.merge(open(4));
        assert_eq!(of(&tick), Some((16, 8)));
    }
}
