//! The Debian package, built of the binary under test and installed below a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use tidegauge_tests::skip::{root_or_skip, skip};

use crate::support::{Ran, run, tidegauge};

/// A root directory with the package in it, and nothing else.
pub(crate) struct Installed {
    directory: TempDir,
}

impl Installed {
    /// Installs it; or says why `test` has to be skipped.
    pub(crate) fn or_skip(test: &str) -> Option<Self> {
        if !Path::new("/usr/bin/dpkg-deb").exists() {
            skip(test, "needs dpkg-deb");
            return None;
        }
        if !root_or_skip(test) {
            return None;
        }
        let directory = TempDir::new().unwrap();
        for below in ["updates", "info"] {
            std::fs::create_dir_all(directory.path().join("var/lib/dpkg").join(below)).unwrap();
        }
        std::fs::write(directory.path().join("var/lib/dpkg/status"), "").unwrap();
        let installed = Self { directory };
        let ran = installed.dpkg(&["--install", package().to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        Some(installed)
    }

    /// Where a file of the package is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `dpkg` on this root: what the package depends on is the machine's, which no such root has.
    pub(crate) fn dpkg(&self, words: &[&str]) -> Ran {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--instdir={}", self.directory.path().display()));
        dpkg.arg(format!("--admindir={}", self.path("var/lib/dpkg").display()));
        dpkg.args(["--force-depends", "--force-script-chrootless", "--log=/dev/null"]).args(words);
        run(&mut dpkg)
    }
}

/// The package, built once.
pub(crate) fn package() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, package) = BUILT.get_or_init(|| {
        let directory = TempDir::new().unwrap();
        let mut xtask = Command::new(env!("CARGO"));
        xtask
            .args(["run", "--quiet", "--package", "xtask", "--", "package"])
            .arg(tidegauge())
            .arg(directory.path());
        let ran = run(xtask.current_dir(env!("CARGO_MANIFEST_DIR")));
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        let files = std::fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path());
        let package =
            files.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb")).unwrap();
        (directory, package)
    });
    package
}
