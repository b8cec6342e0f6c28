//! Scenes of floods.

use std::net::Ipv4Addr;

use etherparse::{Icmpv4Type, IpNumber, icmpv4::DestUnreachableHeader};

use super::background::{VICTIM, VICTIM_PORT, dns};
use super::frames::{Ends, Packet, Tcp, fragment, icmp, other, tcp, udp};
use super::scene::Trouble;
use crate::rng::Rng;

const ESP: IpNumber = IpNumber::ENCAPSULATING_SECURITY_PAYLOAD;
const TEN_S: u64 = 10_000_000;
const VICTIM_TEXT: &str = "192.0.2.80";
const LARGE_NETWORK_TEXT: &str = "198.18.0.0";

/// All of them, at the thresholds of the default configuration (`limit` reads one by its name).
pub fn troubles(limit: impl Fn(&str) -> f64) -> Vec<Trouble> {
    let flood = |kind, threshold, value, packets| Trouble {
        kind,
        threshold,
        value,
        target: (VICTIM_TEXT, None),
        within_s: 1.0,
        lasts_us: TEN_S,
        packets,
    };
    let at_listener = (VICTIM_TEXT, Some(VICTIM_PORT));
    vec![
        Trouble {
            target: at_listener,
            ..flood("syn_flood", "conn_rate_limit_per_s", limit("conn_rate_limit_per_s"), syn_flood)
        },
        // The same over all ports of a host, and over a network.
        flood("syn_flood", "conn_rate_limit_per_s", limit("conn_rate_limit_per_s"), syn_flood_over_ports),
        Trouble {
            target: ("198.51.100", Some(VICTIM_PORT)),
            ..flood(
                "syn_flood",
                "conn_rate_limit_per_s",
                limit("conn_rate_limit_per_s"),
                syn_flood_over_network,
            )
        },
        flood("syn_ack_reflection", "unasked_answers_per_s", limit("unasked_answers_per_s"), reflection),
        flood("ack_flood", "stray_flood_per_s", limit("stray_flood_per_s"), ack_flood),
        flood("rst_flood", "stray_flood_per_s", limit("stray_flood_per_s"), rst_flood),
        flood("fin_flood", "stray_flood_per_s", limit("stray_flood_per_s"), fin_flood),
        flood("udp_flood", "udp_flood_per_s", limit("udp_flood_per_s"), udp_flood),
        flood("udp_amplification", "amplification_per_s", limit("amplification_per_s"), amplification),
        flood("icmp_flood", "icmp_flood_per_s", limit("icmp_flood_per_s"), icmp_flood),
        flood("fragment_flood", "fragment_flood_per_s", limit("fragment_flood_per_s"), fragment_flood),
        flood("protocol_flood", "protocol_flood_per_s", limit("protocol_flood_per_s"), protocol_flood),
        // Over the networks of a /16, where twice the limits of a host are asked.
        Trouble {
            target: (LARGE_NETWORK_TEXT, Some(VICTIM_PORT)),
            ..flood(
                "syn_flood",
                "2 conn_rate_limit_per_s",
                2.0 * limit("conn_rate_limit_per_s"),
                syn_flood_over_large_network,
            )
        },
        Trouble {
            target: (LARGE_NETWORK_TEXT, None),
            ..flood(
                "udp_flood",
                "2 udp_flood_per_s",
                2.0 * limit("udp_flood_per_s"),
                udp_flood_over_large_network,
            )
        },
        flood("land", "land_per_s", limit("land_per_s"), land),
    ]
}

/// Any address outside the ranges of the ordinary traffic.
fn forged(rng: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::from_bits(rng.range(0x0b00_0000, 0x7f00_0000) as u32)
}

fn port(rng: &mut Rng) -> u16 {
    rng.range(1_024, 65_536) as u16
}

fn to_victim(rng: &mut Rng) -> Ends {
    Ends { from: (forged(rng), port(rng)), to: (VICTIM, VICTIM_PORT), ttl: rng.range(40, 120) as u8 }
}

fn syn_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let syn = |rng: &mut Rng| Tcp { flags: "S", sequence: rng.next_u32(), window: 64_240, ..Tcp::default() };
    trouble.times(trouble.value * strength).map(|at_us| tcp(at_us, to_victim(rng), syn(rng))).collect()
}

fn syn_flood_over_ports(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    syns_to(trouble, strength, rng, |rng| (VICTIM, port(rng)))
}

fn syn_flood_over_network(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    syns_to(trouble, strength, rng, |rng| (Ipv4Addr::new(198, 51, 100, rng.range(1, 255) as u8), VICTIM_PORT))
}

