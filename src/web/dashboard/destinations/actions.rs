//! `POST /destinations/{name}/{action}`: test, pause, resume and a fresh secret. The page says what came
//! of it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    extract::{Form, Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Outcome, fares::Filter, health, place};
use crate::{
    bug::NoResult,
    config::{Config, Loading, Missing, Rotation, RotationError, Secret, rotate},
    delivery::trial::{Person, Trial, trial},
    model::Timestamp,
    outbox::{self, DestinationState, Resume},
    web::{
        dashboard::{
            App,
            view::{self, Moment},
        },
        error::PageError,
    },
};

/// How long a page waits for a long queue to be prepared; then the work goes on.
const PATIENCE: Duration = Duration::from_secs(5);

type Pairs = Vec<(String, String)>;

/// What a destination's forms are sent to.
pub fn path(name: &str) -> String {
    format!("/destinations/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// `POST /destinations/{name}/{action}`. The page comes back in the order that the address names; all of
/// it, since the card that was pressed may not pass a filter any more.
pub async fn act(
    State(app): State<Arc<App>>,
    Path((name, action)): Path<(String, String)>,
    Query(there): Query<Pairs>,
    Form(pairs): Form<Pairs>,
) -> Result<Response, PageError> {
    let index = place(&app, &name)?;
    let (tone, text, trial) = match action.as_str() {
        "test" => test(&app, &name, &pairs).await?,
        "pause" => pause(&app, index).await?,
        "resume" => resume(&app, index, &pairs).await?,
        "rotate" => renew(&app, &name).await?,
        _ => return Err(view::not_found(State(app)).await),
    };
    app.outcomes.set(&name, Outcome { at: app.clock.now(), tone, text, trial });
    let there = Filter { ailing: false, ..Filter::from_pairs(&there) }.href("/destinations");
    Ok(Redirect::to(&format!("{there}#d{}", index + 1)).into_response())
}

type Said = (&'static str, String, Option<Trial>);

fn said(tone: &'static str, text: impl Into<String>) -> Said {
    (tone, text.into(), None)
}

async fn test(app: &App, name: &str, pairs: &Pairs) -> Result<Said, PageError> {
    let email = view::parameter(pairs, "email").map(str::trim).filter(|email| !email.is_empty());
    let now = app.clock.now();
    let person = match email.map(str::to_owned) {
        Some(email) => Some(app.readers.read(move |connection| Ok(Person::called(connection, email, now)?)).await?),
        None => None,
    };
    Ok(match trial(&app.config, name, person, now).await {
        Ok(trial) => (if trial.ok { "ok" } else { "bad" }, trial.diagnosis.clone(), Some(trial)),
        Err(error) => said("bad", format!("It cannot be tried: {error:#}")),
    })
}

async fn pause(app: &App, index: usize) -> Result<Said, PageError> {
    let (name, now) = (app.config.destination[index].name.clone(), app.clock.now());
    if matches!(health(app, index).await?.state, DestinationState::Paused | DestinationState::Disabled) {
        return Ok(said("warn", "Nothing was done: it is not sent to anyway."));
    }
    app.writer.write(move |tx| Ok(outbox::pause(tx, &name, now)?)).await?;
    app.wake.notify_one();
    Ok(said("ok", "Paused. What is on its way still arrives; nothing more is sent until you resume it."))
}

async fn resume(app: &Arc<App>, index: usize, pairs: &Pairs) -> Result<Said, PageError> {
    let (send, then) = match view::parameter(pairs, "send") {
        Some("all") => (Resume::All, "everything in its queue goes out, in order"),
        Some("latest") => (Resume::Latest, "of its queue each customer's newest news goes out"),
        Some("none") => (Resume::None, "nothing of its queue goes out, only what comes from now on"),
        _ => {
            return Err(PageError::Incomplete(
                "It is not clear what of the queue should be sent, so nothing was done. Go to Destinations and press one of the buttons there.".to_owned(),
            ));
        }
    };
    if health(app, index).await?.state == DestinationState::Active {
        return Ok(said("warn", "Nothing was done: it is sent to already."));
    }
    let (worker, name, now) = (Arc::clone(app), app.config.destination[index].name.clone(), app.clock.now());
    // Also when the browser goes away.
    let work = tokio::spawn(async move {
        let done = outbox::resume(&worker.writer, &name, send, now).await;
        worker.wake.notify_one();
        if let Err(error) = &done {
            tracing::error!(error = format!("{error:#}"), destination = name, "a destination could not be resumed");
        }
        done
    });
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => {
            done.map_err(NoResult::from).context("resuming crashed")??;
            Ok(said("ok", format!("Resumed: {then}.")))
        }
        Err(_) => Ok(said(
            "ok",
            "Its queue is long: it is sent to again when all of it was looked through. Load the page again to see.",
        )),
    }
}

/// Reads the configuration again: somebody may have changed it since the start.
async fn renew(app: &Arc<App>, name: &str) -> Result<Said, PageError> {
    let (worker, wanted) = (Arc::clone(app), name.to_owned());
    let done = tokio::task::spawn_blocking(move || {
        let loading = Loading { environment: &worker.environment, secrets: Missing::Allow, also: |_| Vec::new() };
        let config = Config::load_with(&worker.config_path, loading).context("the configuration cannot be read")?;
        let destination = config.destination.iter().find(|destination| destination.name == wanted);
        let destination = destination.context("the configuration has no destination of this name any more")?;
        let now = worker.clock.now();
        Ok(rotate(destination, &worker.environment, &worker.config_path, false, now)?)
    });
    let done: anyhow::Result<Rotation> = done.await.map_err(NoResult::from).context("rotating crashed")?;
    Ok(match done {
        Ok(rotation) => rotated(app, name, &rotation),
        Err(error) => match error.downcast_ref::<RotationError>() {
            Some(RotationError::WouldDrop { until }) => said("warn", full(app, name, *until)),
            Some(RotationError::SignsNothing { .. } | RotationError::Unreadable(_)) => {
                said("bad", format!("Nothing was changed: {error}."))
            }
            _ => said(
                "bad",
                format!(
                    "Nothing was changed: {error:#}. Run `quintile destinations rotate-secret {name}` as a user who may write the configuration."
                ),
            ),
        },
    })
}

/// Each press replaces the newest key: often enough before a restart, and the one in use would be gone.
fn full(app: &App, name: &str, until: Option<Timestamp>) -> String {
    let until = until.map(|until| format!(" until {}", when(app, until))).unwrap_or_default();
    let wait = if until.is_empty() { "" } else { ", or wait until then" };
    format!(
        "Nothing was changed: there may be three keys at a time, and the oldest of the three still signs{until}. quintile until its next restart, or your tool, may need it. Restart quintile and enter the newest key in your tool{wait}. `quintile destinations rotate-secret {name}` makes another one at once and drops the oldest."
    )
}

fn when(app: &App, at: Timestamp) -> String {
    Moment::near(app, at, app.clock.now()).text.trim_start_matches("on ").to_owned()
}

/// The secret itself is on no page: who may read the file may see it.
fn rotated(app: &App, name: &str, rotation: &Rotation) -> Said {
    let hint = Secret::new(rotation.secret.as_str()).hint().unwrap_or_default();
    match (&rotation.written, &rotation.variable) {
        (Some(path), _) => {
            let path = path.display();
            let until =
                rotation.old_signs_until.map(|until| format!(" before {}", when(app, until))).unwrap_or_default();
            said(
                "ok",
                format!(
                    "The new secret {hint} stands first in {path}. Copy it from there into your tool{until}, and restart quintile so that it signs with it; until then the old one signs."
                ),
            )
        }
        (None, variable) => {
            let variable = variable.as_deref().unwrap_or_default();
            said(
                "warn",
                format!(
                    "Nothing was changed: the secret stands in the environment variable {variable}, which cannot be set from here. `quintile destinations rotate-secret {name}` prints the new value; set it where your service gets it, and restart quintile."
                ),
            )
        }
    }
}
