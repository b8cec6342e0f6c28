//! Landlock: nothing can be written, made or executed, nothing read but what the running loop looks at, and no TCP port
//! be bound or connected to. What is open stays usable, and gets its name in one directory where that is asked for.

use std::path::Path;

use super::Needs;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, RestrictSelfAttr,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

/// The newest version whose rights were looked at one by one; older kernels enforce what they know of it.
const NEWEST: ABI = ABI::V7;
/// What is read once a second: statistics of interfaces (links into `/sys/devices`), of the network and of the host.
const HOST: [&str; 3] = ["/proc", "/sys/class/net", "/sys/devices"];

/// Restricts the calling thread, and where the kernel can (Linux 7.0) all others; what came of it, in words.
pub(super) fn restrict(needs: Needs<'_>) -> String {
    let host: &[&str] = if needs.host { &HOST } else { &[] };
    let readable = host.iter().map(Path::new).chain(needs.read_in);
    let nameable = needs.rename_in.iter().copied().chain(needs.remove_in);
    match enforce(readable, nameable) {
        Ok(status) => in_words(&status),
        Err(error) => format!("none ({error})"),
    }
}

fn enforce<'a>(
    readable: impl Iterator<Item = &'a Path>,
    nameable: impl Iterator<Item = &'a Path>,
) -> Result<RestrictionStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    // A file goes from one name to another. Making one takes a system call that seccomp does not let through.
    let rename: BitFlags<AccessFs> = AccessFs::RemoveFile | AccessFs::MakeReg;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(nameable, rename))?
        .all_threads(true)?
        .restrict_self()
}

/// The version in force, by a trial on a thread of its own: the kernel tells it to those who restrict themselves.
pub(super) fn abi() -> Option<i32> {
    let trial = std::thread::spawn(|| {
        let ruleset = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        ruleset.restrict_self()
    });
    match trial.join().ok()?.ok()?.landlock {
        LandlockStatus::Available { effective_abi, .. } => Some(effective_abi as i32),
        _ => None,
    }
}

fn in_words(status: &RestrictionStatus) -> String {
    match (&status.ruleset, &status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotImplemented) => {
            "none (this kernel was built without it; Linux 5.13 has it)".to_owned()
        }
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            "none (switched off at boot: add landlock to the `lsm=` parameter)".to_owned()
        }
        (_, LandlockStatus::Available { effective_abi, .. }) => format!("abi {}", *effective_abi as i32),
        (status, _) => format!("none ({status:?})"),
    }
}
