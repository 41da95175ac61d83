//! A connection as the HTTP library reads and writes it, watched on the way.
//!
//! Owns three things that the library leaves open: it keeps what a request's head looked like on the wire, it gives the
//! library's own refusals, which are empty, a body in the right family, and it ends a connection whose client takes
//! nothing of its answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use portmeter_listener::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::head;
use crate::failure::Family;

/// How long a client may take none of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The header that every answer of a router gets; the library's own answers lack it.
pub(super) const MARK: &str = "x-content-type-options";

/// What is known of a connection's bytes; shared with whoever answers its requests.
#[derive(Debug)]
pub(super) struct WireState {
    head_bytes_max: usize,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What has arrived since the last answer, and no more than a head may have.
    head: Vec<u8>,
    /// Whether a request is being answered: what arrives is no head.
    is_answering: bool,
    is_refused: bool,
}

impl WireState {
    pub(super) fn new(head_bytes_max: usize) -> Self {
        Self {
            head_bytes_max,
            shared: Mutex::default(),
        }
    }

    /// A request has been read: gives `judge` what arrived since the last answer.
    pub(super) fn begin<T>(&self, judge: impl FnOnce(&[u8]) -> T) -> T {
        let mut shared = self.lock();
        shared.is_answering = true;
        let judged = judge(&shared.head);
        shared.head.clear();
        judged
    }

    /// Its answer is handed over.
    pub(super) fn end(&self) {
        self.lock().is_answering = false;
    }

    /// Whether a part of a head is there, and no more.
    pub(super) fn has_begun_a_head(&self) -> bool {
        !self.lock().head.is_empty()
    }

    /// Whether the library has refused a request by itself.
    pub(super) fn is_refused(&self) -> bool {
        self.lock().is_refused
    }

    /// The family that the head's path belongs to.
    pub(super) fn family(&self) -> Family {
        Family::of_path(head::path(&self.lock().head))
    }

    fn note(&self, arrived: &[u8]) {
        let mut shared = self.lock();
        if shared.is_answering {
            return;
        }
        let arrived = if shared.head.is_empty() {
            let blank = arrived.iter().take_while(|byte| b"\r\n".contains(byte)).count();
            &arrived[blank..]
        } else {
            arrived
        };
        let room = self.head_bytes_max.saturating_sub(shared.head.len());
        shared.head.extend_from_slice(&arrived[..arrived.len().min(room)]);
    }

    /// The library's own answer with a body, if this is one.
    fn completed(&self, written: &[u8]) -> Option<Vec<u8>> {
        let status = own_status(written)?;
        let text = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                format!("The request's head is larger than {} bytes", self.head_bytes_max)
            }
            StatusCode::URI_TOO_LONG => "The request's path is too long".to_owned(),
            _ => "The request is not valid HTTP/1.1".to_owned(),
        };
        let answer = refusal(status, self.family(), &text);
        self.lock().is_refused = true;
        Some(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nothing panics while it holds this lock")
    }
}

/// The status of an answer that no router has made.
fn own_status(written: &[u8]) -> Option<StatusCode> {
    let rest = written.strip_prefix(b"HTTP/1.1 4").filter(|_| written.len() < 256)?;
    let text = str::from_utf8(written).ok()?;
    if text.contains(MARK) || rest.len() < 2 {
        return None;
    }
    StatusCode::from_bytes(&written[9..12]).ok()
}

/// An answer in a family's body, as bytes, after which the connection is closed.
pub(super) fn refusal(status: StatusCode, family: Family, text: &str) -> Vec<u8> {
    let body = family.error_text(status, text);
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\n{MARK}: nosniff\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// The connection.
pub(super) struct Wire {
    stream: Stream,
    state: std::sync::Arc<WireState>,
    /// What takes the place of an answer of the library's own, and how much of it is written.
    instead: Vec<u8>,
    instead_written: usize,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(stream: Stream, state: std::sync::Arc<WireState>) -> Self {
        Self {
            stream,
            state,
            instead: Vec::new(),
            instead_written: 0,
            stalled: None,
        }
    }

    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }

    /// Takes the place of a write that is an answer of the library's own; how long that was.
    fn intercept(&mut self, written: &[u8]) -> Option<usize> {
        let answer = self.state.completed(written)?;
        self.instead.extend(answer);
        Some(written.len())
    }

    /// Writes what takes another answer's place.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.instead_written < self.instead.len() {
            let rest = &self.instead[self.instead_written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead_written += count;
        }
        Poll::Ready(Ok(()))
    }

    /// The same poll, or an end of patience.
    fn in_time<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.state.note(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(count) = self.intercept(bytes) {
            return Poll::Ready(Ok(count));
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bytes.iter().find(|slice| !slice.is_empty());
        if let Some(count) = first.and_then(|slice| self.intercept(slice)) {
            return Poll::Ready(Ok(count));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.in_time(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.in_time(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_own_answers_get_another_body() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let state = WireState::new(9000);
        state.note(b"\r\nGET /api/users");
        let answer = String::from_utf8(state.completed(own).unwrap()).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("{\"ok\":false,\"error\":\"The request's head is larger than 9000 bytes\",\"code\":431}"),
            "{answer}"
        );
        assert!(state.is_refused());
        for other in [
            &b"HTTP/1.1 404 Not Found\r\nx-content-type-options: nosniff\r\n\r\n"[..],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 4",
            b"{}",
        ] {
            assert_eq!(state.completed(other), None);
        }
    }

    #[test]
    fn what_arrives_while_a_request_is_answered_is_no_head() {
        let state = WireState::new(10);
        state.note(b"\r\n");
        assert!(!state.has_begun_a_head());
        state.note(b"GET /abcdefgh");
        assert_eq!(state.begin(<[u8]>::to_vec), b"GET /abcde");
        state.note(b"body");
        assert!(!state.has_begun_a_head());
        state.end();
        state.note(b"GET");
        assert!(state.has_begun_a_head());
    }
}
