//! What is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use indicatif::ProgressBar;
use serde_json::Value;

/// How much of a body goes out between two moves of its progress bar.
const PIECE_BYTES: usize = 64 * 1024;

/// A request body of known length, which can move a progress bar while it goes out.
#[derive(Debug)]
pub(crate) struct Payload {
    rest: Bytes,
    progress: Option<ProgressBar>,
}

impl Payload {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    /// These bytes.
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self {
            rest: bytes.into(),
            progress: None,
        }
    }

    /// This JSON.
    pub(crate) fn json(value: &Value) -> Self {
        Self::bytes(value.to_string())
    }

    /// The same, moving this bar (whose length is in bytes) as the connection takes the pieces.
    pub(crate) fn with_progress(mut self, progress: ProgressBar) -> Self {
        self.progress = Some(progress);
        self
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = if self.progress.is_some() {
            PIECE_BYTES.min(self.rest.len())
        } else {
            self.rest.len()
        };
        let piece = self.rest.split_to(length);
        if let Some(progress) = &self.progress {
            progress.inc(length as u64);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
