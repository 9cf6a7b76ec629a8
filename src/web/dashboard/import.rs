//! `GET /import`: how orders come in. `POST /import`: a file, straight onto the disk.

pub mod detail;
pub mod export;
mod list;

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{
        Multipart, Query, State,
        multipart::{Field, MultipartRejection},
    },
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use rusqlite::Connection;

use self::list::{Filter, Listed};
use super::{
    App,
    order::Place,
    statistics,
    syncs::{self, Fetching},
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    intake::uploads::{self, State as Stage, UploadError},
    model::{Source, Timestamp},
    web::error::PageError,
};

/// What a form adds around its file, at most.
const AROUND_THE_FILE: u64 = 16 * 1024;
/// A browser shows our answer only when it could send all it had: the rest is read and thrown away
/// for so long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Messages that are looked through for the last of each source.
const LOOKED_THROUGH: i64 = 1000;

#[derive(Template)]
#[template(path = "import.html")]
struct Page {
    chrome: Chrome,
    /// Accepted by the form: nothing is being done.
    free: bool,
    limit: String,
    files: Listed,
    webhooks: Vec<WebhookRow>,
    listen: String,
    /// `None`: there is nothing to ask the shop with.
    fetching: Option<Fetching>,
}

/// One address for webhooks.
struct WebhookRow {
    shop: &'static str,
    /// To paste into the shop.
    address: String,
    tone: &'static str,
    state: String,
}

/// `GET /import`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (filter, after) = (Filter::from_pairs(&pairs)?, Place::from_pairs(&pairs));
    let (reader, now) = (Arc::clone(&app), app.clock.now());
    let page = app
        .readers
        .read(move |connection| {
            let run = statistics::in_force(connection)?;
            Ok(Page {
                chrome: Chrome::new(&reader, connection, "import", run.as_ref(), now)?,
                free: !uploads::any_busy(connection)?,
                limit: words::bytes(reader.uploads.limit()),
                files: Listed::load(&reader, connection, filter, after.as_ref())?,
                webhooks: webhook_rows(&reader, &LastMessages::look(connection)?),
                listen: reader.config.webhooks.listen.to_string(),
                fetching: syncs::fetching(&reader, connection, now)?,
            })
        })
        .await?;
    view::html(&page)
}

/// `GET /import/sample.csv`: the columns of the generic file, with orders of nobody.
pub async fn sample() -> Response {
    const SAMPLE: &str = include_str!("../assets/sample.csv");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"sample.csv\""),
    ];
    (headers, SAMPLE).into_response()
}

