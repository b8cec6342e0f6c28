//! The thresholds of a live run, read again when a SIGHUP asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::SIGHUP;
use tidegauge_analyzer::config::Config;

use super::args::thresholds;

/// A file of thresholds, and the wish to read it again.
pub(crate) struct Thresholds {
    path: Option<PathBuf>,
    /// As it was at the start.
    pub(crate) first: Config,
    asked: Arc<AtomicBool>,
}

impl Thresholds {
    /// Reads the file, before rights are given up.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGHUP, Arc::clone(&asked)).context("cannot catch signals")?;
        // The name stands when a later reading happens elsewhere.
        let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        Ok(Self { first: thresholds(path.as_deref())?, path, asked })
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
