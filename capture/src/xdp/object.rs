//! The committed BPF object: embedded, sized, loaded through the verifier, its maps opened for reading.

use std::io;
use std::path::Path;

use aya::maps::{Array, MapError};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader};
use tidegauge_ebpf::attempt::AttemptBucket;
use tidegauge_ebpf::judge::FlowBucket;
use tidegauge_ebpf::limits::{
    ATTEMPT_BUCKETS, FLOW_BUCKETS_LIVE, LISTENER_BUCKETS, PREFIX_BUCKETS, SOURCE_BUCKETS, TARGET_BUCKETS,
};
use tidegauge_ebpf::listener::ListenerBucket;
use tidegauge_ebpf::section::Section;
use tidegauge_ebpf::settings::{INWARD, OUTWARD, feature};
use tidegauge_ebpf::source::SourceBucket;
use tidegauge_ebpf::target::TargetBucket;

use super::error::{XdpError, one_line, unsupported};
use super::maps::Maps;

/// Built by `cargo xtask ebpf` from `ebpf/src/program`; checked by `cargo xtask ebpf --check`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/tidegauge.bpf.o"));

/// Name of the XDP program in the object.
pub const INGRESS: &str = "tidegauge_ingress";
/// Name of the same for frames in several buffers.
pub const INGRESS_FRAGS: &str = "tidegauge_ingress_frags";
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
    /// [`INWARD`] and [`OUTWARD`]: which frames are counted.
    pub directions: u32,
    /// Whether frames may come in several buffers: the program for that is loaded where the kernel takes it (Linux 5.18).
    pub frags: bool,
    /// Sections of the tables that are not shared; `None`: one for each CPU that the kernel may ever have. Another number
    /// is for measuring what reading many costs.
    pub sections: Option<u32>,
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
            directions: INWARD | OUTWARD,
            frags: false,
            sections: None,
            test_clock: false,
        }
    }
}

/// A table that holds state: its map's name, bytes of an entry, entries.
pub(super) type Table = (&'static str, usize, u32);

/// The tables that hold state, which is what a pinned run hands to the next one. Everything else in the object is
/// scratch or constant.
pub(super) fn tables(settings: &Settings, cpus: u32) -> [Table; 7] {
    [
        ("SECTIONS", size_of::<Section>(), cpus),
        ("LISTENERS", size_of::<ListenerBucket>(), LISTENER_BUCKETS.saturating_mul(cpus)),
        ("SOURCES", size_of::<SourceBucket>(), SOURCE_BUCKETS.saturating_mul(cpus)),
        ("PREFIXES", size_of::<SourceBucket>(), PREFIX_BUCKETS.saturating_mul(cpus)),
        ("TARGETS", size_of::<TargetBucket>(), TARGET_BUCKETS.saturating_mul(cpus)),
        ("ATTEMPTS", size_of::<AttemptBucket>(), settings.attempt_buckets),
        ("FLOWS", size_of::<FlowBucket>(), settings.flow_buckets),
    ]
}

/// CPUs that the kernel may ever have.
pub(super) fn possible_cpus() -> Result<u32, XdpError> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| unsupported(&error, file))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    maps: Maps,
    /// The XDP program that is loaded.
    ingress: &'static str,
}

impl Object {
    /// Creates the maps and passes both programs through the verifier.
    ///
    /// # Errors
    /// [`XdpError::NotPermitted`] without the rights, [`XdpError::Unsupported`] where the kernel refuses.
    pub fn load(settings: &Settings) -> Result<Self, XdpError> {
        Self::load_with(settings, None)
    }