/// `POST /import`: takes a file in and shows what it is.
pub async fn upload(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, PageError> {
    let mut form = form.map_err(|_| nothing_chosen())?;
    if told_length(&headers).is_some_and(|length| length > app.uploads.limit() + AROUND_THE_FILE) {
        throw_away(&mut form).await;
        return Err(UploadError::TooLarge(app.config.import.upload_limit_mb).into());
    }
    let received = match form.next_field().await {
        Ok(Some(field)) if field.file_name().is_some_and(|name| !name.is_empty()) => receive(&app, field).await,
        _ => Err(nothing_chosen()),
    };
    match received {
        Ok(id) => Ok(Redirect::to(&format!("/import/{id}")).into_response()),
        // Of a browser that is there.
        Err(error) if !matches!(error, PageError::Incomplete(_)) => {
            throw_away(&mut form).await;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

async fn receive(app: &App, mut field: Field<'_>) -> Result<i64, PageError> {
    let name = field.file_name().unwrap_or_default().to_owned();
    let mut upload = app.uploads.begin(&name)?;
    loop {
        match field.chunk().await {
            Ok(Some(bytes)) => {
                if !upload.push(bytes.to_vec()).await {
                    break;
                }
            }
            Ok(None) => break,
            // It broke off, or stood still for too long.
            Err(_) => return Err(upload.break_off().await.into()),
        }
    }
    Ok(upload.finish().await?)
}

/// Reads what the browser still sends.
async fn throw_away(form: &mut Multipart) {
    let rest = async {
        while let Ok(Some(mut field)) = form.next_field().await {
            while let Ok(Some(_)) = field.chunk().await {}
        }
    };
    let _ = tokio::time::timeout(PATIENCE, rest).await; // a browser that takes longer gets no answer
}

fn told_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn nothing_chosen() -> PageError {
    PageError::Incomplete("No file was chosen, so nothing was done. Go back, choose one and press Upload.".to_owned())
}

impl From<UploadError> for PageError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Busy | UploadError::NotThere => Self::Conflict(error.to_string()),
            UploadError::TooLarge(_) => Self::TooLarge(error.to_string()),
            UploadError::BrokenOff => Self::Incomplete(error.to_string()),
            UploadError::Other(error) => Self::Internal(error),
        }
    }
}

/// Tone and word of a state.
fn stage(state: Stage) -> (&'static str, &'static str) {
    match state {
        Stage::Uploading => ("warn", "Uploading"),
        Stage::Ready => ("warn", "Waits for you"),
        Stage::Refused => ("bad", "Not usable"),
        Stage::Trying => ("warn", "Dry run"),
        Stage::Importing => ("warn", "Importing"),
        Stage::Done => ("ok", "Imported"),
        Stage::Interrupted => ("bad", "Interrupted"),
        Stage::Failed => ("bad", "Failed"),
    }
}

/// What the newest messages say.
struct LastMessages {
    /// When the last webhook of each source came; what came with a token is none.
    at: Vec<(Source, Timestamp)>,
    /// There are older ones, which were not looked through.
    more: bool,
}

impl LastMessages {
    fn look(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT source, max(iif(source = 'api' AND substr(delivery_key, 1, 4) = 'api ', NULL, received_at)), count(*)
             FROM (SELECT source, received_at, delivery_key FROM inbox ORDER BY id DESC LIMIT ?1) GROUP BY source",
        )?;
        let rows: Vec<(Source, Option<Timestamp>, i64)> = statement
            .query_map([LOOKED_THROUGH], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let seen: i64 = rows.iter().map(|(.., count)| count).sum();
        Ok(Self {
            at: rows.into_iter().filter_map(|(source, at, _)| Some((source, at?))).collect(),
            more: seen >= LOOKED_THROUGH,
        })
    }
}

/// Where the shop reaches this program, as far as the configuration says.
fn public_address(app: &App) -> &str {
    app.config.sync.webhook_address.strip_suffix("/webhooks/shopify").unwrap_or("https://your-address")
}

fn webhook_rows(app: &App, last: &LastMessages) -> Vec<WebhookRow> {
    let webhooks = &app.config.webhooks;
    let now = app.clock.now();
    [
        (Source::Shopify, "Shopify", "/webhooks/shopify", "[webhooks.shopify]", webhooks.shopify.secrets.is_empty()),
        (
            Source::WooCommerce,
            "WooCommerce",
            "/webhooks/woocommerce",
            "[webhooks.woocommerce]",
            webhooks.woocommerce.secrets.is_empty(),
        ),
        (Source::Api, "Other shops", "/webhooks/orders", "[webhooks.orders]", webhooks.orders.secrets.is_empty()),
    ]
    .into_iter()
    .map(|(source, shop, path, section, refused)| {
        let at = last.at.iter().find(|(other, _)| *other == source).map(|(_, at)| *at);
        let (tone, state) = match at {
            _ if refused => ("", format!("Refused: there is no secret under {section} in config.toml")),
            Some(at) => ("ok", format!("The last message came {}", Moment::near(app, at, now).text)),
            None if last.more => ("", format!("None among the last {} messages", words::count(LOOKED_THROUGH))),
            None => ("", "No message yet".to_owned()),
        };
        WebhookRow { shop, address: format!("{}{path}", public_address(app)), tone, state }
    })
    .collect()
}
