//! Pinned state: programs and tables that outlive the process, so that a restart or an upgrade loses no packet.
//!
//! A directory on a BPF filesystem holds the links, the tables and a `book`. The next run finds them, and where the
//! `layout` is the same it loads its own program on the same tables and puts it atomically in the place of the old
//! one; what was counted in between is the difference to what the book says was told. Where it is not the same, new
//! tables are made and the program in the link is replaced all the same: there is never a moment with two programs, and
//! none without, unless the old state cannot be read at all. The book is pinned last and removed first: state without a
//! book was cut short and is not continued. Whoever uses the pins holds a lock on the directory, which dies with it.

mod book;
mod layout;
mod place;

pub use book::Told;

use std::path::Path;
use std::time::Duration;

use aya::programs::links::FdLink;

use self::book::{Book, Header};
use self::layout::layout;
use self::place::{BOOK, EGRESS_LINK, Found, INGRESS_LINK, Place};
use super::attach::{self, Egress, EgressHook, Mode, Outgoing};
use super::clsact::{self, Clsact};
use super::error::XdpError;
use super::object::{Object, Settings, possible_cpus};
use super::{PinError, XdpSource};
use crate::interface::Interface;

/// The kernel frees an unpinned link a moment after its file is gone: so often and so long is waited for it.
const RELEASE_TRIES: u32 = 50;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// How a pinned run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// On new tables, because there was nothing before.
    Fresh,
    /// On new tables, in place of something that could not be continued.
    Replaced {
        /// Why not.
        why: String,
    },
    /// On the tables of an earlier run.
    TakenOver(Box<Told>),
}

/// The pins of a run.
pub struct Pin {
    place: Place,
    book: Book,
    start: Start,
}

impl Pin {
    /// Where they are.
    pub fn dir(&self) -> &Path {
        self.place.dir()
    }

    /// How the run began.
    pub const fn start(&self) -> &Start {
        &self.start
    }

    /// Notes what has been told by now, counted from when the tables were made: the next run counts from there.
    pub fn tell(&self, told: &Told) {
        self.book.tell(told);
    }
}

/// Opens a source that stays: takes over what is pinned in `dir`, or begins there.
pub(super) fn open(
    dir: &Path,
    interface: &Interface,
    settings: &Settings,
    hook: EgressHook,
) -> Result<XdpSource, XdpError> {
    let place = Place::take(dir)?;
    let wanted = layout(settings, possible_cpus()?);
    let (why, header) = match place.look(interface, &wanted)? {
        Found::Nothing => (None, None),
        Found::Unusable { why, header } => (Some(why), header),
        Found::Usable { book, header, link } => {
            let settings = Settings { seed: header.seed, ..settings.clone() };
            let mut object = Object::load_with(&settings, Some(place.dir()))?;
            match attach::ingress_instead(&mut object, link) {
                Ok(link) => return take_over(object, place, (book, &header), link, interface, hook),
                Err(why) => (Some(why), None),
            }
        }
    };
    let begun = begin(Object::load(settings)?, &place, header.as_deref(), interface, hook);
    let (mut source, clsact) = begun.inspect_err(|_| place.clear())?;
    let start = why.map_or(Start::Fresh, |why| Start::Replaced { why });
    let mut header = Header::new(&wanted, &source.mode);
    (header.seed, header.namespace, header.clsact) = (settings.seed, place::namespace(), clsact);
    let book = Book::create(&place.path(BOOK)).map_err(|reason| place.failed("pin", BOOK, reason));
    let book = book.inspect_err(|_| place.clear())?;
    book.sign(&header);
    source.pin = Some(Pin { place, book, start });
    Ok(source)
}

/// Continues on the pinned tables; the program in the XDP link is ours already.
fn take_over(
    mut object: Object,
    place: Place,
    (book, header): (Book, &Header),
    link: FdLink,
    interface: &Interface,
    hook: EgressHook,
) -> Result<XdpSource, XdpError> {
    let (egress, outgoing, clsact) = outgoing(&mut object, &place, Some(header), interface, hook)?;
    let mut header = *header;
    header.clsact = clsact;
    book.sign(&header);
    let start = Start::TakenOver(Box::new(book.told()));
    let mode = header.mode();
    Ok(XdpSource { outgoing, ingress: link, object, mode, egress, pin: Some(Pin { place, book, start }) })
}

