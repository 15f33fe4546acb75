//! What goes over the wire: the messages and services of `boom.v1`, and their conversions into and out of the types of boom-plan.
//!
//! A conversion out of a message checks everything, and says which field is wrong; what it does not know is an error, never a default.
//! Nothing is decided here, and nothing is sent.
#![forbid(unsafe_code)]

pub mod control;
mod error;
mod names;
pub mod node;
mod orders;
mod plan;
pub mod status;

pub use error::Error;

/// The messages and services, as the `.proto` files have them.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; the .proto files document it"
)]
pub mod v1 {
    tonic::include_proto!("boom.v1");
}

/// The descriptors of all messages and services, for gRPC reflection: an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/boom.v1.bin"));
