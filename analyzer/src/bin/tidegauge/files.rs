//! Capture files, one after the other, as batches of frames for the pipeline.

use anyhow::Context;
use tidegauge_analyzer::batch::{Batch, FRAMES_MAX};
use tidegauge_analyzer::pipeline::Fill;
use tidegauge_capture::file::{End, FileReader};
use tidegauge_capture::filter::Filter;

use super::progress::Progress;

/// A file that is open, and when it begins.
pub(crate) struct OpenFile {
    pub(crate) name: String,
    pub(crate) reader: FileReader,
    pub(crate) first_ts_ns: Option<u64>,
    /// Its size; `None`: not a file.
    pub(crate) bytes: Option<u64>,
}

/// All files of a run.
pub(crate) struct Files {
    files: std::vec::IntoIter<OpenFile>,
    current: Option<OpenFile>,
    filter: Option<Filter>,
    /// Files that ended before their end, and why.
    cuts: Vec<String>,
    progress: Progress,
}

impl Files {
    /// These files, in this order; only frames that match `filter`. `lines`: what they say is printed meanwhile.
    pub(crate) fn new(files: Vec<OpenFile>, filter: Option<Filter>, lines: bool) -> Self {
        let progress = Progress::new(files.iter().map(|file| file.bytes).sum(), lines);
        let mut files = files.into_iter();
        let current = files.next();
        Self { files, current, filter, cuts: Vec::new(), progress }
    }

    /// All is read, and the bar gone: files that ended before their end, and why.
    pub(crate) fn into_cuts(self) -> Vec<String> {
        self.cuts
    }

    /// The current file has no more frames.
    fn next_file(&mut self, name: &str, end: anyhow::Result<End>) {
        match end {
            Ok(End::Whole | End::Stopped) => {}
            Ok(end @ (End::Broken { .. } | End::Cut { .. })) => self.cuts.push(format!("{name}: {end}")),
            // What was read before stands: the error is told, and the report says what is missing.
            Err(error) => self.cuts.push(format!("{error:#}")),
        }
        self.progress.next(self.current.as_ref().map_or(0, |file| file.reader.offset()));
        self.current = self.files.next();
    }
}

impl Fill for Files {
    type Error = anyhow::Error;

    fn fill(&mut self, batch: &mut Batch) -> anyhow::Result<bool> {
        while let Some(file) = &mut self.current {
            let filled = file.reader.next_batch(&mut batch.frames, FRAMES_MAX);
            let filled = filled.with_context(|| file.name.clone());
            let (end, name) = match filled {
                Ok(None) => (None, String::new()),
                Ok(Some(end)) => (Some(Ok(end)), file.name.clone()),
                Err(error) => (Some(Err(error)), file.name.clone()),
            };
            self.progress.at(file.reader.offset());
            if let Some(end) = end {
                self.next_file(&name, end);
            }
            batch.chosen = match &mut self.filter {
                Some(filter) => Some(chosen(filter, batch)?),
                None => None,
            };
            if !batch.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Places of the frames that match.
fn chosen(filter: &mut Filter, batch: &Batch) -> anyhow::Result<Vec<u16>> {
    let mut chosen = Vec::with_capacity(FRAMES_MAX);
    for index in 0..batch.frames.frames().len() {
        if filter.matches(&batch.frames.frame(index))? {
            chosen.push(index as u16);
        }
    }
    Ok(chosen)
}
