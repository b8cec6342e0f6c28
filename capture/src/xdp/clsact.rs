//! The way out before Linux 6.6: a filter at the clsact queueing discipline.
//!
//! There is no link: the filter belongs to the interface and stays when its maker is killed. It is removed by its
//! holder's end, which needs `CAP_NET_ADMIN` until then; what a killed run left is found by its name and removed by the
//! next run or by `tidegauge unpin`. The discipline itself is removed with the filter where this program added it and
//! nobody else's filter is in it.

use std::io;

use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
    qdisc_detach_program,
};
use aya::programs::{Link, TcAttachType};

use super::error::{one_line, os_error};
use super::object::{EGRESS, Object};
use crate::interface::Interface;
use crate::nic::netlink::{attributes, number, question, receive};

/// rtnetlink's messages and flags (linux/rtnetlink.h, linux/netlink.h).
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_DONE: u16 = 3;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_DUMP: u16 = 0x300;
/// clsact's handle, its own parent, and the parents of its filters (linux/pkt_sched.h).
const CLSACT: u32 = 0xffff_0000;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const FILTER_PARENTS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
/// Attributes of a filter (linux/rtnetlink.h), and of one that is a BPF program (linux/pkt_cls.h).
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
/// `nlmsghdr`; with `tcmsg`, in which the filter's handle is.
const MESSAGE_HEAD_BYTES: usize = 16;
const FILTER_HEAD_BYTES: usize = 36;
const HANDLE_OFFSET: usize = 24;
/// Reads of a list of filters: some thousand of them.
const READS_MAX: u32 = 64;
/// Room for one answer of the kernel, which fills messages of up to 32 KiB.
const ANSWER_BYTES: usize = 32 * 1024;
/// What is read of it: `nlmsghdr` and one number.
const ANSWER_HEAD_BYTES: usize = 20;

/// Our filter on an interface.
#[derive(Debug)]
pub(super) struct Clsact {
    /// `None` once it was detached or given up.
    link: Option<SchedClassifierLink>,
    interface: Interface,
    /// Whether clsact came with the filter, and so goes with it.
    added_clsact: bool,
}

impl Clsact {
    /// Attaches the TC program.
    pub(super) fn attach(object: &mut Object, interface: &Interface) -> Result<Self, String> {
        let added_clsact = match qdisc_add_clsact(&interface.name) {
            Ok(()) => true,
            Err(error) if os_error(&error) == Some(libc::EEXIST) => false,
            Err(error) => return Err(format!("cannot add clsact: {}", one_line(&error))),
        };
        let program = object.egress().map_err(|error| error.to_string())?;
        let options = TcAttachOptions::Netlink(NlOptions::default());
        let id = program
            .attach_with_options(&interface.name, TcAttachType::Egress, options)
            .map_err(|error| one_line(&error))?;
        let link = program.take_link(id).map_err(|error| one_line(&error))?;
        Ok(Self { link: Some(link), interface: interface.clone(), added_clsact })
    }

    /// Puts the TC program in the place of an earlier run's, known by [`Self::position`].
    pub(super) fn instead(object: &mut Object, interface: &Interface, position: u32) -> Result<Self, String> {
        let (priority, handle) = ((position >> 16) as u16, TcHandle::from(position & 0xffff));
        let old =
            SchedClassifierLink::attached(&interface.name, TcAttachType::Egress, priority, handle, None)
                .map_err(|error| error.to_string())?;
        let program = object.egress().map_err(|error| error.to_string())?;
        let id = program.attach_to_link(old).map_err(|error| one_line(&error))?;
        let link = program.take_link(id).map_err(|error| one_line(&error))?;
        Ok(Self { link: Some(link), interface: interface.clone(), added_clsact: true })
    }

    /// Where the filter is: priority and handle in one number, 0 where that does not fit.
    pub(super) fn position(&self) -> u32 {
        let Some(link) = &self.link else { return 0 };
        match (link.priority(), link.handle().map(u32::from)) {
            (Ok(priority), Ok(handle @ 1..=0xffff)) => u32::from(priority) << 16 | handle,
            _ => 0,
        }
    }

    /// Leaves the filter in place.
    pub(super) fn leave(&mut self) {
        std::mem::forget(self.link.take());
    }

    /// Removes the filter, and clsact if it came with it.
    pub(super) fn detach(&mut self) -> Result<(), String> {
        let Some(link) = self.link.take() else { return Ok(()) };
        link.detach().map_err(|error| one_line(&error))?;
        if self.added_clsact {
            remove_clsact(self.interface.index).map_err(|error| format!("clsact stays: {error}"))?;
        }
        Ok(())
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        // On the way out of a panic; an orderly end has called `detach` and told what went wrong.
        let _ = self.detach();
    }
}

/// Removes filters that a killed run left, with the clsact that was most likely left with them, and says whether there
/// were any.
pub(super) fn remove_leftover(interface: &Interface) -> Result<bool, String> {
    match qdisc_detach_program(&interface.name, TcAttachType::Egress, EGRESS) {
        Ok(()) => {}
        Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(one_line(&error)),
    }
    remove_clsact(interface.index).map_err(|error| format!("clsact stays: {error}"))?;
    Ok(true)
}

