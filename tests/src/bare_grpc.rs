//! A gRPC call frame by frame, for what a client's library would decide before the agent does: its own deadline.

use std::path::Path;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Request};
use tokio::net::UnixStream;
use tokio::runtime::Builder;

/// A message without a field: not compressed, of no bytes.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// What a call to `method` (`Service/Method`) with this `grpc-timeout` and an empty message ends with: the trailers, or
/// the headers where they are all there is.
pub fn end_of_call(socket: &Path, method: &str, timeout: &str) -> Result<HeaderMap> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = UnixStream::connect(socket).await.context("connecting to the agent")?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let end = call(requests, method, timeout).await;
        connection.abort();
        end
    })
}

async fn call(requests: h2::client::SendRequest<Bytes>, method: &str, timeout: &str) -> Result<HeaderMap> {
    let request = Request::post(format!("http://agent/portmeter.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())?;
    let (answer, mut body) = requests.ready().await?.send_request(request, false)?;
    // The answer may be there before the message is: then nobody wants it any more.
    let _ = body.send_data(Bytes::from_static(&EMPTY_MESSAGE), true);
    let (head, mut frames) = answer.await?.into_parts();
    while let Some(frame) = frames.data().await {
        let length = frame?.len();
        frames.flow_control().release_capacity(length)?;
    }
    Ok(frames.trailers().await?.unwrap_or(head.headers))
}
