//! Options of the page that `serve` shows, and the page made of them.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use tidegauge_console::alert::Health;
use tidegauge_console::board::SharedBoard;
use tidegauge_console::feed::Feed;
use tidegauge_console::metrics::Metrics;
use tidegauge_console::page::{Countries, Options, Page, TlsFiles};

/// Longest file with a secret.
const SECRET_FILE_BYTES_MAX: u64 = 4_096;

#[derive(Debug, ClapArgs)]
pub(crate) struct PageArgs {
    /// No page: then `serve` ends with the run.
    #[arg(long, conflicts_with_all = ["listen", "token_file", "tls_cert"])]
    no_page: bool,
    /// Where browsers find the page, and Prometheus `/metrics`. Beyond loopback it takes --token-file, --tls-cert and --tls-key.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070", value_parser = address)]
    listen: SocketAddr,
    /// What browsers and programs must know to look: the first line of FILE, which others must not be able to read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The page's certificate (PEM, the chain).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Countries of addresses (MMDB, as GeoLite2-Country or DB-IP's): for the page's map of who asks.
    #[arg(long, value_name = "FILE", conflicts_with = "no_page")]
    mmdb: Option<PathBuf>,
}

impl PageArgs {
    /// Whether there is one.
    pub(crate) const fn is_wanted(&self) -> bool {
        !self.no_page
    }
}

/// Serves the page, and says on standard error where.
pub(crate) fn start(
    args: &PageArgs,
    board: SharedBoard,
    metrics: Option<Metrics>,
    alerts: Option<Health>,
    history: Option<PathBuf>,
    feed: &mut Feed,
) -> anyhow::Result<Page> {
    let token = args.token_file.as_deref().map(token_of).transpose()?;
    let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(cert, key)| TlsFiles { cert, key });
    let countries = args.mmdb.as_deref().map(Countries::open).transpose()?.map(Arc::new);
    let options = Options { listen: args.listen, token, tls, metrics, alerts, history, countries };
    let page = Page::start(&options, board, feed).context("cannot serve the page")?;
    say(format_args!("page at {}", page.url()));
    Ok(page)
}

/// Where a page listens.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, like 127.0.0.1:7070 or [::1]:7070".to_owned())
}

/// A line on standard error, if somebody still has it.
pub(crate) fn say(what: std::fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(format_args!("tidegauge: {what}\n"));
}

fn token_of(path: &Path) -> anyhow::Result<String> {
    let text = secret(path, "token")?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// What is in a file that others must not read.
pub(crate) fn secret(path: &Path, what: &str) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("cannot read the {what} in {}", path.display()))?;
    let mode =
        file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.permissions().mode();
    if mode & 0o007 != 0 {
        bail!("anybody here can read the {what} in {}: chmod 600 it, and use a new secret", path.display());
    }
    let mut text = String::new();
    file.take(SECRET_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the {what} in {}", path.display()))?;
    Ok(text)
}
