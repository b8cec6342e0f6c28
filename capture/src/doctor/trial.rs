//! Whether an interface takes the program: attached for a moment, and detached.

use super::{Check, State};
use crate::interface::Interface;
use crate::nic::netlink::link;
use crate::xdp::object::Settings;
use crate::xdp::{EgressHook, Hold, Mode, XdpSource};

/// Attaches as a run does, XDP alone.
pub(super) fn native(interface: Option<&Interface>, loads: bool) -> Check {
    let scope = interface.map_or("host", |interface| &interface.name).to_owned();
    let why =
        "natively the program sees frames as they were on the wire, before the kernel makes anything of them";
    let check = Check { scope, name: "trial", state: State::Ok, found: String::new(), why, mend: None };
    let Some(interface) = interface else {
        return check.unknown("--try needs an interface");
    };
    if !loads {
        return check.unknown("the program does not load");
    }
    if link(interface.index).is_ok_and(|link| link.xdp.is_some()) {
        return check.unknown("another XDP program is there, and was left alone");
    }
    let settings = Settings { frags: interface.wants_frags(), ..Settings::with_seed(0) };
    let hold = Hold { pin: None, egress: EgressHook::Nothing };
    match XdpSource::open_with(interface, &settings, &hold) {
        Ok(source) => match source.mode() {
            Mode::Native => check.ok("attached natively, and detached"),
            Mode::Generic { why } => check.limits(
                format!("generic only: {why}"),
                "lower the MTU or switch off LRO, if the driver has native XDP",
            ),
        },
        Err(error) => check.missing(error.to_string(), "use `--source ring`"),
    }
}
