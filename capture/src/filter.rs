//! A pcap-filter(7) expression over captured frames, compiled by libpcap once per link type.

use pcap::{BpfProgram, Capture, Linktype};
use thiserror::Error;

use crate::frame::CapturedFrame;

/// Link types one filter is compiled for; more distinct ones than exist would be hostile input.
const LINK_TYPES_MAX: usize = 64;
/// DLT number of Ethernet.
const ETHERNET: u16 = 1;

/// An expression that libpcap does not take.
#[derive(Debug, Error)]
#[error(
    "filter \"{expression}\" does not compile for link type {dlt}: {reason}; the syntax is pcap-filter(7)'s"
)]
pub struct FilterError {
    /// What was asked for.
    pub expression: String,
    /// DLT number.
    pub dlt: u16,
    /// libpcap's words.
    pub reason: String,
}

/// A filter for frames of any link type.
pub struct Filter {
    expression: String,
    programs: Vec<(u16, BpfProgram)>,
}

impl Filter {
    /// A filter for any link type; compiled for Ethernet at once, so that a wrong expression is said before anything
    /// is read.
    ///
    /// # Errors
    /// [`FilterError`] where it does not compile.
    pub fn new(expression: &str) -> Result<Self, FilterError> {
        let mut filter = Self { expression: expression.to_owned(), programs: Vec::new() };
        let ethernet = filter.compile(ETHERNET)?;
        filter.programs.push((ETHERNET, ethernet));
        Ok(filter)
    }

    /// Whether the frame matches.
    ///
    /// # Errors
    /// [`FilterError`] where the expression does not compile for the frame's link type.
    pub fn matches(&mut self, frame: &CapturedFrame<'_>) -> Result<bool, FilterError> {
        if let Some((_, program)) = self.programs.iter().find(|(dlt, _)| *dlt == frame.dlt) {
            return Ok(program.filter(frame.bytes));
        }
        if self.programs.len() >= LINK_TYPES_MAX {
            self.programs.clear();
        }
        let program = self.compile(frame.dlt)?;
        let matches = program.filter(frame.bytes);
        self.programs.push((frame.dlt, program));
        Ok(matches)
    }

    fn compile(&self, dlt: u16) -> Result<BpfProgram, FilterError> {
        let error = |error: pcap::Error| FilterError {
            expression: self.expression.clone(),
            dlt,
            reason: error.to_string(),
        };
        let dead = Capture::dead(Linktype(i32::from(dlt))).map_err(error)?;
        dead.compile(&self.expression, true).map_err(error)
    }
}
