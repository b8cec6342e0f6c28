//! Observations in the report, the heaviest first, under a heading that says that they are no alarm: what was seen, what an
//! incident would have needed, and what to run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Source;
use super::report::{BOLD, styled};
use crate::observation::{Observation, Observed};
use crate::summary::Summary;

/// Observations in a report, and of them of one kind; the JSON has the others.
const SHOWN_MAX: usize = 10;
const OF_A_KIND_MAX: usize = 3;

/// Appends the lines; none where nothing was observed.
pub(super) fn lines(text: &mut String, summary: &Summary, source: &Source) {
    let all = &summary.observations;
    if all.is_empty() {
        return;
    }
    text.push('\n');
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", styled(BOLD, "observed, no alarm"));
    let mut shown = BTreeMap::<Observed, usize>::new();
    let few = all.iter().filter(|one| {
        let of_kind = shown.entry(one.kind).or_default();
        *of_kind += 1;
        *of_kind <= OF_A_KIND_MAX
    });
    let few: Vec<_> = few.take(SHOWN_MAX).collect();
    for one in &few {
        let _ = writeln!(text, "{}", line(one, source));
    }
    let more = (all.len() - few.len()) as u64 + summary.observations_left_out;
    if more != 0 {
        let _ = writeln!(text, "  and {more} more, the first of them with --json");
    }
}

/// Where, what, what is missing for an incident, and what to run: on a capture its packets, live a look at the host.
fn line(one: &Observation, source: &Source) -> String {
    let kind = styled(BOLD, one.kind.name());
    let command = match source.kind {
        "file" if source.name != "-" => {
            format!("tshark -r '{}' -Y '{}'", source.name.replace('\'', r"'\''"), one.filter)
        }
        _ => one.next.clone(),
    };
    let (target, what, needs) = (&one.target, &one.what, &one.incident_needs);
    format!("  {kind} at {target}: {what}\n    incident    {needs}\n    next        $ {command}")
}
