//! A small MMDB file: networks and their countries, in the format as published (MaxMind DB, version 2.0).

use std::net::IpAddr;

/// What a record of the tree is while it is built.
#[derive(Clone, Copy, PartialEq)]
enum Record {
    Nothing,
    Node(usize),
    /// Where in the data.
    Country(usize),
}

const MAP: u8 = 7 << 5;
const TEXT: u8 = 2 << 5;
const U16: u8 = 5 << 5;
const U32: u8 = 6 << 5;
/// Types beyond seven have a byte of their own.
const U64: [u8; 2] = [8, 9 - 7];
const ARRAY: [u8; 2] = [1, 11 - 7];

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 29).expect("short");
    join(&[&[TEXT | length], text.as_bytes()])
}

/// A file that says of which country these networks are; IPv4 is in ::/96, as usual.
pub(crate) fn mmdb(networks: &[(&str, u32, &str)]) -> Vec<u8> {
    let (mut tree, mut data) = (vec![[Record::Nothing; 2]], Vec::new());
    for (addr, length, country) in networks {
        let (bits, length) = match addr.parse::<IpAddr>().unwrap() {
            IpAddr::V4(addr) => (u128::from(addr.to_bits()), 96 + length),
            IpAddr::V6(addr) => (addr.to_bits(), *length),
        };
        let at = data.len();
        data.extend(join(&[&[MAP | 1], &text("country"), &[MAP | 1], &text("iso_code"), &text(country)]));
        let mut node = 0;
        for depth in 0..length {
            let side = (bits >> (127 - depth) & 1) as usize;
            node = match tree[node][side] {
                _ if depth == length - 1 => {
                    tree[node][side] = Record::Country(at);
                    break;
                }
                Record::Node(next) => next,
                _ => {
                    tree.push([Record::Nothing; 2]);
                    tree[node][side] = Record::Node(tree.len() - 1);
                    tree.len() - 1
                }
            };
        }
    }
    let value = |record: &Record| match record {
        Record::Nothing => tree.len(),
        Record::Node(node) => *node,
        Record::Country(at) => tree.len() + 16 + at,
    };
    let mut file: Vec<u8> =
        tree.iter().flatten().flat_map(|record| value(record).to_be_bytes()[5..].to_vec()).collect();
    file.extend([0; 16]);
    file.extend(&data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(about(tree.len() as u32));
    file
}

fn about(nodes: u32) -> Vec<u8> {
    let number = |value: u16| join(&[&[U16 | 2], &value.to_be_bytes()]);
    let fields = [
        ("binary_format_major_version", number(2)),
        ("binary_format_minor_version", number(0)),
        ("build_epoch", join(&[&U64, &1_700_000_000_u64.to_be_bytes()])),
        ("database_type", text("Test-Country")),
        ("description", join(&[&[MAP | 1], &text("en"), &text("made by a test")])),
        ("ip_version", number(6)),
        ("languages", join(&[&ARRAY, &text("en")])),
        ("node_count", join(&[&[U32 | 4], &nodes.to_be_bytes()])),
        ("record_size", number(24)),
    ];
    let mut about = vec![MAP | fields.len() as u8];
    fields.iter().for_each(|(name, value)| about.extend(join(&[&text(name), value])));
    about
}