/// Whether an interface has the clsact discipline.
pub(super) fn is_there(interface: u32) -> io::Result<bool> {
    // With an acknowledgment: where it is there, nothing else comes from some kernels (6.18 is one).
    let answer = ask(RTM_GETQDISC, FLAG_REQUEST | FLAG_ACK, interface, CLSACT, CLSACT_PARENT)?;
    match (answer.kind, -answer.error) {
        (RTM_NEWQDISC, _) | (_, 0) => Ok(true),
        // None at that place, or another one.
        (_, libc::ENOENT | libc::EINVAL) => Ok(false),
        (_, error) => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Removes clsact from an interface, if no filter is in it.
fn remove_clsact(interface: u32) -> io::Result<()> {
    for parent in FILTER_PARENTS {
        let answer = ask(RTM_GETTFILTER, FLAG_REQUEST | FLAG_DUMP, interface, 0, parent)?;
        if answer.kind == RTM_NEWTFILTER {
            return Ok(());
        }
    }
    let answer = ask(RTM_DELQDISC, FLAG_REQUEST | FLAG_ACK, interface, CLSACT, CLSACT_PARENT)?;
    match answer.error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Somebody's filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// `ingress` or `egress`.
    pub way: &'static str,
    /// `bpf`, `flower` ...
    pub kind: String,
    /// The kernel's number of a BPF program.
    pub program_id: Option<u32>,
}

/// The filters on an interface, whoever added them; of very long lists the beginning.
pub(super) fn filters(interface: u32) -> io::Result<Vec<Filter>> {
    let mut filters = Vec::new();
    for (way, parent) in ["ingress", "egress"].into_iter().zip(FILTER_PARENTS) {
        let kernel = question(&request(RTM_GETTFILTER, FLAG_REQUEST | FLAG_DUMP, interface, 0, parent))?;
        let mut answer = vec![0; ANSWER_BYTES];
        for _ in 0..READS_MAX {
            let len = receive(&kernel, &mut answer)?;
            if !read_filters(answer.get(..len).unwrap_or_default(), way, &mut filters) {
                break;
            }
        }
    }
    Ok(filters)
}

/// Adds what is in a part of a list; whether there is more.
fn read_filters(mut part: &[u8], way: &'static str, filters: &mut Vec<Filter>) -> bool {
    while let (Some(len), Some(kind)) = (number::<4>(part, 0), number::<2>(part, 4)) {
        let (len, kind) = (u32::from_ne_bytes(len) as usize, u16::from_ne_bytes(kind));
        let Some(message) = part.get(..len).filter(|_| len >= MESSAGE_HEAD_BYTES) else { return false };
        if kind != RTM_NEWTFILTER {
            return false;
        }
        filters.extend(read_filter(message, way));
        part = part.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

/// A filter; `None` for the entry that stands for all of a priority.
fn read_filter(message: &[u8], way: &'static str) -> Option<Filter> {
    if u32::from_ne_bytes(number(message, HANDLE_OFFSET)?) == 0 {
        return None;
    }
    let mut filter = Filter { way, kind: String::new(), program_id: None };
    for (kind, value) in attributes(message.get(FILTER_HEAD_BYTES..)?) {
        match kind {
            TCA_KIND => filter.kind = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            TCA_OPTIONS if filter.kind == "bpf" => {
                let id = attributes(value).find(|(kind, _)| *kind == TCA_BPF_ID);
                filter.program_id = id.and_then(|(_, id)| number(id, 0)).map(u32::from_ne_bytes);
            }
            _ => {}
        }
    }
    Some(filter)
}

/// The first message of the kernel's answer.
struct Answer {
    kind: u16,
    /// Its error number, negative; 0 for none.
    error: i32,
}

/// A request of fixed size: `nlmsghdr`, `tcmsg`, no attributes.
fn request(kind: u16, flags: u16, interface: u32, handle: u32, parent: u32) -> Vec<u8> {
    let mut request = Vec::with_capacity(FILTER_HEAD_BYTES);
    request.extend((FILTER_HEAD_BYTES as u32).to_ne_bytes());
    request.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    // Sequence number, port, address family.
    request.extend([1, 0, 0].map(u32::to_ne_bytes).concat());
    request.extend([interface, handle, parent, 0].map(u32::to_ne_bytes).concat());
    request
}

/// Sends a request and reads the beginning of the answer.
fn ask(kind: u16, flags: u16, interface: u32, handle: u32, parent: u32) -> io::Result<Answer> {
    let kernel = question(&request(kind, flags, interface, handle, parent))?;
    let mut answer = vec![0; ANSWER_BYTES];
    let length = receive(&kernel, &mut answer)?;
    if length < ANSWER_HEAD_BYTES {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("an answer of {length} bytes")));
    }
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    // An acknowledgment and the end of a list begin with the error number.
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    Ok(Answer { kind, error: if kind <= NLMSG_DONE { error } else { 0 } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_list_of_filters_is_read(part in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_filters(&part, "ingress", &mut Vec::new());
            let _ = read_filter(&part, "ingress");
        }
    }
}
