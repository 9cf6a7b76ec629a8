//! What happened to one customer: orders, changes of scores and segment, and what was told of them.

use rusqlite::{Connection, OptionalExtension};

use super::{
    App,
    place::{Kind, Place},
    statistics::sql_limit,
    view::Moment,
    words,
};
use crate::{
    model::{Money, OrderStatus, Timestamp},
    outbox::{EventRange, event_in, evt_id, first_in},
};

/// Entries on a page.
const PAGE: usize = 50;

/// Newest first; older entries lie before `next`.
pub struct Timeline {
    pub entries: Vec<Entry>,
    pub next: Option<Place>,
}

pub struct Entry {
    place: Place,
    pub at: Moment,
    /// Class of the mark: order, muted, score, segment.
    pub kind: &'static str,
    pub title: String,
    pub details: Vec<String>,
    pub deliveries: Vec<Delivery>,
}

/// One message about an event.
pub struct Delivery {
    pub href: String,
    pub destination: String,
    pub tone: &'static str,
    pub state: &'static str,
    pub note: String,
}

/// The newest entries before `before`.
pub fn load(
    app: &App,
    connection: &Connection,
    customer: i64,
    before: Place,
    now: Timestamp,
) -> rusqlite::Result<Timeline> {
    let mut entries = orders(app, connection, customer, before)?;
    entries.extend(changes(app, connection, customer, before)?);
    entries.extend(events(app, connection, customer, before)?);
    entries.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.place));
    let next = entries.get(PAGE).map(|_| entries[PAGE - 1].0.place);
    entries.truncate(PAGE);
    let entries = entries
        .into_iter()
        .map(|(mut entry, event)| {
            let seq = match event {
                Some(Event::Within(range)) => event_in(connection, customer, range)?,
                Some(Event::At(seq)) => Some(seq),
                None => None,
            };
            if let Some(seq) = seq {
                tell(app, connection, &mut entry, seq, now)?;
            }
            Ok(entry)
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(Timeline { entries, next })
}

/// The event that told of an entry.
#[derive(Clone, Copy)]
enum Event {
    /// That of the customer among those of a run.
    Within(EventRange),
    /// At this place in the outbox.
    At(i64),
}

fn orders(
    app: &App,
    connection: &Connection,
    customer: i64,
    before: Place,
) -> rusqlite::Result<Vec<(Entry, Option<Event>)>> {
    let (instant, id) = before.bound(Kind::Order);
    connection
        .prepare_cached(
            "SELECT ordered_at, coalesce(name, source_id), status, is_test, gross, refunded, net, counted, deleted_at, cancelled_at, id
             FROM orders WHERE customer_id = ?1 AND (ordered_at, id) < (?2, ?3) ORDER BY ordered_at DESC, id DESC LIMIT ?4",
        )?
        .query_map((customer, instant, id, sql_limit(PAGE + 1)), |row| {
            let order = OrderRow {
                id: row.get(10)?,
                at: row.get(0)?,
                name: row.get(1)?,
                status: row.get(2)?,
                is_test: row.get(3)?,
                gross: row.get(4)?,
                refunded: row.get(5)?,
                net: row.get(6)?,
                counted: row.get(7)?,
                deleted_at: row.get(8)?,
                cancelled_at: row.get(9)?,
            };
            Ok((order.entry(app), None))
        })?
        .collect()
}

struct OrderRow {
    id: i64,
    at: Timestamp,
    name: String,
    status: OrderStatus,
    is_test: bool,
    gross: Money,
    refunded: Money,
    net: Money,
    counted: bool,
    deleted_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
}

impl OrderRow {
    fn entry(self, app: &App) -> Entry {
        let money = |amount| words::money(amount, app.config.shop.currency);
        let mut details = vec![money(self.net)];
        if self.gross != self.net {
            details.push(format!("placed at {}", money(self.gross)));
        }
        if self.refunded > Money::ZERO {
            details.push(format!("{} refunded", money(self.refunded)));
        }
        if !self.counted {
            details.push(format!("does not count: {}", self.reason()));
        }
        Entry {
            place: Place { instant: self.at, kind: Kind::Order, id: self.id },
            at: Moment::new(app, self.at),
            kind: if self.counted { "order" } else { "muted" },
            title: format!("Order {}", self.name),
            details,
            deliveries: Vec::new(),
        }
    }

    fn reason(&self) -> &'static str {
        match self.status {
            _ if self.deleted_at.is_some() => "deleted in the shop",
            _ if self.is_test => "a test order",
            _ if self.cancelled_at.is_some() => "cancelled",
            OrderStatus::Cancelled => "cancelled",
            OrderStatus::Pending | OrderStatus::Authorized => "not paid yet",
            OrderStatus::Refunded => "refunded",
            OrderStatus::Voided => "voided",
            OrderStatus::Expired => "expired",
            OrderStatus::Unknown => "its payment state is not known",
            OrderStatus::Paid | OrderStatus::PartiallyPaid | OrderStatus::PartiallyRefunded => "worth nothing",
        }
    }
}

