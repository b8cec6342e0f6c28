//! The same packets, the same words: however a capture is cut, packed or piped, and however many threads read it, the
//! output of `read` is the same byte for byte; and the kernel program's judgement, run in userspace, tells of each
//! capture what the full one tells, as far as it can tell it.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "incidents and exit codes are other tests'")]
mod support;

mod agree;
mod worker;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::tidegauge;
use tempfile::TempDir;
use tidegauge_ebpf::tcp::mark;
use tidegauge_tests::skip::skip;

const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
const PIECES: usize = 10;
/// Shared captures that are read as well where they are there: a bulk transfer with loss, many protocols, time that jumps.
const SHARED: [&str; 3] = ["loss_reorder_zerowin_http.pcap", "http_5xx_mix.pcap", "browse_2013.pcap"];

/// Captures at hand that are classic pcap.
fn captures(test: &str) -> Vec<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = ["demo.pcap", "replay/flood.pcap", "replay/ordinary.pcap"];
    let mut captures: Vec<_> = own.iter().map(|name| package.join("data").join(name)).collect();
    let shared = package.join("../../shared/captures");
    if shared.is_dir() {
        captures.extend(SHARED.iter().map(|name| shared.join(name)));
    } else {
        skip(test, "the shared captures are not beside the checkout: only the project's own were read");
    }
    captures
}

/// All that `read` says, without the names of what it read.
fn said(args: &[&str], inputs: &[PathBuf], stdin: Option<&Path>) -> String {
    let mut command = Command::new(tidegauge());
    command.args(["read", "--json", "--flows", "--judgements"]).args(args).args(inputs);
    if let Some(path) = stdin {
        command.stdin(File::open(path).unwrap());
    }
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{args:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let without_source = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        // Incidents name the capture as their evidence.
        for name in ["source", "evidence"] {
            line.as_object_mut().unwrap().remove(name);
        }
        line.to_string() + "\n"
    };
    lines.lines().map(without_source).collect()
}

#[test]
fn any_number_of_threads_says_the_same() {
    for capture in captures("any_number_of_threads_says_the_same") {
        let inputs = [capture.clone()];
        let one = said(&["--workers", "1"], &inputs, None);
        for workers in ["2", "4"] {
            let many = said(&["--workers", workers], &inputs, None);
            assert!(one == many, "{workers} workers, {}", capture.display());
        }
    }
}

#[test]
fn ten_pieces_and_a_pipe_say_the_same_as_the_whole() {
    for capture in captures("ten_pieces_and_a_pipe_say_the_same_as_the_whole") {
        let whole = said(&[], std::slice::from_ref(&capture), None);
        let directory = TempDir::new().unwrap();
        let pieces = cut(&fs::read(&capture).unwrap(), directory.path());
        assert!(pieces.len() > 1, "{}", capture.display());
        let parts = said(&[], &pieces, None);
        assert!(whole == parts, "{} pieces of {}", pieces.len(), capture.display());
        let piped = said(&["--workers", "2"], &["-".into()], Some(&capture));
        assert!(whole == piped, "{} from a pipe", capture.display());
        let streamed = said(&["--no-mmap"], std::slice::from_ref(&capture), None);
        assert!(whole == streamed, "{} streamed", capture.display());
    }
}

/// Counts of the summary that are told by lines, too; `retransmit_or_reordered` is the kernel program's word.
#[test]
fn lines_and_summary_tell_the_same_numbers() {
    for capture in captures("lines_and_summary_tell_the_same_numbers") {
        let said = said(&["--workers", "2"], std::slice::from_ref(&capture), None);
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        let mut summary = Value::Null;
        for line in said.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            for name in line["names"].as_array().into_iter().flatten() {
                *told.entry(name.as_str().unwrap().to_owned()).or_default() += 1;
            }
            summary = line;
        }
        for (_, name) in mark::NAMES {
            let lines = told.get(*name).copied().unwrap_or_default();
            assert_eq!(summary["tcp"][name], lines, "{name} of {}", capture.display());
        }
    }
}

#[test]
fn pcapng_says_the_same_as_pcap() {
    let test = "pcapng_says_the_same_as_pcap";
    if Command::new("editcap").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip(test, "editcap, which comes with tshark, is not installed");
    }
    for capture in captures(test) {
        let directory = TempDir::new().unwrap();
        let packed = directory.path().join("packed.pcapng");
        let status = Command::new("editcap").args(["-F", "pcapng"]).arg(&capture).arg(&packed).status();
        assert!(status.unwrap().success(), "{}", capture.display());
        let pcap = said(&[], std::slice::from_ref(&capture), None);
        let pcapng = said(&[], &[packed], None);
        assert!(pcap == pcapng, "{}", capture.display());
    }
}

/// Cuts a classic pcap of either byte order into files of about as many records.
fn cut(capture: &[u8], directory: &Path) -> Vec<PathBuf> {
    let (header, mut rest) = capture.split_at(FILE_HEADER_BYTES);
    let little = matches!(header[..4], [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]);
    let mut records = Vec::new();
    while let Some(length) = rest.get(8..12) {
        let length = length.try_into().unwrap();
        let captured = if little { u32::from_le_bytes(length) } else { u32::from_be_bytes(length) };
        let (record, after) = rest.split_at(RECORD_HEADER_BYTES + captured as usize);
        records.push(record);
        rest = after;
    }
    let each = records.len().div_ceil(PIECES);
    let piece = |(number, records): (usize, &[&[u8]])| {
        let path = directory.join(format!("{number:02}.pcap"));
        fs::write(&path, [header, &records.concat()].concat()).unwrap();
        path
    };
    records.chunks(each).enumerate().map(piece).collect()
}
