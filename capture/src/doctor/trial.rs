//! Whether programs can be attached: for a moment to the interface, or to a pair made for it. All of it lives in file
//! descriptors and in a thread's namespace, so that nothing stays, after a crash either.

use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::{Check, State};
use crate::interface::Interface;
use crate::nic::netlink::{link, make_pair};
use crate::xdp::object::{Object, Settings};
use crate::xdp::{Egress, Mode, XdpError, XdpSource, attach};

/// One end of the pair.
const PAIR: &str = "tidegauge0";

fn trial(scope: &str) -> Check {
    let why =
        "natively the program sees frames as they were on the wire, before the kernel makes anything of them";
    Check { scope: scope.to_owned(), name: "trial", state: State::Ok, found: String::new(), why, mend: None }
}

/// XDP alone, and nothing else touched: not even what a killed run may have left.
pub(super) fn on(interface: &Interface, loads: bool, announce: impl FnOnce(&Interface)) -> Check {
    let check = trial(&interface.name);
    if !loads {
        return check.unknown("the program does not load");
    }
    match link(interface.index) {
        Ok(link) if link.xdp.is_some() => {
            return check.unknown("another XDP program is there, and was left alone");
        }
        Ok(_) => {}
        Err(error) => return check.unknown(format!("rtnetlink: {error}")),
    }
    let mode = || -> Result<Mode, XdpError> {
        let mut object =
            Object::load(&Settings { frags: interface.wants_frags(), ..Settings::with_seed(0) })?;
        announce(interface);
        let (mode, link) = attach::xdp(object.ingress()?, interface)?;
        drop(link);
        Ok(mode)
    };
    match mode() {
        Ok(Mode::Native) => check.ok("attached natively, and detached"),
        Ok(Mode::Generic { why }) => check.limits(
            format!("generic only: {why}"),
            format!("ip link set dev {0} mtu 1500; ethtool -K {0} lro off", interface.name),
        ),
        // Somebody was faster.
        Err(error @ XdpError::Occupied { .. }) => check.unknown(error.to_string()),
        Err(error) => check.missing(error.to_string(), "use `--source ring`"),
    }
}

/// Says what of this kernel can be attached at all, whatever a driver can do.
pub(super) fn on_a_pair(loads: bool) -> Check {
    let check = trial("host");
    if !loads {
        return check.unknown("the program does not load");
    }
    // A thread's namespace goes with the thread, and the pair with the namespace.
    let trial = thread::spawn(|| -> Result<(Mode, Egress), String> {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("a network namespace cannot be made (CAP_SYS_ADMIN): {error}"))?;
        make_pair(PAIR).map_err(|error| format!("a veth pair cannot be made: {error}"))?;
        let pair = Interface::open(PAIR).map_err(|error| error.to_string())?;
        let source = XdpSource::open(&pair, &Settings::with_seed(0)).map_err(|error| error.to_string())?;
        let found = (source.mode().clone(), source.egress().clone());
        source.close(&pair).map_err(|error| error.to_string())?;
        Ok(found)
    });
    let Ok(found) = trial.join() else { return check.unknown("the trial panicked") };
    let place = "on a veth pair in a namespace of its own";
    match found {
        Ok((Mode::Native, egress @ (Egress::Tcx | Egress::Clsact { .. }))) => {
            let way = if egress == Egress::Tcx { "TCX" } else { "clsact" };
            check.ok(format!("XDP natively and {way}, {place}, and detached"))
        }
        Ok((Mode::Native, egress)) => check
            .limits(format!("XDP natively, egress {egress}, {place}"), "a kernel with CONFIG_NET_CLS_BPF"),
        Ok((Mode::Generic { why }, _)) => {
            check.limits(format!("generic only, {place}: {why}"), "a kernel from 4.19 on runs XDP in veth")
        }
        Err(error) => check.unknown(error),
    }
}
