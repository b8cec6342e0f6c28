//! Every frame of the shared captures, on every link type: where the short way through the headers is taken, it gives
//! what the walk gives.

use std::ops::ControlFlow;

use tidegauge_ebpf::link::LinkType;
use tidegauge_ebpf::packet::Packet;
use tidegauge_ebpf::parse::parse;
use tidegauge_ebpf::parse::quick::quick;

use super::super::{FileReader, Input, Mapping};
use super::oracle::captures;

const LINKS: [LinkType; 5] =
    [LinkType::Ethernet, LinkType::Ip, LinkType::Loopback, LinkType::LinuxSll, LinkType::LinuxSll2];

#[test]
fn frames_of_the_shared_captures_are_read_alike() {
    let Some(captures) = captures() else { return };
    let (mut frames, mut taken) = (0, 0);
    for capture in captures {
        let mut reader = FileReader::open(&Input::Path(capture.clone()), Mapping::Mapped).unwrap();
        let mut walked = Packet::EMPTY;
        let each = |frame: crate::frame::CapturedFrame<'_>| {
            frames += 1;
            for link in LINKS {
                // Both start from the packet before: fields that keep what was there must be the same ones.
                let mut quickly = walked;
                parse(frame.bytes, link, frame.wire_len, true, &mut walked);
                if quick(frame.bytes, link, frame.wire_len, &mut quickly).is_some() {
                    taken += u64::from(frame.link == Some(link));
                    assert_eq!(quickly, walked, "{}, frame {frames}", capture.display());
                }
            }
            ControlFlow::Continue(())
        };
        reader.for_each(each).unwrap();
    }
    assert!(taken * 2 > frames, "most frames of {frames} are ordinary, not {taken}");
}
