//! An email tool that costs little: a process of its own that answers every request 200 and keeps
//! the ids of the events it was told of.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use anyhow::Context;

/// A running receiver; ends with this value.
pub struct Receiver {
    child: Child,
    address: String,
}

/// What it was told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub requests: usize,
    /// Different events.
    pub events: usize,
    /// Events that came more than once.
    pub repeated: usize,
}

impl Receiver {
    pub fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--receiver")
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().to_owned() })
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Asks and forgets.
    pub fn told(&self) -> anyhow::Result<Told> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET /told HTTP/1.1\r\ncontent-length: 0\r\n\r\n")?;
        let mut lines = BufReader::new(stream).lines();
        let line =
            lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("told "))).context("an answer")??;
        let numbers: Vec<usize> = line[5..].split(' ').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Told { requests: numbers[0], events: numbers[1], repeated: numbers[2] })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does until its parent ends it.
#[expect(clippy::print_stdout, reason = "tells its address")]
pub fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let told: Arc<Mutex<(usize, HashMap<u128, u32>)>> = Arc::default();
    for stream in listener.incoming() {
        let (stream, told) = (stream?, told.clone());
        std::thread::spawn(move || answer(&stream, &told));
    }
    Ok(())
}

/// One connection, request by request.
fn answer(stream: &TcpStream, told: &Mutex<(usize, HashMap<u128, u32>)>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (mut reader, mut writer) = (BufReader::with_capacity(64 * 1024, stream), stream);
    let (mut line, mut body) = (Vec::new(), Vec::new());
    loop {
        let (mut length, mut asked, mut first) = (0_usize, false, true);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).ok()? == 0 {
                return None;
            }
            if line == b"\r\n" {
                break;
            }
            asked |= first && line.starts_with(b"GET");
            first = false;
            let text = std::str::from_utf8(&line).ok()?;
            if text.get(..15).is_some_and(|name| name.eq_ignore_ascii_case("content-length:")) {
                length = text[15..].trim().parse().ok()?;
            }
        }
        body.resize(length, 0);
        std::io::Read::read_exact(&mut reader, &mut body).ok()?;
        let mut told = told.lock().ok()?;
        if asked {
            let repeated = told.1.values().filter(|count| **count > 1).count();
            let text = format!("told {} {} {repeated}\r\n", told.0, told.1.len());
            *told = Default::default();
            write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).ok()?;
            continue;
        }
        told.0 += 1;
        for id in ids(&body) {
            *told.1.entry(id).or_default() += 1;
        }
        drop(told);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

/// The events in a body: the 26 characters after each `"id":"evt_`, the last 21 of them as a number.
fn ids(body: &[u8]) -> impl Iterator<Item = u128> + '_ {
    const MARK: &[u8] = b"\"id\":\"evt_";
    let mut rest = body;
    std::iter::from_fn(move || {
        let at = rest.windows(MARK.len()).position(|window| window == MARK)?;
        let id = rest.get(at + MARK.len()..at + MARK.len() + 26)?;
        rest = &rest[at + MARK.len() + 26..];
        Some(id.iter().fold(0, |number, byte| (number << 6) | u128::from(byte.wrapping_sub(b'0') & 63)))
    })
}
