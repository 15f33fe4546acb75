//! A listener that bounds what strangers cost: so many connections at once, and none that says nothing for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::debug;

/// How long it waits after it could not accept, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The listener.
#[derive(Debug)]
pub struct Guarded {
    listener: TcpListener,
    free: Arc<Semaphore>,
    patience: Patience,
}

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// To say the first thing; then its protocol looks after it.
    ToSpeak(Duration),
    /// For all that it is there for.
    InAll(Duration),
}

impl Guarded {
    /// At most so many connections, with so much patience for each.
    pub fn new(listener: TcpListener, connections: usize, patience: Patience) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections)), patience }
    }

    /// The next connection. While there are too many, those who come wait.
    async fn next(&self) -> (Connection, SocketAddr) {
        loop {
            let permit = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Small messages are answered at once; where that can not be had, later.
                    drop(stream.set_nodelay(true));
                    let (until, ends) = match self.patience {
                        Patience::ToSpeak(patience) => (patience, false),
                        Patience::InAll(patience) => (patience, true),
                    };
                    let silence = Some(Box::pin(sleep(until)));
                    return (Connection { stream, silence, ends, _permit: permit }, peer);
                }
                Err(error) => {
                    debug!(%error, "accepting a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The connections, as tonic takes them.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        let (tell, connections) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tell.closed() => return,
                    (connection, _) = self.next() => drop(tell.send(Ok(connection)).await),
                }
            }
        });
        tokio_stream::wrappers::ReceiverStream::new(connections)
    }
}

impl axum::serve::Listener for Guarded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection. Reading fails when its time is over.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    silence: Option<Pin<Box<Sleep>>>,
    /// Whether its time is over even if it speaks.
    ends: bool,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            if !self.ends {
                self.silence = None;
            }
            return read;
        }
        let is_over = self.silence.as_mut().is_some_and(|silence| silence.as_mut().poll(cx).is_ready());
        if is_over {
            Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes too long")))
        } else {
            Poll::Pending
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_let_go_and_makes_room_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guarded = Guarded::new(listener, 1, Patience::ToSpeak(Duration::from_millis(50)));
        let _silent = TcpStream::connect(address).await.unwrap();
        let (mut first, _) = guarded.next().await;
        let mut speaks = TcpStream::connect(address).await.unwrap();
        speaks.write_all(b"hello").await.unwrap();
        assert!(
            tokio::time::timeout(Duration::from_millis(10), guarded.next()).await.is_err(),
            "there is one too many"
        );
        let mut buffer = [0; 5];
        assert_eq!(first.read(&mut buffer).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(first);
        let (mut second, _) = guarded.next().await;
        second.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"hello");
    }
}
