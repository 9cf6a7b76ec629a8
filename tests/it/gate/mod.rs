//! Both listeners under attack: over real sockets, with limits short enough to wait for.

mod bodies;
mod connections;
mod flood;
mod tokens;

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use quintile::web::{Limits, listen};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(250);

/// What the tests beside this one set shorter is what README.md says.
#[test]
fn what_the_listeners_allow_by_themselves() {
    let Limits { connections, of_one_client, head, head_bytes, answer, body } = Limits::default();
    assert_eq!((connections, of_one_client, head_bytes), (256, 64, 16 * 1024));
    assert_eq!([head, answer, body].map(|limit| limit.as_secs()), [5, 15, 10]);
}

/// A router on a real socket.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    listening: JoinHandle<()>,
}

async fn serve(router: Router, limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let listening = tokio::spawn(listen(listener, router, limits, stop.clone(), Duration::from_secs(10)));
    Served { address, stop, listening }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and nothing more.
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A good request and its answer.
    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        said(self.send(request.as_bytes()).await).await
    }
}

/// All that comes until the other side closes. A connection that was cut counts as closed.
async fn said(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the connection stays open");
    drop(read);
    String::from_utf8_lossy(&all).into_owned()
}
