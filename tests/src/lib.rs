//! What the end-to-end tests, the demo and the benches need around tidegauge: a lab of two network namespaces,
//! real TCP servers and clients in it, and a seeded SYN flood.
//!
//! Nothing here is installed with the product, and nothing here sends outside a lab: a flood refuses to start
//! where the namespace is not one that [`netns::Lab`] made. The binary `traffic` is the same code on a command line.

pub mod client;
pub mod conversation;
pub mod flood;
pub mod hold;
pub mod kernel_tcp;
pub mod known_frames;
pub mod middlebox;
pub mod netns;
pub mod pacing;
pub mod packet_socket;
pub mod play;
pub mod random;
pub mod recorder;
pub mod server;
pub mod skip;
pub mod syn_frame;
