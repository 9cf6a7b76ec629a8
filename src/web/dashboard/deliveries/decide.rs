//! What the merchant does with deliveries: with all that match a filter, asked once with their number,
//! or with one from its own page. Each form is answered by the page that says what was done.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use askama::Template;
use axum::{
    extract::{Form, Path, Query, State},
    response::{IntoResponse, Response},
};

use super::{
    bounded,
    filter::{Filter, Tab},
    queue::{self, Delivery},
};
use crate::{
    bug::NoResult,
    model::Timestamp,
    outbox::{self, Action},
    scoring::decide,
    web::{
        dashboard::{
            App,
            said::Notice,
            statistics, timeline,
            view::{self, Chrome},
            words,
        },
        error::PageError,
    },
};

/// How long a page waits for many deliveries; then it says that the work goes on.
const PATIENCE: Duration = Duration::from_secs(5);

type Pairs = Vec<(String, String)>;

#[derive(Template)]
#[template(path = "deliveries_decide.html")]
struct Ask {
    chrome: Chrome,
    /// "Try 12 deliveries now?"
    question: String,
    consequence: &'static str,
    conditions: Vec<(&'static str, String)>,
    /// Hidden fields of the form.
    fields: Vec<(&'static str, String)>,
    button: String,
    none: bool,
    back: String,
}

/// What was done with so many, as the next page tells it; `None`: the work goes on.
fn outcome(action: Action, number: Option<usize>) -> Notice {
    let (tone, text) = match number {
        None => (
            "ok",
            "There are many, so the work goes on by itself. Load the page again to see how far it is.".to_owned(),
        ),
        Some(0) => (
            "warn",
            "Nothing was done: it stands elsewhere by now, or waits for its customer to agree to e-mail.".to_owned(),
        ),
        Some(count) => {
            let counted = words::counted(i64::try_from(count).unwrap_or(i64::MAX), "delivery", "deliveries");
            ("ok", format!("{counted} {}", became(action, count == 1)))
        }
    };
    Notice { tone, text }
}

/// As it stands in addresses and forms.
pub const fn name(action: Action) -> &'static str {
    match action {
        Action::Release => "release",
        Action::Discard => "discard",
        Action::Retry => "retry",
        Action::Replay => "replay",
    }
}

fn action(text: &str) -> Option<Action> {
    [Action::Release, Action::Discard, Action::Retry, Action::Replay].into_iter().find(|it| name(*it) == text)
}

/// What a link says that leads to the question.
pub const fn label(action: Action, tab: Tab) -> &'static str {
    match (action, tab) {
        (Action::Release, _) => "Send all of these",
        (Action::Discard, _) => "Give up all of these",
        (Action::Retry, Tab::GaveUp) | (Action::Replay, _) => "Send all of these again",
        (Action::Retry, _) => "Try all of these now",
    }
}

const fn became(action: Action, one: bool) -> &'static str {
    match (action, one) {
        (Action::Release, true) => "is sent when it is its turn.",
        (Action::Release, false) => "are sent when it is their turn.",
        (Action::Discard, _) => "will not be sent.",
        (Action::Retry, true) => "is tried now, or once its destination is sent to again.",
        (Action::Retry, false) => "are tried now, or once their destination is sent to again.",
        (Action::Replay, true) => "is sent again, as a new message.",
        (Action::Replay, false) => "are sent again, as new messages.",
    }
}

const fn consequence(action: Action, tab: Tab) -> &'static str {
    match (action, tab) {
        (Action::Release, _) => {
            "Each goes out after the older ones of its customer. What waits for a customer's consent stays held."
        }
        (Action::Discard, _) => {
            "They are never sent by themselves, and what waits behind them goes out next. They stay listed under Not sent, where each can still be sent."
        }
        (Action::Retry, Tab::GaveUp) | (Action::Replay, _) => {
            "Each goes out as a new message with the same events, and the one that gave up is marked as replaced."
        }
        (Action::Retry, _) => {
            "They are tried at once instead of at their own time. A failing destination is tried too."
        }
    }
}

/// `GET /deliveries/decide`: how many there are, and the one button that does it.
pub async fn ask(State(app): State<Arc<App>>, Query(pairs): Query<Pairs>) -> Result<Response, PageError> {
    let (action, tab, filter) = meant(&pairs)?;
    let now = app.clock.now();
    let reader = Arc::clone(&app);
    let (chrome, count, filter) = app
        .readers
        .read(move |connection| {
            let count = outbox::count_up_to(connection, action, &filter.meant(action), queue::COUNTED)?;
            let run = statistics::in_force(connection)?;
            Ok((Chrome::new(&reader, connection, "deliveries", run.as_ref(), now)?, count, filter))
        })
        .await?;
    let number = match count {
        (1, true) => "1 delivery".to_owned(),
        (0, false) => "all deliveries that match".to_owned(),
        (count, false) if count < queue::COUNTED => format!("{} or more deliveries", words::count(count)),
        (count, _) => format!("{} deliveries", bounded(count)),
    };
    let (question, button) = match (action, tab) {
        (Action::Release, _) => (format!("Send {number} after all?"), format!("Send {number}")),
        (Action::Discard, _) => (format!("Give up {number}?"), format!("Give up {number}")),
        (Action::Retry, Tab::GaveUp) | (Action::Replay, _) => {
            (format!("Send {number} again?"), format!("Send {number} again"))
        }
        (Action::Retry, _) => (format!("Try {number} now?"), format!("Try {number} now")),
    };
    let mut fields = filter.pairs();
    fields.push(("action", name(action).to_owned()));
    // What came into this state after this page was made was not asked about.
    fields.push(("asked", now.plus_millis(1).millis().to_string()));
    view::html(&Ask {
        chrome,
        question,
        consequence: consequence(action, tab),
        conditions: conditions(&app, &filter, tab),
        fields,
        button,
        none: count == (0, true),
        back: filter.href("/deliveries", &[]),
    })
}

