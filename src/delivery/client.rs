//! One request, one reply, within limits. Deliberately absent: redirects, cookies, compression and
//! proxies from the environment.

use std::{io, time::Duration};

use anyhow::Context;
use reqwest::{
    Certificate, Method, Url,
    header::{HeaderMap, LOCATION, RETRY_AFTER, SET_COOKIE},
};
use rustls::CertificateError;

use super::{
    guard::{Blocked, Guard, NotFound},
    plan::Meaning,
    retry::{Answer, Failure, Reply},
};

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Name, connection and handshake.
    pub connect: Duration,
    /// All of it: connection, request, answer and the answer's body.
    pub whole: Duration,
}

/// The limits that the messages of [`Failure`] name.
pub const LIMITS: Limits = Limits { connect: Duration::from_secs(5), whole: Duration::from_secs(15) };
/// Bytes of an answer that are read; a longer one is cut off, its status stands.
const READ_LIMIT: usize = 64 * 1024;
/// Bytes of an answer that are kept.
const KEEP_LIMIT: usize = 4 * 1024;
/// Headers of an answer that are kept, and bytes of each: enough for what tools say of their limits.
const KEEP_HEADERS: usize = 32;
const KEEP_HEADER_BYTES: usize = 256;
/// Shorter than the 5 seconds after which common servers close an idle connection: one that they
/// are about to close would fail the next request.
const IDLE_LIMIT: Duration = Duration::from_secs(4);

/// The HTTP client of all destinations. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    guard: Guard,
}

/// What to send.
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub reply: Reply,
    /// The first 32 headers of the answer that are no longer than 256 bytes; cookies are not kept.
    pub headers: HeaderMap,
    /// The first 4 KiB of the answer's body.
    pub body: Vec<u8>,
}

impl Client {
    /// `connections`: idle ones kept per destination.
    ///
    /// Certificates are checked against the system's roots and Mozilla's, which are part of the
    /// program: it works in an empty container, and with a company's own authority.
    ///
    /// # Errors
    /// The TLS library cannot start.
    pub fn new(guard: Guard, connections: usize, limits: Limits) -> anyhow::Result<Self> {
        Self::trusting(guard, connections, limits, &[])
    }

    /// [`Self::new`] that also trusts these authorities (certificates in DER).
    ///
    /// # Errors
    /// One of them is no certificate; the TLS library cannot start.
    pub fn trusting(guard: Guard, connections: usize, limits: Limits, authorities: &[&[u8]]) -> anyhow::Result<Self> {
        let http = builder(&guard, authorities)?
            .connect_timeout(limits.connect)
            .timeout(limits.whole)
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(connections)
            .build()
            .context("cannot start the HTTP client")?;
        Ok(Self { http, guard })
    }

    /// Sends `request`; takes no longer than its limit, whatever the other side does.
    pub async fn send(&self, request: Request) -> Exchange {
        if let Err(Blocked { host }) = self.guard.check_literal(&request.url) {
            return Exchange::failed(Failure::Blocked(host));
        }
        let sent =
            self.http.request(request.method, request.url).headers(request.headers).body(request.body).send().await;
        match sent {
            Ok(response) => read(response).await,
            Err(error) => Exchange::failed(classify(&error)),
        }
    }
}

impl Exchange {
    /// Without an answer.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self { reply: Reply::Failure(failure), headers: HeaderMap::new(), body: Vec::new() }
    }
}

/// What every client of this program is made of: certificates, the guard, and what is absent. Without
/// limits of time, which are the caller's to set.
///
/// # Errors
/// One of the `authorities` is no certificate.
pub fn builder(guard: &Guard, authorities: &[&[u8]]) -> anyhow::Result<reqwest::ClientBuilder> {
    // Already installed by another part of the process: the same one, so no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mozillas = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref);
    let roots = mozillas.chain(authorities.iter().copied()).map(Certificate::from_der);
    Ok(reqwest::Client::builder()
        .tls_certs_merge(roots.collect::<Result<Vec<_>, _>>()?)
        .dns_resolver(guard.clone())
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false))
}

async fn read(mut response: reqwest::Response) -> Exchange {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = Answer {
        status: response.status().as_u16(),
        retry_after: header(RETRY_AFTER.as_str()),
        location: header(LOCATION.as_str()),
        meaning: Meaning::Plain,
        disable: header("webhook-delivery").is_some_and(|value| value.trim().eq_ignore_ascii_case("disable")),
    };
    let headers = few(response.headers());
    let mut read = 0;
    let mut body = Vec::new();
    while read < READ_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                read += chunk.len();
                body.extend_from_slice(&chunk[..chunk.len().min(KEEP_LIMIT - body.len())]);
            }
            Ok(None) => break,
            Err(error) => return Exchange { body, ..Exchange::failed(classify(&error)) },
        }
    }
    Exchange { reply: Reply::Answer(answer), headers, body }
}

/// What is kept of an answer's headers: bounded, and without cookies, which are secrets.
fn few(headers: &HeaderMap) -> HeaderMap {
    let short = headers.iter().filter(|(name, value)| *name != SET_COOKIE && value.len() <= KEEP_HEADER_BYTES);
    short.take(KEEP_HEADERS).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What stands behind the error. The client's own text is not used as it stands: it quotes the
/// address, which of some tools is a secret.
pub fn classify(error: &reqwest::Error) -> Failure {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
        if let Some(failure) = known(source) {
            return failure;
        }
    }
    if error.is_timeout() {
        return if error.is_connect() { Failure::ConnectTimeout } else { Failure::Timeout };
    }
    if std::ptr::addr_eq(innermost, error) {
        return Failure::Other("the request failed".to_owned());
    }
    Failure::Other(innermost.to_string())
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<Failure> {
    if let Some(Blocked { host }) = error.downcast_ref() {
        return Some(Failure::Blocked(host.clone()));
    }
    if let Some(NotFound { host }) = error.downcast_ref() {
        return Some(Failure::Dns(host.clone()));
    }
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(Failure::Tls(explain_tls(tls)));
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // `source` of an I/O error skips the error inside it, which may be another one of these.
        if let Some(failure) = error.get_ref().and_then(|inner| known(inner)) {
            return Some(failure);
        }
        return match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Failure::Refused),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Some(Failure::Cut),
            _ => None,
        };
    }
    None
}

/// In words that say whose fault it is; what is rare is told as the library does.
fn explain_tls(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(problem) = error else { return error.to_string() };
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name; check the host in `url`".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody this machine trusts; a tool with an authority of its own needs that \
             in the system's trusted certificates"
                .to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}
