//! The host's interfaces, one line each, for those who have not said which one.

use nix::net::if_::if_nameindex;

use crate::interface::Interface;
use crate::nic::ethtool::Ethtool;
use crate::nic::netlink::{Link, link};

/// Interfaces that are listed; hosts of containers have thousands.
pub(super) const INTERFACES_MAX: usize = 64;

/// An interface at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Its name.
    pub name: String,
    /// Its driver; `None` where it does not tell.
    pub driver: Option<String>,
    /// `None` where the kernel does not tell (it went meanwhile).
    pub link: Option<Link>,
}

/// Those of this namespace in the kernel's order, and how many more there are.
pub(super) fn interfaces() -> (Vec<Glance>, usize) {
    let Ok(all) = if_nameindex() else { return (Vec::new(), 0) };
    let names: Vec<String> = all.iter().map(|one| one.name().to_string_lossy().into_owned()).collect();
    let more = names.len().saturating_sub(INTERFACES_MAX);
    (names.into_iter().take(INTERFACES_MAX).map(glance).collect(), more)
}

fn glance(name: String) -> Glance {
    let driver = Ethtool::open(&name).and_then(|ethtool| ethtool.driver()).ok();
    let link = Interface::open(&name).ok().and_then(|interface| link(interface.index).ok());
    Glance { name, driver, link }
}
