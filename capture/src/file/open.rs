//! From a name to bytes in a known format, or to one clear message why not.
//!
//! Contents decide the format, never the name. Regular files are mapped where that is asked for and possible;
//! everything else is streamed.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::error::{BrokenReason, CutReason, FileError, FirstBytes, UnpackCommand};
use super::limits::WINDOW_BYTES;
use super::map::MappedFile;
use super::pcap::{self, Magic, Pcap};
use super::pcapng::{self, Pcapng};
use super::source::{Contents, Source, Stream, Whole};
use super::step::{Step, words};
use super::unpack::{GZIP_MAGIC, Torn};
use super::{Format, Input, Mapping};

/// Opens what `input` names.
pub(super) fn source(input: &Input, mapping: Mapping) -> Result<Source, FileError> {
    match input {
        Input::Path(path) => file_source(path, mapping).map_err(|error| explain(input, error)),
        Input::Stdin if io::stdin().is_terminal() => Err(FileError::Terminal),
        Input::Stdin => Ok(stream(io::stdin())),
    }
}

pub(super) fn stream(from: impl Read + Send + 'static) -> Source {
    Source::Streamed(Stream::new(Box::new(from)))
}

fn file_source(path: &Path, mapping: Mapping) -> io::Result<Source> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Files of /proc have contents and no size, and some file systems cannot map: those are streamed.
    if mapping == Mapping::Mapped
        && metadata.is_file()
        && metadata.len() > 0
        && let Ok(mapped) = MappedFile::new(&file)
    {
        return Ok(Source::Whole(Whole::new(Contents::Mapped(mapped), WINDOW_BYTES)));
    }
    Ok(stream(file))
}

fn explain(input: &Input, error: io::Error) -> FileError {
    let input = input.clone();
    match error.kind() {
        io::ErrorKind::IsADirectory => FileError::Directory(input),
        io::ErrorKind::NotFound => FileError::NotFound(input),
        io::ErrorKind::PermissionDenied => FileError::PermissionDenied(input),
        _ => FileError::Open(input, error),
    }
}

/// The source itself, or what is compressed in it.
pub(super) fn unpacked(input: &Input, mut source: Source) -> Result<Source, FileError> {
    fill(input, &mut source, GZIP_MAGIC.len())?;
    Ok(if source.bytes().starts_with(&GZIP_MAGIC) { source.unpacked() } else { source })
}

/// Finds out the format and reads the file's header; the cursor is at the first record afterwards.
pub(super) fn format(input: &Input, source: &mut Source) -> Result<Format, FileError> {
    fill(input, source, 4)?;
    let Some(&first) = source.bytes().first_chunk::<4>() else {
        return Err(match source.torn() {
            Some(Torn::Cut) => FileError::HeaderCut(input.clone(), CutReason::Packing),
            Some(Torn::Damaged) => FileError::BadHeader(input.clone(), BrokenReason::Packing),
            None => unknown(input, source.bytes()),
        });
    };
    if first == pcapng::SECTION_MAGIC {
        return first_section(input, source);
    }
    let Some(magic) = Magic::of(first) else { return Err(unknown(input, source.bytes())) };
    fill(input, source, pcap::FILE_HEADER_BYTES)?;
    let Some(header) = words(source.bytes()) else {
        return Err(header_cut(input, source, pcap::FILE_HEADER_BYTES));
    };
    let pcap = Pcap::new(magic, header).map_err(|reason| FileError::BadHeader(input.clone(), reason))?;
    source.consume(pcap::FILE_HEADER_BYTES);
    Ok(Format::Pcap(pcap))
}

fn first_section(input: &Input, source: &mut Source) -> Result<Format, FileError> {
    let mut pcapng = Pcapng::new();
    let mut need = pcapng::BLOCK_BYTES_MIN;
    while fill(input, source, need)? {
        match pcapng.step(source.bytes()) {
            Step::Broken(reason) => return Err(FileError::BadHeader(input.clone(), reason)),
            Step::Short(short) => need = short.need,
            // A section header has no frame, so both arms are the end of it.
            Step::Frame { len, .. } | Step::Skip { len } => {
                source.consume(len);
                return Ok(Format::Pcapng(pcapng));
            }
        }
    }
    Err(header_cut(input, source, need))
}

fn fill(input: &Input, source: &mut Source, need: usize) -> Result<bool, FileError> {
    let offset = source.offset();
    source.fill(need).map_err(|error| FileError::Read(input.clone(), offset, error))
}

fn header_cut(input: &Input, source: &Source, need: usize) -> FileError {
    FileError::HeaderCut(input.clone(), CutReason::FileHeader(source.bytes().len(), need))
}

/// The reason to report for bytes that begin neither a pcap nor a pcapng file.
fn unknown(input: &Input, bytes: &[u8]) -> FileError {
    let input = input.clone();
    if bytes.is_empty() {
        return FileError::Empty(input);
    }
    match compression(bytes) {
        Some((name, program)) => FileError::Compressed(input.clone(), name, UnpackCommand { program, input }),
        None => FileError::NotCapture(input, FirstBytes::of(bytes)),
    }
}

/// Name of the compression, and the program that writes the unpacked file to its output.
fn compression(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        // Packed twice, or by a method that nobody has.
        [0x1f, 0x8b, ..] => Some(("gzip-compressed", "zcat")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("zstd-compressed", "zstdcat")),
        [0xfd, b'7', b'z', b'X', ..] => Some(("xz-compressed", "xzcat")),
        [b'B', b'Z', b'h', ..] => Some(("bzip2-compressed", "bzcat")),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some(("lz4-compressed", "lz4cat")),
        [b'P', b'K', 0x03, 0x04, ..] => Some(("a zip archive", "unzip -p")),
        _ => None,
    }
}
