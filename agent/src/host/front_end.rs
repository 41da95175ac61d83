//! Whether the panel's front end answers: one small request to the address that is configured, and nothing of what it says
//! but the status is looked at.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long it may take altogether: a page that shows the answer is waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// The port of an address that names none.
const HTTP_PORT: u16 = 80;

/// Where the front end answers: plain HTTP at a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontEndUrl {
    text: String,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    /// As the header has it.
    authority: String,
    path: String,
}

/// The text is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use where it listens, in plain HTTP, for example http://127.0.0.1:3000")]
pub struct InvalidFrontEndUrl;

impl FromStr for FrontEndUrl {
    type Err = InvalidFrontEndUrl;

    fn from_str(text: &str) -> Result<Self, InvalidFrontEndUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidFrontEndUrl)?;
        let authority = uri.authority().ok_or(InvalidFrontEndUrl)?;
        let has_user = authority.as_str().contains('@');
        // A port that is none leaves the authority without one.
        let is_port_right = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => authority.port_u16().is_some_and(|port| port > 0),
            _ => true,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if uri.scheme_str() != Some("http") || has_user || host.is_empty() || !is_port_right {
            return Err(InvalidFrontEndUrl);
        }
        Ok(Self {
            text: text.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(HTTP_PORT),
            authority: authority.to_string(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

impl fmt::Display for FrontEndUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It answered with this HTTP status.
    Status(u16),
    /// Nobody listens there, or nobody who speaks HTTP.
    Nobody,
    /// Nothing came in time, so that nothing can be told.
    TooSlow,
}

impl FrontEndUrl {
    /// Asks it once.
    pub async fn ask(&self) -> Answer {
        match tokio::time::timeout(PATIENCE, self.request()).await {
            Ok(Ok(status)) => Answer::Status(status),
            Ok(Err(error)) => {
                tracing::debug!(error, url = %self, "the front end gives no answer");
                Answer::Nobody
            }
            Err(_) => Answer::TooSlow,
        }
    }

    async fn request(&self) -> Result<u16, String> {
        let failed = |error: &dyn std::error::Error| error.to_string();
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = TokioIo::new(stream.map_err(|error| failed(&error))?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(|error| failed(&error))?;
        let request = Request::get(self.path.as_str())
            .header(HOST, self.authority.as_str())
            .header(USER_AGENT, "portmeter")
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error))?;
        // The connection is served beside the request and ends with it: a body, however long, is not waited for. One that is
        // closed may have brought the answer before.
        let mut response = std::pin::pin!(sender.send_request(request));
        let answered = tokio::select! {
            biased;
            answered = response.as_mut() => answered,
            _ = connection => response.await,
        };
        let status = answered.map(|response| response.status().as_u16());
        status.map_err(|error| failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_is_plain_http() {
        let url: FrontEndUrl = "http://[::1]:3000/a?b=c".parse().unwrap();
        let parts = (url.host.as_str(), url.port, url.authority.as_str(), url.path.as_str());
        assert_eq!(parts, ("::1", 3000, "[::1]:3000", "/a?b=c"));
        let url: FrontEndUrl = "http://panel.example".parse().unwrap();
        assert_eq!(
            (url.host.as_str(), url.port, url.path.as_str()),
            ("panel.example", 80, "/")
        );
        for text in [
            "",
            "/",
            "panel:3000",
            "https://a",
            "http://u:p@a",
            "http:///x",
            "http://a:0",
            "http://a:70000",
        ] {
            assert!(text.parse::<FrontEndUrl>().is_err(), "{text}");
        }
    }

    /// A server that says `answer` to its first caller and keeps the connection.
    async fn server(answer: &'static str) -> FrontEndUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/page", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /page HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                return;
            }
            let _ = stream.read(&mut request).await;
        });
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn hears_a_status_and_does_not_wait_for_the_rest() {
        let endless = "HTTP/1.1 307 Moved\r\nLocation: /login\r\nContent-Length: 1000000\r\n\r\n";
        assert_eq!(server(endless).await.ask().await, Answer::Status(307));
        assert_eq!(
            server("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n")
                .await
                .ask()
                .await,
            Answer::Status(502)
        );
        assert_eq!(
            server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .ask()
                .await,
            Answer::Status(200)
        );
        assert_eq!(server("SSH-2.0-x\r\n").await.ask().await, Answer::Nobody);
        assert_eq!(server("").await.ask().await, Answer::Nobody);
    }

    #[tokio::test]
    async fn hears_that_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: FrontEndUrl = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        assert_eq!(url.ask().await, Answer::Nobody);
    }
}
