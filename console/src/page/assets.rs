//! The page's own files: built ahead (`cargo xtask page`), embedded, compressed once at the start.

use std::io::Write as _;

use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Path, type, bytes.
const FILES: [(&str, &str, &[u8]); 6] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../../page/dist/index.html")),
    ("/page.js", "text/javascript; charset=utf-8", include_bytes!("../../page/dist/page.js")),
    ("/page.css", "text/css; charset=utf-8", include_bytes!("../../page/dist/page.css")),
    ("/login", "text/html; charset=utf-8", include_bytes!("../../page/dist/login.html")),
    ("/login.css", "text/css; charset=utf-8", include_bytes!("../../page/dist/login.css")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../../page/dist/icon.svg")),
];

/// A file as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Asset {
    pub(super) path: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    packed: Bytes,
    tag: String,
}

/// All of them.
pub(super) fn all() -> Vec<Asset> {
    let asset = |(path, kind, plain): (&'static str, &'static str, &'static [u8])| {
        let mut sum = flate2::Crc::new();
        sum.update(plain);
        let tag = format!("\"{:08x}-{}\"", sum.sum(), plain.len());
        Asset { path, kind, plain, packed: pack(plain, Compression::best()), tag }
    };
    FILES.map(asset).into()
}

impl Asset {
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = HeaderValue::from_str(&self.tag).unwrap_or(HeaderValue::from_static("\"\""));
        // Asked for again each time, sent again only after another version of this program.
        let about = [(CACHE_CONTROL, HeaderValue::from_static("no-cache")), (ETAG, tag.clone())];
        if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == tag) {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        (about, packed_or_plain(headers, self.kind, self.packed.clone(), || Bytes::from_static(self.plain)))
            .into_response()
    }
}

/// Compressed bytes to who takes them, and the others to who does not.
pub(super) fn packed_or_plain(
    headers: &HeaderMap,
    kind: &'static str,
    packed: Bytes,
    plain: impl FnOnce() -> Bytes,
) -> Response {
    let about = [(CONTENT_TYPE, kind), (VARY, "accept-encoding")];
    let takes_gzip =
        headers.get(ACCEPT_ENCODING).and_then(|accepted| accepted.to_str().ok()).is_some_and(|accepted| {
            accepted.split(',').any(|coding| coding.trim().split(';').next() == Some("gzip"))
        });
    if takes_gzip {
        (about, [(CONTENT_ENCODING, "gzip")], packed).into_response()
    } else {
        (about, plain()).into_response()
    }
}

/// As gzip.
pub(super) fn pack(plain: &[u8], how: Compression) -> Bytes {
    let mut packer = GzEncoder::new(Vec::with_capacity(plain.len() / 4), how);
    // Writing to memory does not fail.
    let _ = packer.write_all(plain);
    packer.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the page costs on a slow line, in all.
    const WIRE_BYTES_MAX: usize = 300_000;

    #[test]
    fn the_page_is_small() {
        let bytes: usize = all().iter().map(|asset| asset.packed.len()).sum();
        assert!((2_000..WIRE_BYTES_MAX).contains(&bytes), "{bytes}");
    }
}
