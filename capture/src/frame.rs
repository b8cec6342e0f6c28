//! The one type at which live rings and files meet: a frame with its time, link type and length on the wire.

use tidegauge_ebpf::link::LinkType;

/// One frame as a source saw it. Borrowed from the source's buffer; nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct CapturedFrame<'a> {
    /// Nanoseconds since the Unix epoch, by the source's clock (packet time).
    pub ts_ns: u64,
    /// DLT / LINKTYPE number of the interface the frame came from.
    pub dlt: u16,
    /// `dlt` as a link type we read, `None` where we do not.
    pub link: Option<LinkType>,
    /// Length on the wire; `bytes` is shorter where a snap length cut it.
    pub wire_len: u32,
    /// The captured bytes, from the link header on.
    pub bytes: &'a [u8],
}
