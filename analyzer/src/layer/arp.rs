//! ARP over Ethernet for IPv4 (RFC 826, RFC 5227). Stateless.

use tidegauge_ebpf::frame::{Frame, Header};

use super::counter::LayerCounter::*;
use super::sums::LayerSums;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const HEADER_BYTES: usize = 28;
const OPERATION_AT: usize = 6;
const SENDER_ADDRESS_AT: usize = 14;
const TARGET_ADDRESS_AT: usize = 24;

/// Counts one ARP packet; bytes from its header on.
pub fn arp(frame_payload: &[u8], sums: &mut LayerSums) {
    let Some(header) = frame_payload.header::<HEADER_BYTES>(0) else { return sums.count(ArpMalformed) };
    if header.first_chunk() != Some(&ETHERNET_IPV4) {
        return sums.count(ArpMalformed);
    }
    let (sender, target) = (header.u32(SENDER_ADDRESS_AT), header.u32(TARGET_ADDRESS_AT));
    let operation = header.u16(OPERATION_AT);
    match operation {
        1 => sums.count(ArpRequests),
        2 => sums.count(ArpReplies),
        _ => return sums.count(ArpOther),
    }
    if sender == target {
        sums.count(ArpGratuitous);
    } else if sender == 0 && operation == 1 {
        sums.count(ArpProbes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(operation: u8, sender: u8, target: u8) -> Vec<u8> {
        let mut packet = ETHERNET_IPV4.to_vec();
        packet.extend([0, operation, 2, 0, 0, 0, 0, 1]);
        packet.extend(if sender == 0 { [0; 4] } else { [192, 0, 2, sender] });
        packet.extend([0; 6]);
        packet.extend([192, 0, 2, target]);
        packet
    }

    #[test]
    fn each_kind_is_counted_as_what_it_is() {
        let mut sums = LayerSums::default();
        arp(&packet(1, 1, 2), &mut sums);
        arp(&packet(2, 2, 1), &mut sums);
        arp(&packet(1, 3, 3), &mut sums);
        arp(&packet(1, 0, 4), &mut sums);
        arp(&packet(8, 1, 2), &mut sums);
        arp(&packet(1, 1, 2)[..27], &mut sums);
        let counts = [ArpRequests, ArpReplies, ArpGratuitous, ArpProbes, ArpOther, ArpMalformed];
        assert_eq!(counts.map(|counter| sums.get(counter)), [3, 1, 1, 1, 1, 1]);
    }
}