    /// The same, with the [`tables`] that are pinned in a directory instead of new ones. The caller has made sure that
    /// they are of this layout.
    pub(super) fn load_with(settings: &Settings, pins: Option<&Path>) -> Result<Self, XdpError> {
        let cpus = match settings.sections {
            Some(sections) => sections,
            None => possible_cpus()?,
        };
        let attempt_mask = settings.attempt_buckets - 1;
        let flow_mask = settings.flow_buckets - 1;
        let test_clock = u32::from(settings.test_clock);
        let mut loader = EbpfLoader::new();
        for (name, _, entries) in tables(settings, cpus) {
            loader.map_max_entries(name, entries);
            if let Some(pins) = pins {
                loader.map_pin_path(name, pins.join(name));
            }
        }
        let ebpf = loader
            .override_global("SEED", &settings.seed, true)
            .override_global("ATTEMPT_MASK", &attempt_mask, true)
            .override_global("FLOW_MASK", &flow_mask, true)
            .override_global("FEATURES", &settings.features, true)
            .override_global("FRAME_BYTES_MAX", &settings.frame_bytes_max, true)
            .override_global("DIRECTIONS", &settings.directions, true)
            .override_global("TEST_CLOCK", &test_clock, true)
            .load(OBJECT)
            .map_err(|error| XdpError::of_load(&error))?;
        let maps =
            Maps::open(&ebpf, cpus, settings).map_err(|error| unsupported(&error, "mmap of BPF maps"))?;
        let mut object = Self { ebpf, maps, ingress: INGRESS_FRAGS };
        if !settings.frags || object.ingress()?.load().is_err() {
            object.ingress = INGRESS;
            object.ingress()?.load().map_err(|error| XdpError::of_program(&error))?;
        }
        object.egress()?.load().map_err(|error| XdpError::of_program(&error))?;
        Ok(object)
    }

    /// The XDP program.
    ///
    /// # Errors
    /// Only where the embedded object lacks it, which the tests rule out.
    pub fn ingress(&mut self) -> Result<&mut Xdp, XdpError> {
        let name = self.ingress;
        match self.ebpf.program_mut(name) {
            Some(Program::Xdp(program)) => Ok(program),
            _ => Err(XdpError::Unsupported { reason: format!("the object has no XDP program {name}") }),
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

    /// Pins one of the [`tables`].
    pub(super) fn pin(&self, name: &str, path: &Path) -> Result<(), String> {
        let map = self.ebpf.map(name).ok_or_else(|| missing_map(name).to_string())?;
        map.pin(path).map_err(|error| one_line(&error))
    }

    /// Name of the XDP program that is loaded.
    pub(super) const fn ingress_name(&self) -> &'static str {
        self.ingress
    }

    /// The tables.
    pub const fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Sets the clock of an object loaded with [`Settings::test_clock`], in nanoseconds.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set_clock(&mut self, ns: u64) -> Result<(), MapError> {
        let Some(map) = self.ebpf.map_mut("CLOCK") else { return Ok(()) };
        Array::try_from(map)?.set(0, ns, 0)
    }

    /// Makes section `to` of all tables a copy of section 0, as if the same frames had come to another CPU.
    ///
    /// # Errors
    /// Where a map cannot be read or written.
    pub fn copy_section(&mut self, to: u32) -> Result<(), MapError> {
        self.copy_entries::<{ size_of::<Section>() }>("SECTIONS", 1, to)?;
        self.copy_entries::<{ size_of::<ListenerBucket>() }>("LISTENERS", LISTENER_BUCKETS, to)?;
        self.copy_entries::<{ size_of::<SourceBucket>() }>("SOURCES", SOURCE_BUCKETS, to)?;
        self.copy_entries::<{ size_of::<SourceBucket>() }>("PREFIXES", PREFIX_BUCKETS, to)?;
        self.copy_entries::<{ size_of::<TargetBucket>() }>("TARGETS", TARGET_BUCKETS, to)
    }

    fn copy_entries<const BYTES: usize>(
        &mut self,
        name: &str,
        entries: u32,
        to: u32,
    ) -> Result<(), MapError> {
        let map = self.ebpf.map_mut(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })?;
        let mut array = Array::<_, [u8; BYTES]>::try_from(map)?;
        for entry in 0..entries {
            let value = array.get(&entry, 0)?;
            array.set(to * entries + entry, value, 0)?;
        }
        Ok(())
    }

    /// Programs and maps as the kernel knows them, for what they cost.
    pub(super) const fn ebpf(&self) -> &Ebpf {
        &self.ebpf
    }
}

/// Keeps [`Maps::open`]'s error in one type.
pub(super) fn missing_map(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("the object has no map {name}"))
}
