//! Whose programs are on an interface already.

use aya::programs::{SchedClassifier, TcAttachType};

use super::Check;
use crate::confine::capability::{Right, missing};
use crate::interface::Interface;
use crate::nic::netlink::Link;
use crate::xdp::{clsact_filters, has_clsact};

const ASK_AGAIN: &str = "run as root, or grant the capabilities above";

/// XDP by rtnetlink, TCX by the program's call, clsact by rtnetlink.
pub(super) fn check(check: Check, interface: &Interface, link: &Link) -> Check {
    let name = &interface.name;
    let (mut found, mut unasked) = (Vec::new(), Vec::new());
    for (way, attach_type) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
        match SchedClassifier::query_tcx(name, attach_type) {
            Ok((_, programs)) => {
                found.extend(programs.iter().map(|program| format!("TCX {way} id {}", program.id())));
            }
            // Without the rights nobody knows; with them, this kernel has no TCX.
            Err(_) if !missing(&Right::FOR_BPF).is_empty() => {
                unasked = vec!["TCX: asking needs CAP_BPF and CAP_NET_ADMIN".to_owned()];
            }
            Err(_) => {}
        }
    }
    match clsact(interface) {
        Ok(filters) => found.extend(filters),
        Err(error) => unasked.push(format!("clsact: {error}")),
    }
    if let Some(xdp) = link.xdp {
        found.insert(0, format!("XDP id {} ({})", xdp.program_id, xdp.mode));
        let mend = format!(
            "bpftool net show dev {name}; `ip link set dev {name} xdp off` removes it, `tidegauge unpin {name}` ours"
        );
        return check.limits([found, unasked].concat().join(", "), mend);
    }
    match (found.is_empty(), unasked.is_empty()) {
        (true, true) => check.ok("none"),
        (false, true) => check.ok(found.join(", ")),
        (true, false) => check.unasked(format!("no XDP; {}", unasked.join(", ")), ASK_AGAIN),
        (false, false) => check.unasked(format!("{}; {}", found.join(", "), unasked.join(", ")), ASK_AGAIN),
    }
}

fn clsact(interface: &Interface) -> std::io::Result<Vec<String>> {
    if !has_clsact(interface)? {
        return Ok(Vec::new());
    }
    let mut filters: Vec<String> = clsact_filters(interface)?
        .into_iter()
        .map(|filter| match filter.program_id {
            Some(id) => format!("clsact {} id {id}", filter.way),
            None => format!("clsact {} {}", filter.way, filter.kind),
        })
        .collect();
    // Some kinds list their tables like filters.
    filters.dedup();
    Ok(if filters.is_empty() { vec!["clsact (empty)".to_owned()] } else { filters })
}
