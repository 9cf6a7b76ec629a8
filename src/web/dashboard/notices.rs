//! What needs the merchant, on top of the Overview. Nothing here means that all is well.

use std::sync::atomic::Ordering;

use super::{App, definitions, nights::Deliveries, statistics::Run, words};
use crate::model::Timestamp;

/// How long after "Score now" the page says so, when no run has shown up yet.
const ASKED_MS: i64 = 30_000;

/// Something the merchant should know of. The tone is a class: ok, warn, bad.
pub struct Notice {
    pub tone: &'static str,
    pub title: String,
    pub text: String,
    /// The command that shows more; empty: none.
    pub command: String,
    pub link: Option<(String, &'static str)>,
}

/// Only what needs the merchant, most urgent first. `run` is the one whose scores are in force,
/// `latest` the one started last.
pub fn notices(
    app: &App,
    run: Option<&Run>,
    latest: Option<&Run>,
    deliveries: Option<&Deliveries>,
    now: Timestamp,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(latest) = latest {
        notices.extend(run_notice(app, run, latest, now));
    }
    let asked = Timestamp::from_millis(app.asked.load(Ordering::Relaxed));
    let shown = latest.is_some_and(|latest| latest.started_at >= asked);
    if !shown && now.millis().saturating_sub(asked.millis()) < ASKED_MS {
        notices.push(Notice {
            tone: "ok",
            title: "Scoring".to_owned(),
            text: "A run was asked for and starts now.".to_owned(),
            command: String::new(),
            link: Some(("/".to_owned(), "Look again")),
        });
    }
    if let Some(deliveries) = deliveries {
        if let Some(dead) = &deliveries.dead {
            notices.push(Notice {
                tone: "bad",
                title: format!("{} gave up", dead.count),
                text: format!("{} List them with", dead.sentence),
                command: "quintile deliveries --state dead".to_owned(),
                link: None,
            });
        }
        if let Some(held) = &deliveries.held {
            notices.push(Notice {
                tone: "warn",
                title: format!("{held} held"),
                text: "Deliveries wait for your decision. Stop quintile, then send or drop them; see".to_owned(),
                command: "quintile deliveries --help".to_owned(),
                link: None,
            });
        }
    }
    if let Some(run) = run
        && run.scored < definitions::SMALL_SHOP
    {
        notices.push(Notice {
            tone: "warn",
            title: words::counted(run.scored, "customer", "customers"),
            text: format!(
                "With fewer than {} customers a quintile is about five people or less, so a single order can move someone to another segment.",
                definitions::SMALL_SHOP
            ),
            command: String::new(),
            link: None,
        });
    }
    notices
}

/// The latest run when it is not simply done.
fn run_notice(app: &App, run: Option<&Run>, latest: &Run, now: Timestamp) -> Option<Notice> {
    let near = |at: Timestamp| words::when(at, now, app.config.shop.timezone);
    let link = Some((format!("/runs/{}", latest.id), "See the run"));
    match latest.state.as_str() {
        "failed" => {
            let age = run.map_or_else(String::new, |run| format!(" The numbers below are from {}.", near(run.as_of)));
            let again = latest.retry_at.map_or_else(
                || " It is not tried again by itself: press Score now.".to_owned(),
                |at| format!(" It is tried again {}.", near(at)),
            );
            let error = latest.error.as_deref().unwrap_or("The reason is in the log.");
            Some(Notice {
                tone: "bad",
                title: "Scoring failed".to_owned(),
                text: format!("{error}{age}{again}"),
                command: String::new(),
                link,
            })
        }
        "scoring" => Some(Notice {
            tone: "ok",
            title: "Scoring".to_owned(),
            text: format!("A run is under way since {}.", near(latest.started_at)),
            command: String::new(),
            link: Some(("/".to_owned(), "Look again")),
        }),
        _ if latest.held => Some(Notice {
            tone: "warn",
            title: "Run held".to_owned(),
            text: format!(
                "It changed {}{}, so nothing was sent yet. Stop quintile, then send it with",
                words::counted(latest.changed, "customer", "customers"),
                if latest.baseline { "" } else { ", more than usual" }
            ),
            command: format!("quintile deliveries release --run {}", latest.id),
            link,
        }),
        _ => None,
    }
}
