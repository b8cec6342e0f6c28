//! What a live run judges by: thresholds, read again when a SIGHUP asks for it, and what an earlier run has learnt.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::SIGHUP;
use tidegauge_analyzer::config::Config;
use tidegauge_analyzer::engine::Engine;

use super::args::{CommonArgs, thresholds};
use super::baselines::Baselines;

/// A file of thresholds, and the wish to read it again.
pub(crate) struct Thresholds {
    path: Option<PathBuf>,
    /// As it was at the start.
    first: Config,
    asked: Arc<AtomicBool>,
    baselines: RefCell<Option<Baselines>>,
    /// Where they get their name.
    naming: Option<PathBuf>,
}

impl Thresholds {
    /// Reads the file, before rights are given up.
    pub(crate) fn open(common: &CommonArgs) -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGHUP, Arc::clone(&asked)).context("cannot catch signals")?;
        // The name stands when a later reading happens elsewhere.
        let path = common
            .config
            .as_deref()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let baselines = common.baselines.as_deref().map(Baselines::open).transpose()?;
        let naming = baselines.as_ref().and_then(Baselines::directory).map(Path::to_owned);
        let first = thresholds(path.as_deref())?;
        Ok(Self { first, path, asked, baselines: RefCell::new(baselines), naming })
    }

    /// An engine with all of it.
    pub(crate) fn engine(&self, answers_visible: bool) -> Engine {
        let engine = Engine::new(self.first.clone(), answers_visible).live();
        match &mut *self.baselines.borrow_mut() {
            Some(baselines) => baselines.begin(engine),
            None => engine,
        }
    }

    /// Leaves what the engine knows to the next run.
    pub(crate) fn save(&self, engine: &mut Engine) -> anyhow::Result<()> {
        self.baselines.take().map_or(Ok(()), |baselines| baselines.save(engine))
    }

    /// The directory in which a file still gets its name.
    pub(crate) fn naming(&self) -> Option<&Path> {
        self.naming.as_deref()
    }

    /// Where it lies: editors replace a file by another of the same name, so it is the directory that stays readable.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent)
    }

    /// The thresholds as they are now, where a SIGHUP came since this was last asked; or why the old ones stay.
    pub(crate) fn reloaded(&self) -> Option<Result<Config, String>> {
        if !self.asked.swap(false, Ordering::Relaxed) {
            return None;
        }
        let Some(path) = &self.path else {
            return Some(Err("there is no --config to read again".to_owned()));
        };
        Some(thresholds(Some(path)).map_err(|error| format!("{error:#}")))
    }
}
