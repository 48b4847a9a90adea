//! Receives replies within the limits of size, memory and time.

use snapshot::Reason;
use tokio::io::AsyncRead;

use crate::Failure;
use crate::large_replies::{Reservation, USUAL_SIZE};
use crate::resp::{Limits, Protocol, ReplyError, Scanner};
use crate::stream::receive;

/// Received bytes, and the memory reserved for them.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    reservation: Reservation,
}

impl Received {
    /// Receives bytes until there is a complete reply that begins at `start`. Returns the offset of
    /// its end. There may be bytes after it.
    ///
    /// # Errors
    /// The connection failed, or the reply is invalid or exceeds a limit.
    pub(crate) async fn complete_reply(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        start: usize,
        limits: Limits,
        protocol: Protocol,
    ) -> Result<usize, Failure> {
        let mut scanner = Scanner::new(limits, protocol);
        loop {
            if let Some(length) = scanner.advance(&self.bytes[start..]).map_err(invalid)? {
                return Ok(start + length);
            }
            self.reservation.extend(start + scanner.cost()).await?;
            let more = receive(stream, &mut self.bytes);
            self.reservation.within_time_limit(more).await??;
        }
    }

    /// Drops the bytes before `end`, and their reservation.
    pub(crate) fn drop_before(&mut self, end: usize) {
        self.bytes.drain(..end);
        self.bytes.shrink_to(USUAL_SIZE);
        self.reservation = Reservation::default();
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
