//! The program itself, serving a made-up shop, and a client with one open connection.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Ended when it is dropped.
pub struct Server {
    process: Child,
    address: String,
    connection: RefCell<BufReader<TcpStream>>,
}

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    /// From the last byte of the request to the first of the answer.
    pub first_byte: Duration,
    /// Bytes of the body, compressed.
    pub size: usize,
    body: Vec<u8>,
    packed: bool,
}

impl Answer {
    pub fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        if self.packed {
            flate2::read::GzDecoder::new(self.body.as_slice()).read_to_string(&mut text)?;
        } else {
            self.body.as_slice().read_to_string(&mut text)?;
        }
        Ok(text)
    }
}

impl Server {
    /// Starts the program in `folder` and waits until its dashboard answers.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_quintile"))
            .arg("serve")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let told = process.stdout.take().context("its output")?;
        for line in BufReader::new(told).lines() {
            let line = line?;
            if let Some(at) = line.find("http://").filter(|_| line.contains("dashboard")) {
                let address = line[at + 7..].split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
                let connection = RefCell::new(connect(address)?);
                return Ok(Self { process, address: address.to_owned(), connection });
            }
        }
        bail!("the program ended before it served its dashboard: {}", process.wait()?)
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let mut connection = self.connection.borrow_mut();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes())?;
        let asked = Instant::now();
        connection.fill_buf()?;
        let first_byte = asked.elapsed();
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("a status")?.parse()?;
        let (mut length, mut packed) = (None, false);
        loop {
            line.clear();
            connection.read_line(&mut line)?;
            let lower = line.trim_end().to_ascii_lowercase();
            if lower.is_empty() {
                break;
            }
            length = lower.strip_prefix("content-length: ").map(str::parse::<usize>).transpose()?.or(length);
            packed |= lower == "content-encoding: gzip";
        }
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                connection.read_exact(&mut body)?;
            }
            None => chunks(&mut *connection, &mut body)?,
        }
        Ok(Answer { status, first_byte, size: body.len(), body, packed })
    }

    /// A file of any length, up to its first row, over a connection of its own. Without compression, which
    /// would wait for more.
    pub fn first_row(&self, path: &str) -> anyhow::Result<Answer> {
        let mut connection = connect(&self.address)?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes())?;
        let asked = Instant::now();
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("a status")?.parse()?;
        while line != "\r\n" {
            line.clear();
            connection.read_line(&mut line)?;
        }
        // The length of a piece, its headings, the end of the piece; the same of its first row, or the end.
        let mut body = Vec::new();
        for _ in 0..5 {
            connection.read_until(b'\n', &mut body)?;
        }
        Ok(Answer { status, first_byte: asked.elapsed(), size: 0, body, packed: false })
    }

    /// In MiB, since it started.
    pub fn peak_memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

fn connect(address: &str) -> anyhow::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(BufReader::new(stream))
}

fn chunks(connection: &mut impl BufRead, body: &mut Vec<u8>) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).context("the length of a chunk")?;
        let start = body.len();
        body.resize(start + length, 0);
        connection.read_exact(&mut body[start..])?;
        line.clear();
        connection.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
