//! Requests to the shop and downloads from its storage, within limits. Redirects are not followed,
//! and a token goes to the shop alone.

use std::{
    io,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;
use reqwest::{
    Url,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER},
};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::throttle;
use crate::{
    db,
    delivery::{
        client::{self, classify},
        guard::Guard,
        retry::Failure,
    },
    model::Timestamp,
};

const CONNECT: Duration = Duration::from_secs(5);
/// All of a request to the shop: its slowest queries take ten seconds.
const WHOLE: Duration = Duration::from_secs(60);
/// All of a download: the history of a large shop over a slow line.
const DOWNLOAD: Duration = Duration::from_secs(2 * 60 * 60);
/// Without a byte for so long, a download has failed.
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer; a page of 250 orders has half a MiB.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// Bytes of a downloaded file: about ten million orders.
const LARGEST_FILE: u64 = 16 * 1024 * 1024 * 1024;

/// An answer of the shop. May hold a token.
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// The shop's clock.
    pub date: Option<Timestamp>,
    /// Where a redirect points to.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// The address has expired or is refused; the shop gives another one.
    #[error("the address of the file has expired ({0})")]
    Expired(u16),
    #[error("the file could not be fetched: {0}")]
    Cut(String),
    /// Nothing that another try would mend.
    #[error(transparent)]
    Here(anyhow::Error),
}

pub struct Http {
    client: reqwest::Client,
    guard: Guard,
    /// Plain http is taken: the shop stands on this computer, to try it out.
    plain: bool,
}

impl Http {
    /// # Errors
    /// The TLS library cannot start.
    pub fn new(guard: Guard, plain: bool) -> anyhow::Result<Self> {
        let client = client::builder(&guard, &[])?
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .user_agent(concat!("quintile/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("cannot start the HTTP client")?;
        Ok(Self { client, guard, plain })
    }

    /// Posts `body`.
    ///
    /// # Errors
    /// There was no whole answer; says why without naming more than the host.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Reply, String> {
        self.guard.check_literal(url).map_err(|blocked| Failure::Blocked(blocked.host).to_string())?;
        let content_type = HeaderValue::from_static(content_type);
        let request = self.client.post(url.clone()).headers(headers).header(CONTENT_TYPE, content_type);
        let mut response = request.timeout(WHOLE).body(body).send().await.map_err(|error| in_words(&error))?;
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut reply = Reply {
            status: response.status().as_u16(),
            retry_after: header(RETRY_AFTER).and_then(throttle::retry_after),
            date: header(DATE).and_then(date),
            location: header(LOCATION).map(str::to_owned),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| in_words(&error))? {
            if reply.body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(format!("the answer is larger than {LARGEST_ANSWER} bytes"));
            }
            reply.body.extend_from_slice(&chunk);
        }
        Ok(reply)
    }

    /// Fetches `url` into a file that only its owner can read, in place of what is there; returns its
    /// size once it is on the disk.
    ///
    /// # Errors
    /// [`NotFetched`]; what was written is of no use.
    pub async fn download(&self, url: &str, path: &Path) -> Result<u64, NotFetched> {
        let url = self.file_address(url)?;
        let cut = |error: &reqwest::Error| NotFetched::Cut(in_words(error));
        let mut response = self.client.get(url).timeout(DOWNLOAD).send().await.map_err(|error| cut(&error))?;
        match response.status().as_u16() {
            200 => {}
            status @ (400 | 401 | 403 | 404 | 410) => return Err(NotFetched::Expired(status)),
            status => return Err(NotFetched::Cut(format!("the storage answered {status}"))),
        }
        let here = |error: io::Error| {
            let told = format!("cannot write {}; is the disk full?", path.display());
            NotFetched::Here(anyhow::Error::new(error).context(told))
        };
        let mut create = db::private_file();
        create.create(true).truncate(true);
        let mut file = BufWriter::new(tokio::fs::OpenOptions::from(create).open(path).await.map_err(here)?);
        let mut size = 0;
        while let Some(chunk) = response.chunk().await.map_err(|error| cut(&error))? {
            size += chunk.len() as u64;
            if size > LARGEST_FILE {
                return Err(NotFetched::Here(anyhow::anyhow!("the file is larger than {LARGEST_FILE} bytes")));
            }
            file.write_all(&chunk).await.map_err(here)?;
        }
        file.flush().await.map_err(here)?;
        // "It is here" is about to be written into the database, which survives a power cut.
        file.get_ref().sync_all().await.map_err(here)?;
        Ok(size)
    }

    /// The address comes from the shop, so it is not trusted with more than it needs.
    fn file_address(&self, url: &str) -> Result<Url, NotFetched> {
        let refuse = |why: &str| NotFetched::Here(anyhow::anyhow!("the shop named an address for its file that {why}"));
        let url = Url::parse(url).map_err(|_| refuse("is none"))?;
        if url.scheme() != "https" && !(self.plain && url.scheme() == "http") {
            return Err(refuse("is not encrypted"));
        }
        self.guard.check_literal(&url).map_err(|_| refuse("is not a public one"))?;
        Ok(url)
    }
}

/// `Date`, in whole seconds.
fn date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    since.as_millis().try_into().ok().map(Timestamp::from_millis)
}

/// The limits here are not those that [`Failure`] names.
fn in_words(error: &reqwest::Error) -> String {
    match classify(error) {
        Failure::Timeout => "it took too long".to_owned(),
        other => other.to_string(),
    }
}
