//! What is lost before frames come to a source: in the NIC, and where they came through them, in the CPUs' backlogs.

use tidegauge_analyzer::quality::SourceLosses;
use tidegauge_capture::interface::Interface;
use tidegauge_capture::nic::{NicLoss, SoftnetLoss};

/// Where frames are taken, on their way through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// In the driver: native XDP, and AF_XDP behind it.
    InDriver,
    /// Behind the backlogs: rings and generic XDP.
    InStack,
}

/// What lies ahead of the source.
pub(crate) struct Ahead {
    nic: Option<NicLoss>,
    backlogs: Backlogs,
}

enum Backlogs {
    /// Frames have not come to them yet.
    NotYet,
    /// Frames came through them; `None` where nobody tells what they lost.
    Passed(Option<SoftnetLoss>),
}

impl Ahead {
    /// Begins to count.
    pub(crate) fn open(interface: &Interface, taken: Taken) -> Self {
        let backlogs = match taken {
            Taken::InDriver => Backlogs::NotYet,
            Taken::InStack => Backlogs::Passed(SoftnetLoss::open(interface)),
        };
        Self { nic: NicLoss::open(interface), backlogs }
    }

    /// What was lost since. Asks kernel and driver: once a second is enough.
    pub(crate) fn note(&mut self, losses: &mut SourceLosses) {
        losses.note_nic(self.nic.as_mut());
        if let Backlogs::Passed(softnet) = &mut self.backlogs {
            losses.note_softnet(softnet.as_mut());
        }
    }
}
