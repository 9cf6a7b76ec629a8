//! Email tools of every mood, on plain sockets: they take a message, refuse it, ask for patience, hang,
//! cut the connection, answer by halves and slowly. Each keeps a book of what it was sent.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use standardwebhooks::Webhook;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use super::book::{Book, Request};
use crate::support::receiver::SECRET;

/// Name, and requests per delivery.
pub const TOOLS: [(&str, usize); 3] = [("tool", 1), ("batches", 1), ("crm", 2)];

/// How a tool answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Fine,
    /// The answer takes a while and comes in pieces.
    Slow,
    Says(u16),
    /// With `Retry-After`, in seconds.
    Busy(u16, u32),
    /// Takes the message and never answers.
    Hangs,
    /// Reads nothing and resets the connection.
    Resets,
    /// Says 200, and is gone before the answer is whole.
    HalfBody,
    Garbage,
    /// Another one each time.
    Moody,
}

impl Mood {
    const BAD: [Self; 16] = [
        Self::Slow,
        Self::Says(302),
        Self::Says(400),
        Self::Says(401),
        Self::Says(404),
        Self::Says(410),
        Self::Says(413),
        Self::Says(500),
        Self::Says(502),
        Self::Busy(429, 2),
        Self::Busy(503, 3),
        Self::Hangs,
        Self::Resets,
        Self::HalfBody,
        Self::Garbage,
        Self::Moody,
    ];

    /// Mostly fine, or nothing would ever arrive.
    pub fn any(dice: &mut fastrand::Rng) -> Self {
        if dice.u32(..10) < 6 { Self::Fine } else { Self::BAD[dice.usize(..Self::BAD.len())] }
    }

    fn of_the_moment(self) -> Self {
        match self {
            Self::Moody => match Self::any(&mut fastrand::Rng::new()) {
                // One of these would be all that is heard for long.
                Self::Moody | Self::Says(401 | 410) => Self::Says(500),
                mood => mood,
            },
            mood => mood,
        }
    }
}

/// All tools, at one port.
pub struct Tools {
    pub address: String,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

struct Shared {
    moods: Mutex<[Mood; TOOLS.len()]>,
    book: Mutex<Book>,
    /// The life of the program that is under way: a connection belongs to one.
    life: AtomicU32,
}

impl Tools {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            moods: Mutex::new([Mood::Fine; TOOLS.len()]),
            book: Mutex::default(),
            life: AtomicU32::new(0),
        });
        let serving = shared.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let life = serving.life.load(Ordering::SeqCst);
                tokio::spawn(serve(serving.clone(), stream, life));
            }
        });
        Self { address, shared, _server: AbortOnDropHandle::new(server) }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap()
    }

    /// The program is about to start once more.
    pub fn next_life(&self, life: u32) {
        self.shared.life.store(life, Ordering::SeqCst);
    }

    pub fn set_mood(&self, tool: usize, mood: Mood) {
        self.shared.moods.lock().unwrap()[tool] = mood;
    }
}

/// Answers the requests of one connection, until one of them or a mood ends it.
async fn serve(shared: Arc<Shared>, mut stream: TcpStream, life: u32) {
    let mut read = Vec::new();
    loop {
        let Some((request, rest)) = next_request(&mut stream, read).await else { return };
        read = rest;
        let mood = shared.moods.lock().unwrap()[request.tool].of_the_moment();
        if mood == Mood::Resets {
            let _ = stream.set_zero_linger();
            return;
        }
        {
            let mut book = shared.book.lock().unwrap();
            book.arrives(&request, life);
            // Before the answer is written: what follows may happen on the other side of a kill.
            if matches!(mood, Mood::Fine | Mood::Slow) {
                book.is_taken(&request, life);
            }
        }
        let answered = match mood {
            Mood::Fine | Mood::Moody | Mood::Resets => answer(&mut stream, "200 OK", "").await,
            Mood::Slow => slowly(&mut stream).await,
            Mood::Says(status) => answer(&mut stream, &format!("{status} Said"), "location: /elsewhere\r\n").await,
            Mood::Busy(status, seconds) => {
                answer(&mut stream, &format!("{status} Busy"), &format!("retry-after: {seconds}\r\n")).await
            }
            Mood::Hangs => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
            Mood::HalfBody => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf of i").await;
                return;
            }
            Mood::Garbage => {
                let _ = stream.write_all(b"\x16\x03\x01 what?\r\n\r\n").await;
                return;
            }
        };
        if answered.is_err() {
            return;
        }
    }
}

async fn answer(stream: &mut TcpStream, status: &str, headers: &str) -> std::io::Result<()> {
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}content-length: 2\r\n\r\nok").as_bytes()).await
}

async fn slowly(stream: &mut TcpStream) -> std::io::Result<()> {
    for piece in ["HTTP/1.1 200 OK\r\n", "content-length: 4\r\n\r\n", "sl", "ow"] {
        tokio::time::sleep(Duration::from_millis(400)).await;
        stream.write_all(piece.as_bytes()).await?;
    }
    Ok(())
}

/// The next whole request, and what was read behind it; `None`: there is no more.
async fn next_request(stream: &mut TcpStream, mut read: Vec<u8>) -> Option<(Request, Vec<u8>)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    loop {
        let mut parsed = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(body)) = parsed.parse(&read) {
            let header = |name: &str| {
                let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                String::from_utf8(found.value.to_vec()).ok()
            };
            let length: usize = header("content-length")?.parse().ok()?;
            if read.len() >= body + length {
                let path = parsed.path?.trim_start_matches('/').to_owned();
                let (tool, step) = path.split_once('/')?;
                let request = Request {
                    tool: TOOLS.iter().position(|(name, _)| *name == tool)?,
                    step: step.parse().ok()?,
                    message: header("webhook-id").or_else(|| header("x-message"))?,
                    again: header("quintile-replay-of").is_some(),
                    signed: header("webhook-signature")
                        .map(|signature| is_signed(&header, &signature, &read[body..body + length])),
                    body: read[body..body + length].to_vec(),
                };
                let rest = read.split_off(body + length);
                return Some((request, rest));
            }
        }
        headers = [httparse::EMPTY_HEADER; 32];
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// As the public library signs, whatever time it claims: the machine's clock is not ours.
fn is_signed(header: &impl Fn(&str) -> Option<String>, signature: &str, body: &[u8]) -> bool {
    let (Some(id), Some(at)) = (header("webhook-id"), header("webhook-timestamp")) else { return false };
    let Ok(at) = at.parse() else { return false };
    Webhook::new(SECRET).and_then(|secret| secret.sign(&id, at, body)).is_ok_and(|expected| expected == signature)
}
