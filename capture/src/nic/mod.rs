//! The network interface itself: its link, its driver, what they lost. Used by the live sources and by the doctor.

pub mod ethtool;
mod loss;
pub mod netlink;
pub mod softnet;

pub use loss::{Losses, NicLoss};
pub use softnet::SoftnetLoss;
