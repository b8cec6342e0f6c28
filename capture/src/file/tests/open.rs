//! Opening: each thing that is not a capture file has one message, which says what, why and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::step::Endian;
use super::super::{End, FileReader, Input, Mapping};
use super::builder::{Builder, MICROSECONDS, small_pcap, small_pcapng};
use super::{outcome, read};

/// The message that opening a file with these contents gives, whichever way it is opened.
fn message(contents: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, contents).unwrap();
    let mapped = open_error(&path, Mapping::Mapped);
    assert_eq!(open_error(&path, Mapping::Streamed), mapped);
    mapped
}

/// The message with the directory of the test left out.
fn open_error(path: &Path, mapping: Mapping) -> String {
    let error = FileReader::open(&Input::Path(path.into()), mapping).err().unwrap();
    error.to_string().replace(&format!("{}/", path.parent().unwrap().display()), "")
}

#[test]
fn what_is_no_capture_is_named() {
    assert_eq!(
        message(b""),
        "file is empty, not even a file header was written; check that the capture was running and was closed"
    );
    assert_eq!(
        message(b"\x7fELF and so on"),
        "file is not a capture file: it begins with 7f 45 4c 46; \
         tidegauge reads pcap and pcapng (`editcap` converts others)"
    );
    assert!(message(b"hi").contains("it begins with 68 69;"));
    assert_eq!(
        message(b"\n\r\r\nplain text in a strange layout"),
        "file: not a readable capture file: section header without a byte-order mark"
    );
}

#[test]
fn compressed_files_come_with_the_command_that_unpacks_them() {
    for (magic, expected) in [
        ([0x28, 0xb5, 0x2f, 0xfd], "file is zstd-compressed; unpack it on the way: zstdcat file |"),
        ([0xfd, b'7', b'z', b'X'], "file is xz-compressed; unpack it on the way: xzcat file |"),
        (*b"BZh9", "file is bzip2-compressed; unpack it on the way: bzcat file |"),
        ([4, 0x22, 0x4d, 0x18], "file is lz4-compressed; unpack it on the way: lz4cat file |"),
        (*b"PK\x03\x04", "file is a zip archive; unpack it on the way: unzip -p file |"),
    ] {
        let message = message(&magic);
        assert!(message.starts_with(expected), "{message}");
    }
    let stdin = outcome(&[0x28, 0xb5, 0x2f, 0xfd]).unwrap_err();
    assert_eq!(
        stdin,
        "standard input is zstd-compressed; unpack it on the way: zstdcat FILE | tidegauge read -"
    );
}

#[test]
fn cut_headers_and_other_versions_are_named() {
    assert_eq!(
        message(&small_pcap(Endian::Little).bytes[..10]),
        "file: file header cut, 10 of 24 bytes there, nothing to read in it; \
         check that the capture was closed or that the copy is complete"
    );
    assert!(
        message(&small_pcapng(Endian::Big).bytes[..27]).contains("file header cut, 27 of 28 bytes there")
    );
    assert!(message(&small_pcapng(Endian::Big).bytes[..8]).contains("file header cut, 8 of 12 bytes there"));
    let old = Builder::new(Endian::Big).u32(MICROSECONDS).u16(2).u16(5).raw(&[0; 16]);
    assert_eq!(
        message(&old.bytes),
        "file: not a readable capture file: pcap version 2.5, only 2.0 to 2.4 are read"
    );
}

#[test]
fn what_cannot_be_opened_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    assert_eq!(open_error(&path, Mapping::Mapped), "file: no such file; check the path");
    fs::create_dir(&path).unwrap();
    assert_eq!(open_error(&path, Mapping::Mapped), "file is a directory; name the capture files in it");
    let locked = directory.path().join("locked");
    fs::write(&locked, small_pcap(Endian::Little).bytes).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&locked).is_ok() {
        println!("skipped: permissions do not bind this user");
        return;
    }
    assert_eq!(
        open_error(&locked, Mapping::Mapped),
        "locked: permission denied; make it readable for this user, or run as one who may read it"
    );
}

#[test]
fn contents_decide_and_not_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lies.pcap");
    fs::write(&path, small_pcapng(Endian::Little).bytes).unwrap();
    for mapping in [Mapping::Mapped, Mapping::Streamed] {
        let (frames, end) = read(FileReader::open(&Input::Path(path.clone()), mapping)).unwrap();
        assert_eq!((frames.len(), end), (4, End::Whole));
    }
}

#[test]
fn a_mapped_file_is_read_on_while_its_pages_are_dropped() {
    let frame = [0x55; 60_000];
    let file =
        (0..1_200).fold(small_pcap(Endian::Little), |file, second| file.record(second, 1, 60_000, &frame));
    assert!(file.bytes.len() > 2 * super::super::limits::WINDOW_BYTES);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large");
    fs::write(&path, &file.bytes).unwrap();
    let mapped = read(FileReader::open(&Input::Path(path.clone()), Mapping::Mapped));
    assert_eq!(mapped, read(FileReader::open(&Input::Path(path), Mapping::Streamed)));
    assert_eq!(mapped.unwrap().0.len(), 1_203);
}