fn conditions(app: &App, filter: &Filter, tab: Tab) -> Vec<(&'static str, String)> {
    let mut conditions = vec![("State", tab.label().to_owned())];
    if let Some(hold) = filter.hold {
        conditions.push(("Why", timeline::state_words("held", Some(hold.as_str())).1.to_owned()));
    }
    conditions.extend(filter.destination.clone().map(|name| ("Destination", name)));
    conditions.extend(filter.run.map(|run| ("Run", run.to_string())));
    conditions.extend(filter.segment.as_deref().map(|name| ("Moved to", app.names.label(name))));
    conditions.extend(filter.customer.map(|customer| ("Customer", customer.to_string())));
    conditions
}

/// `POST /deliveries/decide`
pub async fn act(State(app): State<Arc<App>>, Form(pairs): Form<Pairs>) -> Result<Response, PageError> {
    let (action, _, filter) = meant(&pairs)?;
    let asked = view::parameter(&pairs, "asked").map(|text| text.parse().map_err(|_| unclear())).transpose()?;
    let meant = outbox::Filter { untouched_since: asked.map(Timestamp::from_millis), ..filter.meant(action) };
    let number = carry_out(&app, action, meant).await?;
    Ok(app.said.lead(&filter.href("/deliveries", &[]), outcome(action, number)).into_response())
}

/// What a question or a form is about. Refuses what the page does not offer: an unclear word must not
/// mean everything.
fn meant(pairs: &Pairs) -> Result<(Action, Tab, Filter), PageError> {
    let filter = Filter::from_pairs(pairs).map_err(|_| unclear())?;
    let action = view::parameter(pairs, "action").and_then(action);
    match (action, filter.tab) {
        (Some(action), Some(tab)) if tab.actions().contains(&action) => Ok((action, tab, filter)),
        _ => Err(unclear()),
    }
}

fn unclear() -> PageError {
    PageError::Incomplete(
        "It is not clear what should be done with which deliveries, so nothing was done. Go to Deliveries and press one of the buttons there.".to_owned(),
    )
}

/// `POST /deliveries/{id}`: one of them.
pub async fn act_on_one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Form(pairs): Form<Pairs>,
) -> Result<Response, PageError> {
    let action = view::parameter(&pairs, "action").and_then(action).ok_or_else(unclear)?;
    let wanted: Option<i64> = id.parse().ok();
    let found = app
        .readers
        .read(move |connection| Ok(wanted.map(|id| Delivery::by_id(connection, id)).transpose()?.flatten()))
        .await?;
    let delivery = found.ok_or_else(super::detail::not_found)?;
    let state = Some(delivery.state).filter(|state| action.states().contains(state));
    // What its page knew of: pressed twice, the button finds another.
    let seen = view::parameter(&pairs, "seen").and_then(|id| id.parse().ok()).unwrap_or(0);
    let number = match state {
        // Its page is older than what became of it.
        None => Some(0),
        state => {
            let (delivery_id, newest_replay) = (Some(delivery.id), Some(seen));
            let filter = outbox::Filter { delivery_id, state, newest_replay, ..outbox::Filter::default() };
            carry_out(&app, action, filter).await?
        }
    };
    let id = delivery.id;
    let again = app.readers.read(move |connection| Ok(outbox::newest_replay(connection, id)?)).await?;
    let again = again.filter(|_| matches!(action, Action::Retry | Action::Replay));
    let notice = match again.filter(|again| number == Some(0) && *again != seen) {
        Some(_) => Notice { tone: "warn", text: "Nothing more was done: it was sent again already.".to_owned() },
        None => outcome(action, number),
    };
    // Sent again it is a new one, which is the one to look at.
    let shown = again.filter(|again| *again != seen && delivery.events == 1).unwrap_or(delivery.id);
    Ok(app.said.lead(&format!("/deliveries/{shown}"), notice).into_response())
}

/// Acts on all that are meant, also when the browser goes away. `None`: it is still at it.
async fn carry_out(app: &Arc<App>, action: Action, filter: outbox::Filter) -> Result<Option<usize>, PageError> {
    let (worker, now) = (Arc::clone(app), app.clock.now());
    let work = tokio::spawn(async move {
        let done = decide(&worker.writer, action, &filter, now).await;
        // Also of what was done before it failed.
        worker.wake.notify_one();
        if let Err(error) = &done {
            tracing::error!(
                error = format!("{error:#}"),
                action = name(action),
                "a decision about deliveries stopped before its end"
            );
        }
        done
    });
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(Some(done.map_err(NoResult::from).context("a decision about deliveries crashed")??)),
        Err(_) => Ok(None),
    }
}
