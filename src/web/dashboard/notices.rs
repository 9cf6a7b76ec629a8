//! What needs the merchant, on top of the Overview. Nothing here means that all is well.

use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::{App, definitions, deliveries::visible, nights::Deliveries, statistics::Run, words};
use crate::{backups::Step, config::Baseline, model::Timestamp, outbox::DestinationState, scoring::clock_suspect};

/// How long after "Score now" the page says so, when no run has shown up yet.
const ASKED_MS: i64 = 30_000;

/// Something the merchant should know of. The tone is a class: ok, warn, bad.
pub struct Notice {
    pub tone: &'static str,
    pub title: String,
    pub text: String,
    /// Commands that show more or decide; one of them is enough.
    pub commands: Vec<String>,
    pub link: Option<(String, &'static str)>,
}

/// Only what needs the merchant, most urgent first. `run` is the one whose scores are in force,
/// `latest` the one started last, `held` those whose deliveries wait.
pub fn notices(
    app: &App,
    run: Option<&Run>,
    latest: Option<&Run>,
    held: &[Run],
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
            commands: Vec::new(),
            link: Some(("/".to_owned(), "Look again")),
        });
    }
    if let Some(deliveries) = deliveries {
        notices.extend(deliveries.destinations.iter().filter_map(|destination| {
            let (word, todo) = match destination.standing {
                DestinationState::Failing => {
                    ("is failing", "It is tried now and then by itself; what is meant for it waits.")
                }
                DestinationState::Disabled => ("is disabled", "Nothing is sent to it until you resume it."),
                DestinationState::Active | DestinationState::Paused => return None,
            };
            Some(Notice {
                tone: "bad",
                title: format!("{} {word}", destination.name),
                text: format!("{} {todo}", words::capital(&words::sentence(&visible::line(&destination.reason)))),
                commands: Vec::new(),
                link: Some(("/destinations?ailing=1".to_owned(), "See what it answers")),
            })
        }));
        if let Some(dead) = &deliveries.dead {
            notices.push(Notice {
                tone: "bad",
                title: format!("{} gave up", dead.count),
                text: words::sentence(&dead.sentence),
                commands: Vec::new(),
                link: Some(("/deliveries?state=dead".to_owned(), "See them and send them again")),
            });
        }
        if deliveries.restored {
            notices.push(Notice {
                tone: "warn",
                title: "Restored from a backup".to_owned(),
                text: "What waited to be sent in it may have gone out since it was made, so it is held. Later changes of these customers wait behind it.".to_owned(),
                commands: Vec::new(),
                link: Some(("/deliveries?state=held&hold=restored".to_owned(), "Send or give them up")),
            });
        }
        if let Some(count) = deliveries.held.as_ref().filter(|_| !app.config.destination.is_empty()) {
            notices.extend(held.iter().map(|run| held_run(app, run)));
            // What a disabled destination alone holds is said with it.
            let mut holders = deliveries.destinations.iter().filter(|destination| destination.holds).peekable();
            let is_said = holders.peek().is_some() && holders.all(|it| it.standing == DestinationState::Disabled);
            if held.is_empty() && !deliveries.restored && !is_said {
                notices.push(Notice {
                    tone: "warn",
                    title: format!("{count} held"),
                    text: "Deliveries wait for your decision.".to_owned(),
                    commands: Vec::new(),
                    link: Some(("/deliveries?state=held".to_owned(), "Send or give them up")),
                });
            }
        }
    }
    if let Some(failure) = app.backups.failure() {
        let reason = words::capital(&words::sentence(&failure.reason));
        notices.push(Notice {
            tone: "bad",
            title: match failure.step {
                Step::Make => "Backup failed",
                Step::Finish => "Backup not finished",
            }
            .to_owned(),
            text: format!("{reason} It is tried again every hour."),
            commands: Vec::new(),
            link: Some(("/settings".to_owned(), "See the backups")),
        });
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
            commands: Vec::new(),
            link: None,
        });
    }
    notices
}

/// The clock when it is not believed.
pub fn clock(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Notice>> {
    let suspect = clock_suspect(connection, now)?;
    Ok(suspect.map(|suspect| Notice {
        tone: "bad",
        title: "The clock is not believed".to_owned(),
        text: words::sentence(&suspect.to_string()),
        commands: Vec::new(),
        link: None,
    }))
}

/// The latest run when it is not simply done.
fn run_notice(app: &App, run: Option<&Run>, latest: &Run, now: Timestamp) -> Option<Notice> {
    let near = |at: Timestamp| words::when(at, now, app.config.shop.timezone);
    let link = Some((format!("/runs/{}", latest.id), "See the run"));
    match latest.state.as_str() {
        "failed" => {
            let age =
                run.map_or_else(String::new, |run| format!(" The numbers below were scored {}.", near(run.as_of)));
            let again = again(app, latest, now);
            let error =
                words::capital(&words::sentence(latest.error.as_deref().unwrap_or("The reason is in the log.")));
            Some(Notice {
                tone: "bad",
                title: "Scoring failed".to_owned(),
                text: format!("{error}{age} {again}"),
                commands: Vec::new(),
                link,
            })
        }
        "scoring" => Some(Notice {
            tone: "ok",
            title: "Scoring".to_owned(),
            text: format!("A run is under way since {}.", near(latest.started_at)),
            commands: Vec::new(),
            link: Some(("/".to_owned(), "Look again")),
        }),
        _ => None,
    }
}

/// What becomes of a run that failed; empty of others.
pub fn again(app: &App, run: &Run, now: Timestamp) -> String {
    match run.retry_at {
        _ if run.state != "failed" => String::new(),
        Some(at) => format!("It is tried again {}.", words::when(at, now, app.config.shop.timezone)),
        None => "It is not tried again by itself: press Score now.".to_owned(),
    }
}

/// A run whose deliveries wait for the merchant.
fn held_run(app: &App, run: &Run) -> Notice {
    let events = words::counted(run.changed, "event", "events");
    let asked = matches!(app.config.forwarder.baseline, Baseline::Quiet | Baseline::Hold);
    let (title, text) = if asked && (run.baseline || run.remap) {
        let (title, what) = if run.baseline {
            ("First run held", "The first run named a segment for everybody.")
        } else {
            ("New segment rules held", "A run under new segment rules put customers into other segments.")
        };
        let text = format!(
            "{what} Its {events} wait for your decision; each is replaced by itself when that customer changes."
        );
        (title, text)
    } else {
        let text = format!(
            "It has {events}: customers who moved, are new or left. That is more than the {}\u{a0}% that are sent \
             without asking, so nothing of it was sent yet. Later events of these customers wait behind it.",
            app.config.scoring.hold_above_percent
        );
        ("Run held", text)
    };
    Notice {
        tone: "warn",
        title: title.to_owned(),
        text,
        commands: Vec::new(),
        link: Some((format!("/deliveries?state=held&run={}", run.id), "Send or give them up")),
    }
}
