//! Capabilities: which ones a source needs, which are missing, and giving them up.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// A capability that some source needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Create maps and load programs.
    Bpf,
    /// Attach a program to an interface.
    NetAdmin,
    /// Open a packet ring.
    NetRaw,
    /// Pass the verifier with pointers into packets and maps.
    Perfmon,
}

impl Right {
    /// What XDP and TC need.
    pub const FOR_BPF: [Self; 3] = [Self::Bpf, Self::NetAdmin, Self::Perfmon];
    /// What a packet ring needs.
    pub const FOR_RING: [Self; 1] = [Self::NetRaw];

    /// Its name in capabilities(7).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bpf => "CAP_BPF",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::Perfmon => "CAP_PERFMON",
        }
    }

    const fn set(self) -> CapabilitySet {
        match self {
            Self::Bpf => CapabilitySet::BPF,
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::Perfmon => CapabilitySet::PERFMON,
        }
    }

    /// Its bit in the kernel's sets.
    pub const fn bits(self) -> u64 {
        self.set().bits()
    }

    /// Whether these rights have it: `CAP_BPF` and `CAP_PERFMON` are parts of `CAP_SYS_ADMIN`, which still serves.
    const fn is_in(self, effective: CapabilitySet) -> bool {
        let older = matches!(self, Self::Bpf | Self::Perfmon) && effective.contains(CapabilitySet::SYS_ADMIN);
        older || effective.contains(self.set())
    }
}

/// Those of `needed` that this thread lacks; none where the kernel does not say.
pub fn missing(needed: &[Right]) -> Vec<Right> {
    let Ok(own) = capabilities(None) else { return Vec::new() };
    needed.iter().copied().filter(|right| !right.is_in(own.effective)).collect()
}

/// Names with commas.
pub fn names(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}

/// What serving takes, of a process that had it: files of other users, hooks that run as somebody else, a low port.
const SERVING: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// Takes all capabilities from the calling thread that serving does not need, those to capture above all. Threads that are
/// started later inherit that.
///
/// # Errors
/// In words, where the kernel does not let go: the sets are then as they were.
pub fn keep_for_serving() -> Result<(), String> {
    let own = capabilities(None).map_err(|error| format!("capget: {error}"))?;
    let kept = own.permitted & SERVING;
    clear_ambient_capability_set().map_err(|error| format!("PR_CAP_AMBIENT_CLEAR_ALL: {error}"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|error| format!("capset: {error}"))
}

/// Takes all capabilities but `keep` from all sets of the calling thread, and the way back to them (no new rights by
/// `execve`). Threads that are started later inherit that; one that runs already has to call this itself.
///
/// # Errors
/// In words, where the kernel does not let go: the sets are then as they were.
pub fn drop_all(keep: Option<Right>) -> Result<(), String> {
    // Before the sets: this one asks for CAP_SETPCAP. Without it the bounding set stays, and without `execve` it is
    // of no use.
    for right in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(right) {
            Ok(()) => {}
            // Not a capability of this kernel, or not permitted to: see above.
            Err(Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(format!("PR_CAPBSET_DROP: {error}")),
        }
    }
    set_no_new_privs(true).map_err(|error| format!("PR_SET_NO_NEW_PRIVS: {error}"))?;
    clear_ambient_capability_set().map_err(|error| format!("PR_CAP_AMBIENT_CLEAR_ALL: {error}"))?;
    let own = capabilities(None).map_err(|error| format!("capget: {error}"))?;
    let kept = keep.map_or(CapabilitySet::empty(), Right::set) & own.permitted;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|error| format!("capset: {error}"))
}