fn host_of_large_network(rng: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, rng.range(0, 12) as u8, rng.range(1, 200) as u8)
}

fn syn_flood_over_large_network(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    syns_to(trouble, strength, rng, |rng| (host_of_large_network(rng), VICTIM_PORT))
}

fn udp_flood_over_large_network(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let to = |rng: &mut Rng| (host_of_large_network(rng), port(rng));
    let ends =
        |rng: &mut Rng| Ends { from: (forged(rng), port(rng)), to: to(rng), ttl: rng.range(40, 120) as u8 };
    trouble.times(trouble.value * strength).map(|at_us| udp(at_us, ends(rng), &[b'x'; 64])).collect()
}

/// ESP from everywhere.
fn protocol_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let ends =
        |rng: &mut Rng| Ends { from: (forged(rng), 0), to: (VICTIM, 0), ttl: rng.range(40, 120) as u8 };
    trouble.times(trouble.value * strength).map(|at_us| other(at_us, ends(rng), ESP, &[b'x'; 64])).collect()
}

fn syns_to(
    trouble: &Trouble,
    strength: f64,
    rng: &mut Rng,
    to: impl Fn(&mut Rng) -> (Ipv4Addr, u16),
) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let ends = Ends { to: to(rng), ..to_victim(rng) };
        let sequence = rng.next_u32();
        packets.push(tcp(at_us, ends, Tcp { flags: "S", sequence, window: 64_240, ..Tcp::default() }));
    }
    packets
}

/// SYN-ACKs of some hundred servers to a host that asked none of them.
fn reflection(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let server = Ipv4Addr::new(198, 51, 100, rng.range(1, 250) as u8);
        let ends = Ends { from: (server, 443), to: (VICTIM, port(rng)), ttl: rng.range(44, 60) as u8 };
        let (sequence, acknowledgement) = (rng.next_u32(), rng.next_u32());
        packets.push(tcp(
            at_us,
            ends,
            Tcp { flags: "SA", sequence, acknowledgement, window: 65_160, payload: &[] },
        ));
    }
    packets
}

fn stray(trouble: &Trouble, strength: f64, flags: &str, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let (sequence, acknowledgement) = (rng.next_u32(), rng.next_u32());
        let segment = Tcp { flags, sequence, acknowledgement, window: 512, payload: &[] };
        packets.push(tcp(at_us, to_victim(rng), segment));
    }
    packets
}

fn ack_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    stray(trouble, strength, "A", rng)
}

fn rst_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    stray(trouble, strength, "R", rng)
}

fn fin_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    stray(trouble, strength, "FA", rng)
}

fn udp_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let ends =
            Ends { from: (forged(rng), port(rng)), to: (VICTIM, port(rng)), ttl: rng.range(40, 120) as u8 };
        packets.push(udp(at_us, ends, &[b'x'; 64]));
    }
    packets
}

/// Large DNS answers of open resolvers.
fn amplification(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let resolver = Ipv4Addr::new(198, 51, 100, rng.range(1, 250) as u8);
        let ends = Ends { from: (resolver, 53), to: (VICTIM, port(rng)), ttl: rng.range(44, 60) as u8 };
        let mut answer = dns(rng.next_u32() as u16, 0x8180);
        answer.resize(1_200, 0);
        packets.push(udp(at_us, ends, &answer));
    }
    packets
}

/// Unreachables, as of a host that never sent anything: the BlackNurse form, which costs a firewall most.
fn icmp_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let ends = Ends { from: (forged(rng), 0), to: (VICTIM, 0), ttl: 55 };
        packets.push(icmp(
            at_us,
            ends,
            Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port),
            &[0; 28],
        ));
    }
    packets
}

fn fragment_flood(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for at_us in trouble.times(trouble.value * strength) {
        let ends = Ends { from: (forged(rng), port(rng)), to: (VICTIM, port(rng)), ttl: 55 };
        packets.push(fragment(udp(at_us, ends, &[b'x'; 1_400])));
    }
    packets
}

fn land(trouble: &Trouble, strength: f64, rng: &mut Rng) -> Vec<Packet> {
    let ends = Ends { from: (VICTIM, VICTIM_PORT), to: (VICTIM, VICTIM_PORT), ttl: 55 };
    let syn = |rng: &mut Rng| Tcp { flags: "S", sequence: rng.next_u32(), window: 64_240, ..Tcp::default() };
    trouble.times(trouble.value * strength).map(|at_us| tcp(at_us, ends, syn(rng))).collect()
}
