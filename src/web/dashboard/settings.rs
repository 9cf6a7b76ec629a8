//! `GET /settings`: what is in force? Read-only: the file is the truth.

use std::{path::Path, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use rusqlite::Connection;

use super::{
    App, statistics,
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    config::{Effective, Origin, advice},
    model::Timestamp,
    web::error::PageError,
};

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    chrome: Chrome,
    config_path: String,
    advice: Vec<advice::Advice>,
    sections: Vec<(String, Vec<Row>)>,
    database: Vec<(&'static str, String)>,
    backups: BackupCard,
    versions: Vec<(&'static str, String)>,
}

/// A value in force.
struct Row {
    key: String,
    /// Empty: not set.
    value: String,
    origin: String,
    is_default: bool,
}

/// What there is to go back to.
struct BackupCard {
    facts: Vec<(&'static str, String)>,
    /// Why the last attempt failed, and when.
    failure: Option<(Moment, String)>,
}

impl BackupCard {
    /// Reads the folder of the backups.
    fn look(app: &App, now: Timestamp) -> Self {
        let backups = &app.backups;
        let near = |at| Moment::near(app, at, now);
        let keep = &app.config.backup;
        let facts = match (backups.newest(now), backups.folder()) {
            (None, None) => vec![("Last verified backup", "None are made: [backup] folder is empty".to_owned())],
            (newest, folder) => {
                let last = match &newest {
                    Some(kept) => near(kept.taken_at).text,
                    None => "None yet; the next night makes one".to_owned(),
                };
                let mut facts = vec![("Last verified backup", last)];
                if let Some(kept) = newest {
                    facts.push(("File", kept.path.display().to_string()));
                    facts.push(("Size", words::bytes(kept.bytes)));
                }
                if folder.is_some() {
                    let kept = format!("{} daily, {} weekly", keep.keep_daily, keep.keep_weekly);
                    facts.push(("Kept", kept));
                }
                let second = backups.copy_to().map_or_else(
                    || "None: a broken disk would take the backups too".to_owned(),
                    |folder| folder.display().to_string(),
                );
                facts.push(("Second folder", second));
                facts
            }
        };
        let failure = backups.failure().map(|failure| (near(failure.at), failure.reason));
        Self { facts, failure }
    }
}

/// `GET /settings`
pub async fn page(State(app): State<Arc<App>>) -> Result<Response, PageError> {
    let reader = Arc::clone(&app);
    let now = app.clock.now();
    let (chrome, file, backups) = app
        .readers
        .read(move |connection| {
            let run = statistics::in_force(connection)?;
            let chrome = Chrome::new(&reader, connection, "settings", run.as_ref(), now)?;
            Ok((chrome, File::look(connection)?, BackupCard::look(&reader, now)))
        })
        .await?;
    let open = app.backups.open_to_others().into_iter();
    let open = open.map(|text| advice::Advice { subject: advice::FILE_PERMISSIONS, text });
    let name = app.config_path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    view::html(&Settings {
        chrome,
        config_path: app.config_path.display().to_string(),
        advice: advice::all(&app.config, &app.config_path).into_iter().chain(open).collect(),
        sections: app
            .config
            .effective()
            .into_iter()
            .map(|section| (section.title, section.values.into_iter().map(|value| row(value, &name)).collect()))
            .collect(),
        database: file.facts(),
        backups,
        versions: vec![
            ("quintile", env!("CARGO_PKG_VERSION").to_owned()),
            ("SQLite", rusqlite::version().to_owned()),
            ("Schema of the database", file.schema.to_string()),
        ],
    })
}

fn row(value: Effective, file: &str) -> Row {
    let is_default = value.origin == Origin::Default;
    let origin = match value.origin {
        Origin::Default => "default".to_owned(),
        Origin::Command => "this command".to_owned(),
        Origin::Line(line) => format!("{file}, line {line}"),
        Origin::Variable(name) | Origin::HeldByVariable(name) => format!("variable {name}"),
        Origin::HeldByFile(path) => format!("file {path}"),
    };
    Row { key: value.key, value: value.value, origin, is_default }
}

/// The database as a file.
struct File {
    path: String,
    schema: i64,
    page_size: u64,
    pages: u64,
    free: u64,
}

impl File {
    fn look(connection: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        Ok(Self {
            path: connection.path().unwrap_or_default().to_owned(),
            schema: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            page_size: pragma("page_size")?,
            pages: pragma("page_count")?,
            free: pragma("freelist_count")?,
        })
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let log = std::fs::metadata(Path::new(&format!("{}-wal", self.path))).map_or(0, |meta| meta.len());
        vec![
            ("File", self.path.clone()),
            ("Size", words::bytes(self.pages * self.page_size)),
            ("of which free, to be used again", words::bytes(self.free * self.page_size)),
            ("Write-ahead log beside it", words::bytes(log)),
        ]
    }
}
