//! A file of evidence, read piece by piece as fast as the client takes it.

use std::io;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::limits::EVIDENCE_CHUNK_BYTES;

/// Opens a file that the run has named; only an ordinary one.
pub(super) async fn open(path: &str) -> io::Result<File> {
    let file = File::open(path).await?;
    if !file.metadata().await?.is_file() {
        return Err(io::Error::other("not an ordinary file"));
    }
    Ok(file)
}

/// Its bytes.
pub(super) fn chunks(mut file: File) -> impl Stream<Item = io::Result<Bytes>> {
    let (chunks, stream) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let mut chunk = Vec::with_capacity(EVIDENCE_CHUNK_BYTES);
            let read = (&mut file).take(EVIDENCE_CHUNK_BYTES as u64).read_to_end(&mut chunk).await;
            let chunk = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(chunk)),
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            // The client may have gone.
            if chunks.send(chunk).await.is_err() || failed {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}

/// A name that means nothing to any file system, shell or header.
pub(super) fn file_name(id: &str) -> String {
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_".contains(letter) { letter } else { '-' };
    id.chars().take(64).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_harmless() {
        assert_eq!(file_name("syn_flood-0001"), "syn_flood-0001");
        assert_eq!(file_name("../a\"\r\nb"), "---a---b");
    }
}
