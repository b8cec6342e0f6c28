//! What people and other programs see of a run: the terminal, the page, metrics, alerts, reports, history.
//!
//! Everything here is made of the output contract's JSON Lines and of nothing else: a run is a child process that
//! prints them (`tidegauge live --json`, `tidegauge read --json`), or a file of what one printed. So whoever watches cannot
//! slow the capture down or take it along when it fails, the capture stays locked in while this side talks to the
//! network, and any run that was saved can be looked at again.
//!
//! ```text
//! lines --> Feed --+--> Board            (what is now, and how it came to be) --> terminal, page, metrics, report
//!                  +--> subscribers      (each line once)                     --> alerts, history
//! ```
//! The [`feed::Feed`] always reads, whatever its subscribers do: each has a bounded queue, and what does not fit is counted.
#![forbid(unsafe_code)]

pub mod alert;
pub mod board;
pub mod fault;
pub mod feed;
pub mod histogram;
pub mod history;
pub mod http;
pub mod line;
pub mod metrics;
pub mod otlp;
pub mod page;
pub mod report;
pub mod terminal;
pub mod words;
