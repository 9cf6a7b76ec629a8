//! Requests over plain sockets, one connection each: what a test sends is exactly what it wrote.

use std::{
    fmt::Write as _,
    io::{Error, ErrorKind, Read, Result, Write},
    net::TcpStream,
    time::Duration,
};

/// A hung server fails a test instead of stopping it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer: its status, and its body as text.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub fn get(url: &str) -> Result<Answer> {
    send("GET", url, &[], b"")
}

pub fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    send("POST", url, headers, body)
}

pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let address = url.strip_prefix("http://").expect("tests speak plain http");
    let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let path = if path.is_empty() { "/" } else { path };
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    if method != "GET" {
        let _ = write!(head, "content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let mut connection = TcpStream::connect(host)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let cut = || Error::new(ErrorKind::UnexpectedEof, "the answer was cut off");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
    Ok(Answer { status, body: body.to_owned() })
}
