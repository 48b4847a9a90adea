//! Receives replies within the limits of size, memory and time.

use snapshot::Reason;
use tokio::io::AsyncRead;

use crate::Failure;
use crate::large_replies::{ReceiveTime, Reservation, USUAL_SIZE};
use crate::resp::{Limits, Protocol, ReplyError, Scanner};
use crate::stream::receive;

/// Received bytes, and the memory reserved for them.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    reservation: Reservation,
    /// Estimated memory of the decoded elements of complete replies, bytes.
    decoded: usize,
}

/// Position and size of a complete reply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompleteReply {
    /// Offset of the end.
    pub(crate) end: usize,
    /// Number of elements of all arrays and maps.
    pub(crate) elements: usize,
}

impl Received {
    /// Receives bytes until there is a complete reply that begins at `start`. There may be bytes
    /// after it. Bytes of the reply that are not valid UTF-8 are replaced by question marks.
    ///
    /// # Errors
    /// The connection failed, or the reply is invalid or exceeds a limit.
    pub(crate) async fn complete_reply(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        start: usize,
        limits: Limits,
        protocol: Protocol,
    ) -> Result<CompleteReply, Failure> {
        let mut scanner = Scanner::new(limits, protocol);
        let mut time = ReceiveTime::default();
        loop {
            if let Some(length) = scanner.advance(&self.bytes[start..]).map_err(invalid)? {
                let end = start + length;
                make_valid_utf8(&mut self.bytes[start..end]);
                self.decoded = self.decoded.saturating_add(scanner.decoded());
                return Ok(CompleteReply { end, elements: scanner.elements() });
            }
            let before = start.saturating_add(self.decoded);
            let used = before.saturating_add(scanner.memory());
            let at_most = before.saturating_add(scanner.max_memory());
            self.reservation.extend(used, at_most).await?;
            time.limit(scanner.memory(), receive(stream, &mut self.bytes)).await??;
        }
    }

    /// Drops the bytes before `end`. Returns the reservation for them.
    pub(crate) fn drop_before(&mut self, end: usize) -> Reservation {
        self.bytes.drain(..end);
        self.bytes.shrink_to(USUAL_SIZE);
        self.decoded = 0;
        std::mem::take(&mut self.reservation)
    }
}

/// Converts an error in a reply.
fn invalid(error: ReplyError) -> Failure {
    let reason = match error {
        ReplyError::TooLarge(_) | ReplyError::TooManyElements(_) => Reason::Toolarge,
        _ => Reason::Protocol,
    };
    Failure::new(reason, format!("invalid reply: {error}"))
}

/// Replaces bytes that are not valid UTF-8 by question marks. The length stays the same, so a reply
/// needs no more memory when its text is decoded.
///
/// ```
/// let mut reply = b"+caf\xe9\r\n".to_vec();
/// client::make_valid_utf8(&mut reply);
/// assert_eq!(reply, b"+caf?\r\n");
/// ```
pub fn make_valid_utf8(bytes: &mut [u8]) {
    let mut checked = 0;
    while let Err(error) = std::str::from_utf8(&bytes[checked..]) {
        let start = checked + error.valid_up_to();
        checked = error.error_len().map_or(bytes.len(), |length| start + length);
        bytes[start..checked].fill(b'?');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bytes_are_replaced_one_by_one() {
        let mut bytes = b"+caf\xe9 \xf0\x9f\x98\x80 \xf0\x9f\r\n".to_vec();
        make_valid_utf8(&mut bytes);
        assert_eq!(String::from_utf8(bytes).as_deref(), Ok("+caf? 😀 ??\r\n"));
    }
}
