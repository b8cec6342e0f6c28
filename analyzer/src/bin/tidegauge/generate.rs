//! `tidegauge generate DIR`: manual pages and shell completions, from the definition of the command line. For packages, and
//! hidden from the help.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;

use super::Outcome;
use super::args::Args;

const PROGRAM: &str = "tidegauge";
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

#[derive(Debug, ClapArgs)]
pub(crate) struct GenerateArgs {
    /// `man1` and `completions` are made in it.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Writes all of it.
pub(crate) fn run(args: &GenerateArgs) -> anyhow::Result<Outcome> {
    let directory = |name: &str| {
        let directory = args.dir.join(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        anyhow::Ok(directory)
    };
    let manual = directory("man1")?;
    clap_mangen::generate_to(Args::command().disable_help_subcommand(true), &manual)
        .with_context(|| format!("cannot write to {}", manual.display()))?;
    let completions = directory("completions")?;
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Args::command(), PROGRAM, &completions)
            .with_context(|| format!("cannot write to {}", completions.display()))?;
    }
    Ok(Outcome::Done)
}