/// Puts new tables and programs in the place of whatever is pinned. Gives back the egress filter's position too.
fn begin(
    mut object: Object,
    place: &Place,
    before: Option<&Header>,
    interface: &Interface,
    hook: EgressHook,
) -> Result<(XdpSource, u32), XdpError> {
    place.remove(BOOK)?;
    let replaced = before.and_then(|before| {
        let link = attach::ingress_instead(&mut object, place.link(INGRESS_LINK)?).ok()?;
        Some((before.mode(), link))
    });
    let (mode, ingress) = match replaced {
        Some(replaced) => replaced,
        None => {
            let was_there = place.remove(INGRESS_LINK)?;
            let (mode, link) = attach_patiently(&mut object, interface, was_there)?;
            (mode, place.pin_link(link, INGRESS_LINK)?)
        }
    };
    let (egress, outgoing, clsact) = outgoing(&mut object, place, before, interface, hook)?;
    place.pin_tables(&object)?;
    Ok((XdpSource { outgoing, ingress, object, mode, egress, pin: None }, clsact))
}

/// The way out, pinned: in the place of the program that is there, or new. Gives back the filter's position too.
fn outgoing(
    object: &mut Object,
    place: &Place,
    before: Option<&Header>,
    interface: &Interface,
    hook: EgressHook,
) -> Result<(Egress, Outgoing, u32), XdpError> {
    if hook == EgressHook::Best
        && let Some(pinned) = place.link(EGRESS_LINK)
        && let Ok(link) = attach::egress_instead(object, pinned)
    {
        return Ok((Egress::Tcx, Outgoing::Tcx(link), 0));
    }
    place.remove(EGRESS_LINK)?;
    let position = before.map_or(0, |before| before.clsact);
    let filter = if position == 0 { None } else { Clsact::instead(object, interface, position).ok() };
    let (egress, outgoing) = match filter {
        Some(filter) => (Egress::Clsact { why: "taken over".to_owned() }, Outgoing::Clsact(filter)),
        None => attach::egress(object, interface, hook),
    };
    Ok(match outgoing {
        Outgoing::Clsact(mut filter) => {
            let position = filter.position();
            filter.leave();
            (egress, Outgoing::Clsact(filter), position)
        }
        Outgoing::Nothing => (egress, Outgoing::Nothing, 0),
        Outgoing::Tcx(link) => (egress, Outgoing::Tcx(place.pin_link(link, EGRESS_LINK)?), 0),
    })
}

/// Attaches, and waits for a link that was unpinned just now to let go.
fn attach_patiently(
    object: &mut Object,
    interface: &Interface,
    was_there: bool,
) -> Result<(Mode, FdLink), XdpError> {
    for _ in 0..if was_there { RELEASE_TRIES } else { 0 } {
        match attach::ingress(object, interface) {
            Err(XdpError::Occupied { .. }) => std::thread::sleep(RELEASE_PAUSE),
            attached => return attached,
        }
    }
    attach::ingress(object, interface)
}

/// Removes what is pinned in `dir`, and filters that an earlier run left on `interface`; says what was there.
///
/// # Errors
/// [`PinError`] where another run uses it or a file does not go.
pub fn unpin(dir: &Path, interface: &str) -> Result<Vec<String>, XdpError> {
    let mut removed = Vec::new();
    if dir.exists() {
        let place = Place::take(dir)?;
        for name in place::names() {
            if place.remove(name)? {
                removed.push(place.path(name).display().to_string());
            }
        }
        place.leave();
    }
    // The interface may be gone; its filters went with it.
    if let Ok(interface) = Interface::open(interface) {
        let failed = |reason: String| XdpError::FilterStays { interface: interface.name.clone(), reason };
        if clsact::remove_leftover(&interface).map_err(failed)? {
            removed.push(format!("the TC filter on {}", interface.name));
        }
    }
    Ok(removed)
}

pub use place::DEFAULT_ROOT;

/// The directory in which an interface's state is pinned unless another is asked for. A BPF filesystem takes no dots in
/// names.
pub fn default_dir(interface: &str) -> std::path::PathBuf {
    Path::new(DEFAULT_ROOT).join(interface.replace('.', "%2e"))
}
