//! `GET /settings`: what is in force? Read-only: the file is the truth.

use std::{path::Path, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use rusqlite::Connection;

use super::{
    App,
    view::{self, Chrome},
    words,
};
use crate::{
    config::{Effective, Origin, advice},
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

/// `GET /settings`
pub async fn page(State(app): State<Arc<App>>) -> Result<Response, PageError> {
    let file = app.readers.read(|connection| Ok(File::look(connection)?)).await?;
    let name = app.config_path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    view::html(&Settings {
        chrome: Chrome::plain(&app, "settings"),
        config_path: app.config_path.display().to_string(),
        advice: advice::all(&app.config, &app.config_path),
        sections: app
            .config
            .effective()
            .into_iter()
            .map(|section| (section.title, section.values.into_iter().map(|value| row(value, &name)).collect()))
            .collect(),
        database: file.facts(),
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
