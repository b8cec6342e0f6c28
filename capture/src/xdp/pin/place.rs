//! The directory of pins: made, locked, looked through, cleared.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use rustix::fs::statfs;

use super::book::{Book, Header};
use super::{PinError, XdpError};
use crate::interface::Interface;
use crate::xdp::error::one_line;
use crate::xdp::object::{Object, Settings, tables};

/// Names of the pins; the tables have those of their maps.
pub(super) const BOOK: &str = "book";
pub(super) const INGRESS_LINK: &str = "ingress";
pub(super) const EGRESS_LINK: &str = "egress";
/// Where directories of interfaces are by default.
pub const DEFAULT_ROOT: &str = "/sys/fs/bpf/tidegauge";
/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The directory, locked.
pub(super) struct Place {
    dir: PathBuf,
    /// Let go of by the kernel when its holder dies, however it dies.
    _lock: File,
}

/// What is there.
pub(super) enum Found {
    Nothing,
    /// Pins that cannot be continued; the header where it can be read.
    Unusable {
        why: String,
        header: Option<Box<Header>>,
    },
    Usable {
        book: Book,
        header: Box<Header>,
        link: FdLink,
    },
}

/// All pins, in the order in which they go: what is cut short must not look whole.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let tables = tables(&Settings::with_seed(0), 1).map(|(name, ..)| name);
    [BOOK, INGRESS_LINK, EGRESS_LINK].into_iter().chain(tables)
}

/// Inode of this thread's network namespace, 0 where `/proc` does not tell.
pub(super) fn namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino())
}

impl Place {
    /// Makes the directory where it is missing, and locks it.
    pub(super) fn take(dir: &Path) -> Result<Self, PinError> {
        let failed = |what| {
            let path = dir.to_owned();
            move |error: io::Error| PinError::Path { what, path, reason: error.to_string() }
        };
        let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let filesystem = statfs(existing).map_err(|error| failed("look at")(error.into()))?;
        if filesystem.f_type as u64 & 0xffff_ffff != BPF_FS_MAGIC {
            return Err(PinError::NoBpffs { dir: dir.to_owned() });
        }
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("make the directory"))?;
        let lock = File::open(dir).map_err(failed("open"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(PinError::Busy { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(failed("lock")(error)),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn failed(&self, what: &'static str, name: &str, reason: String) -> PinError {
        PinError::Path { what, path: self.path(name), reason }
    }

    /// What is pinned, and whether it can be continued on `interface` with tables of this layout.
    pub(super) fn look(&self, interface: &Interface, layout: &str) -> Result<Found, PinError> {
        if !names().any(|name| self.path(name).exists()) {
            return Ok(Found::Nothing);
        }
        let book = Book::open(&self.path(BOOK));
        let header = book.as_ref().ok().and_then(Book::header).map(Box::new);
        let unusable = |why: &str, header| Ok(Found::Unusable { why: why.to_owned(), header });
        let Some(link) = self.link(INGRESS_LINK) else {
            return unusable("it was cut short: there is no pinned link", None);
        };
        match interface_of(&link) {
            Some(0) => return unusable("its interface is gone", None),
            Some(index) if index != interface.index => return Err(self.elsewhere()),
            _ => {}
        }
        match (book, header) {
            (_, Some(header)) if header.namespace != namespace() => Err(self.elsewhere()),
            (Ok(book), Some(header)) if header.layout() == layout => match self.missing_table() {
                Some(name) => unusable(&format!("it was cut short: {name} is missing"), Some(header)),
                None => Ok(Found::Usable { book, header, link }),
            },
            (_, Some(header)) => {
                let why = format!("its layout is `{}`, and this program's is `{layout}`", header.layout());
                Ok(Found::Unusable { why, header: Some(header) })
            }
            (Err(why), None) => unusable(&format!("its book cannot be read: {why}"), None),
            (Ok(_), None) => unusable("it was cut short: its book is not finished", None),
        }
    }

    fn elsewhere(&self) -> PinError {
        PinError::Elsewhere { dir: self.dir.clone() }
    }

    fn missing_table(&self) -> Option<&'static str> {
        names().find(|name| *name != EGRESS_LINK && !self.path(name).exists())
    }

    /// A pinned link, if there is one of this name.
    pub(super) fn link(&self, name: &str) -> Option<FdLink> {
        PinnedLink::from_pin(self.path(name)).ok().map(FdLink::from)
    }

    pub(super) fn pin_link(&self, link: FdLink, name: &str) -> Result<FdLink, PinError> {
        let pinned = link.pin(self.path(name));
        pinned.map(FdLink::from).map_err(|error| self.failed("pin", name, one_line(&error)))
    }

    /// Pins the object's tables in the place of those that are there.
    pub(super) fn pin_tables(&self, object: &Object) -> Result<(), XdpError> {
        for (name, ..) in tables(&Settings::with_seed(0), 1) {
            self.remove(name)?;
            object.pin(name, &self.path(name)).map_err(|reason| self.failed("pin", name, reason))?;
        }
        Ok(())
    }

    /// Removes a pin, and says whether it was there.
    pub(super) fn remove(&self, name: &str) -> Result<bool, PinError> {
        match std::fs::remove_file(self.path(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("remove", name, error.to_string())),
        }
    }

    /// Removes what can be removed, after something else has failed and will be told.
    pub(super) fn clear(&self) {
        for name in names() {
            let _ = self.remove(name);
        }
    }

    /// Removes the directory, and the default one above it, as far as they are empty.
    pub(super) fn leave(self) {
        let above = self.dir.parent().filter(|above| *above == Path::new(DEFAULT_ROOT));
        for dir in [Some(self.dir.as_path()), above].into_iter().flatten() {
            // Somebody else's files may be in it: then it stays.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Index of the interface that a link is attached to, 0 once that is gone; `None` where the kernel does not tell. It
/// describes the link behind each of our descriptors in `/proc`; which of them is meant, the link's number says.
fn interface_of(link: &FdLink) -> Option<u32> {
    let id = link.info().ok()?.id().to_string();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let infos = std::fs::read_dir("/proc/self/fdinfo").ok()?;
    let mut texts = infos.flatten().filter_map(|info| std::fs::read_to_string(info.path()).ok());
    let ours = texts.find(|text| field(text, "link_id:").is_some_and(|found| found == id))?;
    field(&ours, "ifindex:")?.parse().ok()
}
