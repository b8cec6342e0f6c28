//! When rights are given up, and the command that removes what a pinned run left.

use std::io::Write;
use std::path::Path;

use tidegauge_capture::confine::{self, Confined, Needs, Right};
use tidegauge_capture::xdp::pin;

use super::Outcome;
use super::args::{CommonArgs, LiveArgs, UnpinArgs};
use super::thresholds::Thresholds;

/// Gives up what a live run does not need any more: from now on nothing is opened but what is looked at each second.
pub(crate) fn live(
    args: &LiveArgs,
    keep: Option<(Right, &'static str)>,
    thresholds: &Thresholds,
) -> Confined {
    if args.common.no_confine {
        Confined::refused()
    } else {
        let naming: Vec<&Path> = thresholds.naming().into_iter().collect();
        let remove_in = args.evidence.evidence.as_deref();
        confine::confine(Needs {
            keep,
            host: true,
            read_in: thresholds.directory(),
            rename_in: &naming,
            remove_in,
        })
    }
}

/// The same for files, once all are open; those that are written get their names in `rename_in`, and evidence is also
/// removed in `remove_in`.
pub(crate) fn read(common: &CommonArgs, rename_in: &[&Path], remove_in: Option<&Path>) -> Confined {
    if common.no_confine {
        Confined::refused()
    } else {
        confine::confine(Needs { rename_in, remove_in, ..Needs::default() })
    }
}

/// `tidegauge unpin`: removes pinned programs and tables, and what a killed run left.
pub(crate) fn unpin(args: &UnpinArgs) -> anyhow::Result<Outcome> {
    let dir = args.dir.clone().unwrap_or_else(|| pin::default_dir(&args.interface));
    let removed = pin::unpin(&dir, &args.interface)?;
    let mut out = std::io::stdout();
    for what in &removed {
        writeln!(out, "removed {what}")?;
    }
    if removed.is_empty() {
        writeln!(out, "nothing of tidegauge's in {} or on {}", dir.display(), args.interface)?;
    }
    Ok(Outcome::Done)
}
