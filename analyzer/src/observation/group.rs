//! The same at many ports of a host, or on the way to many destinations: one observation, and not one each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Observed;
use super::draft::Draft;
use crate::incident::{HostTarget, Target};

/// Places that are told apart.
const APART_MAX: u64 = 3;

/// Puts together what is the same at more than [`APART_MAX`] places.
pub(super) fn group(drafts: Vec<Draft<'_>>) -> Vec<Draft<'_>> {
    let mut places = BTreeMap::<(Observed, IpAddr), u64>::new();
    drafts.iter().filter_map(whose).for_each(|whose| *places.entry(whose).or_default() += 1);
    let (mut apart, mut together) = (Vec::new(), BTreeMap::<(Observed, IpAddr), Draft<'_>>::new());
    for draft in drafts {
        match whose(&draft).filter(|whose| places[whose] > APART_MAX) {
            None => apart.push(draft),
            Some((kind, address)) => {
                let protocol = draft.target.place().map_or("ip", |(.., protocol)| protocol);
                let target = Target::Host(HostTarget { address, port: None, protocol });
                let sum = together.entry((kind, address)).or_insert_with(|| Draft {
                    places: 0,
                    of: draft.of.map(|_| 0),
                    ..Draft::new(kind, target, 0)
                });
                add(sum, &draft);
            }
        }
    }
    apart.into_iter().chain(together.into_values()).collect()
}

/// Whom a draft would be told of together with others of its kind.
fn whose(draft: &Draft<'_>) -> Option<(Observed, IpAddr)> {
    let address = match draft.kind {
        Observed::ConnectionRefused
        | Observed::Unanswered
        | Observed::HandshakeFailure
        | Observed::SynRetransmission => draft.target.host(),
        Observed::TtlExceeded | Observed::RoutingLoop => draft.peer,
        _ => None,
    };
    address.map(|address| (draft.kind, address))
}

fn add(sum: &mut Draft<'_>, draft: &Draft<'_>) {
    sum.places += 1;
    sum.count = sum.count.saturating_add(draft.count);
    sum.of = sum.of.zip(draft.of).map(|(own, more)| own.saturating_add(more));
    sum.beside = sum.beside.saturating_add(draft.beside);
    sum.span.merge(draft.span);
    // Somebody who is at one of the places is not at all of them.
    sum.peer = if sum.places == 1 || sum.peer == draft.peer { draft.peer } else { None };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::ListenerKey;

    fn told(ports: &[u16]) -> Vec<(String, u64, u64)> {
        let draft = |port: &u16| {
            let key = ListenerKey { address: [192, 0, 2, 7].into(), port: *port };
            Draft { of: Some(3), ..Draft::new(Observed::Unanswered, Target::Listener(key), 2) }
        };
        let grouped = group(ports.iter().map(draft).collect());
        grouped.iter().map(|draft| (draft.target.to_string(), draft.count, draft.places)).collect()
    }

    #[test]
    fn many_ports_of_a_host_are_one() {
        assert_eq!(told(&[1, 2, 3, 4, 5]), [("192.0.2.7/tcp".to_owned(), 10, 5)]);
        assert_eq!(told(&[1, 2, 3]).len(), 3);
    }
}
