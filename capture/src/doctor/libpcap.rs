//! The version of libpcap that this program runs with.
#![expect(unsafe_code, reason = "libpcap tells it by a C string, which its bindings leave out")]

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    /// A constant string of the library (pcap_lib_version(3PCAP)).
    safe fn pcap_lib_version() -> *const c_char;
}

/// Its words, such as `libpcap version 1.10.3 (with TPACKET_V3)`.
pub(super) fn version() -> String {
    let words = pcap_lib_version();
    if words.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: the library's own constant, ended by a zero byte, which is never freed.
    unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
}
