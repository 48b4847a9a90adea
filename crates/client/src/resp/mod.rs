//! The Redis protocol (RESP): reads replies whose sender is not trusted.
//!
//! A [`Scanner`] finds the end of a reply while its bytes arrive, and enforces the [`Limits`]. Then
//! [`decode()`] converts the complete reply without copying its text. Both work without recursion
//! and allocate nothing that the sender merely announced.
//!
//! They read RESP2, and the types of RESP3 that can be part of a reply. Streamed strings and
//! aggregates (`$?`, `*?`) and push messages are rejected, because a client has to ask for them.

mod decode;
mod encode;
mod scanner;

pub use decode::decode;
pub(crate) use decode::decode_with;
pub use encode::encode;
pub(crate) use encode::encode_words;
pub use scanner::{Limits, MAX_DEPTH, Protocol, ReplyError, Scanner};
