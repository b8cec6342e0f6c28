//! `--baselines FILE`: what an earlier run has learnt, and what this one leaves.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tidegauge_analyzer::engine::Engine;
use tidegauge_analyzer::learnt::Learnt;

/// The file, open under another name until it is whole; or nothing, where none was asked for.
pub(crate) struct Baselines {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
    learnt: Option<Learnt>,
}

impl Baselines {
    /// Reads the file, if it is there, and opens the one to write, before rights are given up.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let learnt = read(&path)?;
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let file =
            File::create(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
        Ok(Self { path, unfinished, file, learnt })
    }

    /// Where files get their names.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.path.parent()
    }

    /// The engine with what is known.
    pub(crate) fn begin(&mut self, engine: Engine) -> Engine {
        match self.learnt.take() {
            Some(learnt) => engine.with_learnt(learnt),
            None => engine,
        }
    }

    /// Writes what the engine knows now; the file has its name once it is whole.
    pub(crate) fn save(mut self, engine: &mut Engine) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        let text = engine.learnt().to_json().map_err(io::Error::from).with_context(cannot)?;
        self.file.write_all(text.as_bytes()).with_context(cannot)?;
        self.file.sync_data().with_context(cannot)?;
        fs::rename(&self.unfinished, &self.path).with_context(cannot)
    }
}

/// What a file says; `None`: it is not there.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<Learnt>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let learnt = Learnt::from_json(&text);
    learnt.map(Some).with_context(|| format!("{} has no baselines", path.display()))
}