/// A row of `history`.
struct Change {
    run: i64,
    as_of: Timestamp,
    scores: Option<[u8; 3]>,
    segment: Option<String>,
    moved: bool,
    event: Option<Event>,
}

fn changes(
    app: &App,
    connection: &Connection,
    customer: i64,
    before: Place,
) -> rusqlite::Result<Vec<(Entry, Option<Event>)>> {
    let (instant, id) = before.bound(Kind::Change);
    // One more than fits, because each is told as a difference to the one before it.
    let rows: Vec<Change> = connection
        .prepare_cached(
            "SELECT r.as_of, h.r, h.f, h.m, h.segment, h.moved, r.first_seq, r.first_seq + r.changed - 1, r.id
             FROM runs r CROSS JOIN history h ON h.run_id = r.id AND h.customer_id = ?1
             WHERE r.scored_at IS NOT NULL AND (r.as_of, r.id) < (?2, ?3) ORDER BY r.as_of DESC, r.id DESC LIMIT ?4",
        )?
        .query_map((customer, instant, id, sql_limit(PAGE + 2)), |row| {
            let scores: (Option<u8>, Option<u8>, Option<u8>) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let range: (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
            let moved = row.get(5)?;
            Ok(Change {
                run: row.get(8)?,
                as_of: row.get(0)?,
                scores: match scores {
                    (Some(r), Some(f), Some(m)) => Some([r, f, m]),
                    _ => None,
                },
                segment: row.get(4)?,
                moved,
                event: match range {
                    (Some(first), Some(last)) if moved => Some(Event::Within(EventRange { first, last })),
                    _ => None,
                },
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let shown = rows.len().min(PAGE + 1);
    Ok((0..shown).map(|index| (rows[index].entry(app, rows.get(index + 1)), rows[index].event)).collect())
}

impl Change {
    fn entry(&self, app: &App, earlier: Option<&Self>) -> Entry {
        let label = |segment: &Option<String>| segment.as_deref().map(|name| app.names.label(name));
        let title = match (self.moved, earlier.and_then(|change| label(&change.segment)), label(&self.segment)) {
            (true, Some(old), Some(new)) => format!("{old} → {new}"),
            (true, None, Some(new)) => format!("{new}, first segment"),
            (true, Some(old), None) => format!("No longer {old}: no counted order left"),
            (true, None, None) => "No segment".to_owned(),
            (false, ..) => "Scores changed".to_owned(),
        };
        let scores = match (self.scores, earlier.and_then(|change| change.scores)) {
            (Some([r, f, m]), Some([or, of, om])) if [r, f, m] != [or, of, om] => {
                Some(format!("R{r} F{f} M{m}, before R{or} F{of} M{om}"))
            }
            (Some([r, f, m]), _) => Some(format!("R{r} F{f} M{m}")),
            (None, _) => None,
        };
        Entry {
            place: Place { instant: self.as_of, kind: Kind::Change, id: self.run },
            at: Moment::new(app, self.as_of),
            kind: if self.moved { "segment" } else { "score" },
            title,
            details: scores.into_iter().collect(),
            deliveries: Vec::new(),
        }
    }
}

/// Events that are no change: the first order, and a long time without one.
fn events(
    app: &App,
    connection: &Connection,
    customer: i64,
    before: Place,
) -> rusqlite::Result<Vec<(Entry, Option<Event>)>> {
    let bound = before.bound(Kind::Event);
    let mut found: Vec<(i64, Timestamp, String)> = connection
        .prepare_cached(
            "SELECT seq, at FROM outbox WHERE customer_id = ?1 AND type = 'customer/first_order' AND (at, seq) < (?2, ?3)",
        )?
        .query_map((customer, bound.0, bound.1), |row| Ok((row.get(0)?, row.get(1)?, "First order".to_owned())))?
        .collect::<rusqlite::Result<_>>()?;
    // They stand behind the changes of their run, one for a customer at most.
    let lapses: Vec<EventRange> = connection
        .prepare_cached(
            "SELECT first_seq + changed, last_seq FROM runs
             WHERE scored_at IS NOT NULL AND last_seq >= first_seq + changed AND as_of <= ?1 ORDER BY as_of DESC, id DESC",
        )?
        .query_map([bound.0], |row| Ok(EventRange { first: row.get(0)?, last: row.get(1)? }))?
        .collect::<rusqlite::Result<_>>()?;
    let mut lapsed =
        connection.prepare_cached("SELECT at, lapsed_days FROM outbox WHERE seq = ?1 AND (at, seq) < (?2, ?3)")?;
    for range in lapses {
        let Some(seq) = first_in(connection, customer, range)? else { continue };
        let told: Option<(Timestamp, i64)> =
            lapsed.query_row((seq, bound.0, bound.1), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        found.extend(told.map(|(at, days)| (seq, at, format!("No order for {}", words::counted(days, "day", "days")))));
    }
    Ok(found
        .into_iter()
        .map(|(seq, at, title)| {
            let place = Place { instant: at, kind: Kind::Event, id: seq };
            let at = Moment::new(app, at);
            let entry = Entry { place, at, kind: "event", title, details: Vec::new(), deliveries: Vec::new() };
            (entry, Some(Event::At(seq)))
        })
        .collect())
}

/// Adds why a segment changed and whom we told.
fn tell(app: &App, connection: &Connection, entry: &mut Entry, seq: i64, now: Timestamp) -> rusqlite::Result<()> {
    let (cause, id): (Option<String>, [u8; 16]) = connection
        .prepare_cached("SELECT cause, event_id FROM outbox WHERE seq = ?1")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    entry.details.extend(cause.as_deref().and_then(cause_words).map(str::to_owned));
    entry.details.push(evt_id(&id));
    entry.deliveries = connection
        .prepare_cached(
            "SELECT destination, state, hold, attempts, last_status, last_error, due_at, finished_at, id
             FROM deliveries WHERE (seq = ?1 AND events = 1)
                OR id IN (SELECT delivery_id FROM batched WHERE seq = ?1) ORDER BY id",
        )?
        .query_map([seq], |row| {
            let (state, hold): (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let status: Option<i64> = row.get(4)?;
            let error: Option<String> = row.get(5)?;
            let (due, finished): (Option<Timestamp>, Option<Timestamp>) = (row.get(6)?, row.get(7)?);
            let attempts: i64 = row.get(3)?;
            let (tone, word) = state_words(&state, hold.as_deref());
            let when = match (finished, due) {
                (Some(at), _) => words::moment(at, app.config.shop.timezone),
                (None, Some(at)) if attempts > 0 => format!("next {}", words::until(at, now)),
                _ => String::new(),
            };
            let answer = match (state.as_str(), error, status) {
                ("delivered", ..) | (_, None, None) => String::new(),
                (_, Some(error), _) => error,
                (_, None, Some(status)) => format!("answered {status}"),
            };
            let tries = if attempts > 1 { words::counted(attempts, "try", "tries") } else { String::new() };
            let note = [when, tries, answer].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
            let href = format!("/deliveries/{}", row.get::<_, i64>(8)?);
            Ok(Delivery { href, destination: row.get(0)?, tone, state: word, note })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(())
}

fn cause_words(cause: &str) -> Option<&'static str> {
    Some(match cause {
        "order" => "because of an order",
        "refund" => "because of a refund",
        "ranking" => "because others moved",
        "baseline" => "in the first run",
        "remap" => "because the segment rules changed",
        _ => return None,
    })
}

/// Tone and words of where a delivery stands.
pub fn state_words(state: &str, hold: Option<&str>) -> (&'static str, &'static str) {
    match (state, hold) {
        ("delivered", _) => ("ok", "Delivered"),
        ("waiting", _) => ("ok", "Waiting"),
        ("sending", _) => ("ok", "Sending"),
        ("retrying", _) => ("warn", "Retrying"),
        ("held", Some("baseline")) => ("warn", "Held: first run"),
        ("held", Some("run")) => ("warn", "Held: unusual run"),
        ("held", Some("consent")) => ("warn", "Held: no consent"),
        ("held", Some("restored")) => ("warn", "Held: restored"),
        ("held", _) => ("warn", "Held"),
        ("dead", _) => ("bad", "Gave up"),
        ("superseded", _) => ("ok", "Replaced by a newer one"),
        _ => ("warn", "Discarded"),
    }
}
