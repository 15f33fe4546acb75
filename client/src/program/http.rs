//! HTTP for who watches: so many questions at once, a connection for each, and so long for each. What is answered is the programs' matter.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::listener::{Guarded, Patience};

/// So many connections there may be, one for each question, and so long each may take.
const CONNECTIONS: usize = 64;
const QUESTION: Duration = Duration::from_secs(10);

/// What metrics are written in.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until `stop`, and then what was asked before.
///
/// # Errors
/// The server ends.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> io::Result<()> {
    let routes = routes.layer(axum::middleware::map_response(async |mut response: Response| {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }));
    let listener = Guarded::new(listener, CONNECTIONS, Patience::InAll(QUESTION));
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// Time stands still until everybody waits, and then goes on by itself.
    #[tokio::test(start_paused = true)]
    async fn those_who_say_nothing_do_not_keep_out_who_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let routes = Router::new().route("/livez", get(async || "it lives\n"));
        let server = tokio::spawn(serve(listener, routes, stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut asks = TcpStream::connect(address).await.unwrap();
        asks.write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asks.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("it lives\n"), "{answer}");
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
