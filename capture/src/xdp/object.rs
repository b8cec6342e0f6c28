//! The committed BPF object: embedded, sized, loaded through the verifier, its maps opened for reading.

use std::io;

use aya::programs::{Program, ProgramError, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use tidegauge_ebpf::limits::{
    ATTEMPT_BUCKETS, FLOW_BUCKETS_LIVE, LISTENER_BUCKETS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS,
};
use tidegauge_ebpf::settings::feature;

use super::error::{XdpError, one_line, os_error};
use super::maps::Maps;

/// Built by `cargo xtask ebpf` from `ebpf/src/program`; checked by `cargo xtask ebpf --check`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/tidegauge.bpf.o"));

/// Name of the XDP program in the object.
pub const INGRESS: &str = "tidegauge_ingress";
/// Name of the TC program in the object.
pub const EGRESS: &str = "tidegauge_egress";

/// What is fixed at load time.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seed of all hashes; random live, so that nobody can aim at a slot.
    pub seed: u64,
    /// Buckets of the flow table, a power of two.
    pub flow_buckets: u32,
    /// Buckets of the half-open cache, a power of two.
    pub attempt_buckets: u32,
    /// Bits of [`feature`]: what the program does beyond counting headers.
    pub features: u32,
    /// Longest frame of the link, see [`tidegauge_ebpf::settings::Settings::frame_bytes_max`].
    pub frame_bytes_max: u32,
    /// The program takes its time from [`Object::set_clock`] instead of the kernel.
    pub test_clock: bool,
}

impl Settings {
    /// The default table sizes.
    pub const fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            flow_buckets: FLOW_BUCKETS_LIVE,
            attempt_buckets: ATTEMPT_BUCKETS,
            features: feature::ALL,
            frame_bytes_max: 0,
            test_clock: false,
        }
    }
}

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    maps: Maps,
}

impl Object {
    /// Creates the maps and passes both programs through the verifier.
    ///
    /// # Errors
    /// [`XdpError::NotPermitted`] without the rights, [`XdpError::Unsupported`] where the kernel refuses.
    pub fn load(settings: &Settings) -> Result<Self, XdpError> {
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| unsupported(&error, file))?;
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        let attempt_mask = settings.attempt_buckets - 1;
        let flow_mask = settings.flow_buckets - 1;
        let test_clock = u32::from(settings.test_clock);
        let ebpf = EbpfLoader::new()
            .override_global("SEED", &settings.seed, true)
            .override_global("ATTEMPT_MASK", &attempt_mask, true)
            .override_global("FLOW_MASK", &flow_mask, true)
            .override_global("FEATURES", &settings.features, true)
            .override_global("FRAME_BYTES_MAX", &settings.frame_bytes_max, true)
            .override_global("TEST_CLOCK", &test_clock, true)
            .map_max_entries("SECTIONS", cpus)
            .map_max_entries("PREFIXES", PREFIX_BUCKETS.saturating_mul(cpus))
            .map_max_entries("TARGETS", TARGET_BUCKETS.saturating_mul(cpus))
            .map_max_entries("LISTENERS", LISTENER_BUCKETS.saturating_mul(cpus))
            .map_max_entries("SOURCES", SOURCE_BUCKETS.saturating_mul(cpus))
            .map_max_entries("ATTEMPTS", settings.attempt_buckets)
            .map_max_entries("FLOWS", settings.flow_buckets)
            .load(OBJECT)
            .map_err(|error| map_refused(&error))?;
        let maps =
            Maps::open(&ebpf, cpus, settings).map_err(|error| unsupported(&error, "mmap of BPF maps"))?;
        let mut object = Self { ebpf, maps };
        object.ingress()?.load().map_err(|error| program_refused(&error))?;
        object.egress()?.load().map_err(|error| program_refused(&error))?;
        Ok(object)
    }

    /// The XDP program.
    ///
    /// # Errors
    /// Only where the embedded object lacks it, which the tests rule out.
    pub fn ingress(&mut self) -> Result<&mut Xdp, XdpError> {
        match self.ebpf.program_mut(INGRESS) {
            Some(Program::Xdp(program)) => Ok(program),
            _ => Err(XdpError::Unsupported { reason: format!("the object has no XDP program {INGRESS}") }),
        }
    }

    /// The TC program.
    ///
    /// # Errors
    /// Only where the embedded object lacks it, which the tests rule out.
    pub fn egress(&mut self) -> Result<&mut SchedClassifier, XdpError> {
        match self.ebpf.program_mut(EGRESS) {
            Some(Program::SchedClassifier(program)) => Ok(program),
            _ => Err(XdpError::Unsupported { reason: format!("the object has no TC program {EGRESS}") }),
        }
    }

    /// The tables.
    pub const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Sets the clock of an object loaded with [`Settings::test_clock`], in nanoseconds.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set_clock(&mut self, ns: u64) -> Result<(), aya::maps::MapError> {
        let Some(map) = self.ebpf.map_mut("CLOCK") else { return Ok(()) };
        aya::maps::Array::try_from(map)?.set(0, ns, 0)
    }
}

fn map_refused(error: &EbpfError) -> XdpError {
    match os_error(error) {
        Some(libc::EPERM) => XdpError::NotPermitted { call: "BPF_MAP_CREATE".to_owned() },
        _ => unsupported(error, "BPF_MAP_CREATE"),
    }
}

/// EPERM without a word of the verifier is a missing right; with one, the program was refused on its merits.
fn program_refused(error: &ProgramError) -> XdpError {
    match error {
        ProgramError::LoadError { io_error, verifier_log }
            if io_error.raw_os_error() == Some(libc::EPERM) && verifier_log.to_string().trim().is_empty() =>
        {
            XdpError::NotPermitted { call: "BPF_PROG_LOAD".to_owned() }
        }
        _ => unsupported(error, "BPF_PROG_LOAD"),
    }
}

fn unsupported(error: &(dyn std::error::Error + 'static), call: &str) -> XdpError {
    XdpError::Unsupported { reason: format!("{call}: {}", one_line(error)) }
}

/// Keeps [`Maps::open`]'s error in one type.
pub(super) fn missing_map(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("the object has no map {name}"))
}
