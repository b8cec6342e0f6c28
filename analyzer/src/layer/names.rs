//! Names that a DNS server just said to be missing: told apart from those that a search list finds under another ending.
//!
//! A resolver tries one name under several endings (`search` in resolv.conf, `ndots:5` in Kubernetes): all but the last
//! fail, and nothing is wrong. What they have in common is the first label. So a failure counts once for each asker and
//! first label, and not at all once the same label is found.
//! Limits: [`ENTRIES`], one place for each hash; who takes the place of another makes that one count.

use super::message::Datagram;
use super::waits::mix_address;
use crate::fact::{Fact, Facts};

/// Entries, 64 KiB.
const ENTRIES: usize = 4_096;
/// How long a resolver may take to go through its search list, lost queries sent again included.
const REMEMBERED_NS: u64 = 5_000_000_000;
const HEADER_BYTES: usize = 12;
/// Of a name that begins with a number, what is compared: an address of IPv4 in reverse and a zone.
const NAME_BYTES: usize = 24;

#[derive(Clone, Copy, Default)]
struct Entry {
    key: u64,
    missed_ns: u64,
}

/// The names.
pub(super) struct Names(Box<[Entry]>);

impl Names {
    pub(super) fn new() -> Self {
        Self(vec![Entry::default(); ENTRIES].into_boxed_slice())
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// A response: that a name is missing, or what is asked for.
    pub(super) fn answered(&mut self, datagram: &Datagram<'_>, missing: bool, facts: &mut Facts) {
        let Some(key) = key(datagram) else { return };
        let Some(entry) = self.0.get_mut((key >> 40) as usize & (ENTRIES - 1)) else { return };
        let known = entry.key == key && datagram.ts_ns.saturating_sub(entry.missed_ns) <= REMEMBERED_NS;
        if missing {
            *entry = Entry { key, missed_ns: datagram.ts_ns };
        } else if known {
            *entry = Entry::default();
        }
        facts.set_if(missing && !known, Fact::NameMissed);
        facts.set_if(!missing && known, Fact::NameFound);
    }
}

/// Of who asks whom for which first label, in whatever case.
fn key(datagram: &Datagram<'_>) -> Option<u64> {
    let question = datagram.bytes.get(HEADER_BYTES..)?;
    let (length, name) = question.split_first()?;
    let label = name.get(..usize::from(*length))?;
    // A number is a part of an address: no search list has it, and many names share it.
    let is_number = label.iter().all(u8::is_ascii_digit);
    let label = if is_number { name.get(..name.len().min(NAME_BYTES))? } else { label };
    let number = label.iter().fold(u64::from(*length), |sum, byte| {
        (sum.rotate_left(7) ^ u64::from(byte | 0x20)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    Some(mix_address(datagram.source, mix_address(datagram.destination, number)) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(names: &mut Names, name: &str, missing: bool, ts_ns: u64) -> (bool, bool) {
        let mut bytes = vec![0; HEADER_BYTES];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        let datagram = Datagram {
            source: [0, 0, 0xffff, 1],
            destination: [0, 0, 0xffff, 2],
            source_port: 53,
            destination_port: 4_000,
            bytes: &bytes,
            ts_ns,
        };
        let mut facts = Facts::NONE;
        names.answered(&datagram, missing, &mut facts);
        (facts.has(Fact::NameMissed), facts.has(Fact::NameFound))
    }

    #[test]
    fn a_search_list_misses_once_and_finds_once() {
        let mut names = Names::new();
        assert_eq!(answer(&mut names, "api.default.svc.cluster.local", true, 1), (true, false));
        assert_eq!(answer(&mut names, "api.svc.cluster.local", true, 2), (false, false));
        assert_eq!(answer(&mut names, "API.example.com", false, 3), (false, true));
        assert_eq!(answer(&mut names, "api.example.com", false, 4), (false, false));
    }

    #[test]
    fn names_that_are_not_found_are_missed_each() {
        let mut names = Names::new();
        assert_eq!(answer(&mut names, "qzx1.example.com", true, 1), (true, false));
        assert_eq!(answer(&mut names, "qzx2.example.com", true, 2), (true, false));
        assert_eq!(answer(&mut names, "www.example.com", false, 3), (false, false));
        assert_eq!(answer(&mut names, "qzx1.example.com", true, 2 * REMEMBERED_NS), (true, false));
        assert_eq!(answer(&mut names, "7.1.2.3.list.example.org", true, 1), (true, false));
        assert_eq!(answer(&mut names, "7.9.8.3.list.example.org", false, 2), (false, false));
    }
}
