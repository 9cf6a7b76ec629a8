//! `quintile health`: does the server that runs on this configuration answer? For containers and scripts.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write, stdout},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::anyhow;

use super::{Context, Outcome};

const PATIENCE: Duration = Duration::from_secs(5);

/// Ask the running server whether it takes webhooks; exit 1 if not
#[derive(Debug, clap::Args)]
pub struct Args {}

/// # Errors
/// Nothing listens there, or it does not answer within five seconds.
pub fn run(_args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let address = reachable(context.config.webhooks.listen);
    let answer = ask(address).map_err(|error| match error.kind() {
        // The first is what a system says of a silence that was not waited for any longer.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!(
                "what listens on {address} does not answer within {} seconds; its log may say why",
                PATIENCE.as_secs()
            )
        }
        _ => anyhow!(error).context(format!("no quintile answers on {address}; start `quintile serve`")),
    })?;
    // "HTTP/1.1 200 OK"
    if answer.split(' ').nth(1) == Some("200") {
        writeln!(stdout(), "ok")?;
        return Ok(Outcome::Done);
    }
    eprintln!("{address} answers {answer:?}: the database cannot be written; `quintile check` says why");
    Ok(Outcome::Failed)
}

/// The first line of the answer to `GET /healthz`.
fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Where this machine reaches what listens on all its addresses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
