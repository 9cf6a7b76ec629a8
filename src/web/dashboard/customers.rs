//! `GET /customers`: find someone.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::{
    App,
    customer::erase,
    definitions::terms,
    filter::{Cursor, Filter, Sort},
    list::{self, Customer, SORTABLE, Total, found},
    names,
    order::Column,
    statistics,
    view::{self, Chrome, Moment},
    words,
};
use crate::{model::Timestamp, scoring::segment::NONE, web::error::PageError};

/// Customers on a page.
pub const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "customers.html")]
struct Customers {
    chrome: Chrome,
    total: String,
    /// How many of everybody were scored; empty: not everybody is shown, or nobody was.
    scored: String,
    search: String,
    segments: Vec<Choice>,
    scores: Vec<ScoreChoice>,
    sort: &'static str,
    /// As the sort, kept by the form; empty: the usual way.
    dir: &'static str,
    same_email: bool,
    /// The heading where the filter leaves nobody.
    no_match: &'static str,
    /// Who is in the chosen segment, and what to do about them.
    about: Option<[String; 2]>,
    filtered: bool,
    columns: Vec<Column>,
    rows: Vec<Row>,
    csv: String,
    first: Option<String>,
    next: Option<String>,
    /// How far a search looked, when it has not looked at everybody yet.
    stopped: Option<String>,
    /// What the button to go on says.
    older: &'static str,
    /// In which order they stand.
    order: String,
    /// Where they stand in the usual one; `None`: here.
    usual: Option<String>,
    /// Nobody at all is known yet.
    nobody: bool,
    /// Somebody was just erased: what was done.
    erased: Option<String>,
}

/// An `<option>`.
struct Choice {
    value: String,
    label: String,
    selected: bool,
}

/// A `<select>` of 1 to 5.
struct ScoreChoice {
    name: &'static str,
    label: &'static str,
    options: Vec<Choice>,
}

pub struct Row {
    pub href: String,
    pub title: String,
    pub email: String,
    pub segment: Option<(String, &'static str)>,
    /// Why there is none.
    pub unscored: &'static str,
    pub scores: String,
    pub scores_label: String,
    pub orders: String,
    pub spent: String,
    pub last_order: Option<Moment>,
    pub ago: String,
}

/// `GET /customers`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let filter = Filter::from_pairs(&pairs)?;
    names::must_know(&app, filter.segment.as_deref().filter(|_| !filter.is_unscored())).await?;
    let after = pairs.iter().find(|(name, _)| name == "after").and_then(|(_, text)| Cursor::parse(text));
    let erased: Option<i64> = view::parameter(&pairs, "erased").and_then(|id| id.parse().ok());
    let reader = Arc::clone(&app);
    let page = app
        .readers
        .read(move |connection| {
            let total = list::total(connection, reader.told, &filter)?;
            let page = list::page(connection, reader.told, &filter, total, after.as_ref(), PAGE)?;
            let run = statistics::in_force(connection)?;
            let chrome = Chrome::new(&reader, connection, "customers", run.as_ref(), now)?;
            let stopped = looked_at(&reader, connection, &filter, &page)?;
            let scored = run.as_ref().filter(|run| run.scored > 0 && filter.is_everybody());
            let scored = scored.map_or_else(String::new, |run| words::count(run.scored));
            let known = run.map(|run| statistics::segments(connection, run.id)).transpose()?.unwrap_or_default();
            let used: Vec<String> = known.into_iter().map(|segment| segment.segment).collect();
            let erased = erased.map(|id| erase::outcome(&reader, connection, id)).transpose()?.flatten();
            Ok(Customers {
                scored,
                stopped,
                erased,
                ..view(&reader, chrome, &filter, total, &page, after.as_ref(), &used)
            })
        })
        .await?;
    view::html(&page)
}

fn view(
    app: &App,
    chrome: Chrome,
    filter: &Filter,
    total: Total,
    page: &list::Page,
    after: Option<&Cursor>,
    used: &[String],
) -> Customers {
    let now = app.clock.now();
    let filtered = !filter.is_everybody();
    let order = order(filter, total, page.sorted);
    // One that the list cannot have is in none of its addresses.
    let usual = filter.usual();
    let filter = if page.sorted { filter } else { &usual };
    Customers {
        chrome,
        total: total_text(total, page, after),
        search: filter.search.clone().unwrap_or_default(),
        segments: segment_choices(app, filter, used),
        scores: score_choices(filter),
        same_email: filter.same_email,
        no_match: if filter.same_email && (Filter { same_email: false, ..filter.clone() }).is_everybody() {
            "No two customers share an e-mail"
        } else {
            "No customers match"
        },
        sort: if filter.sort == Sort::Known { "" } else { filter.sort.as_str() },
        dir: match (filter.ascending, filter.sort == Sort::Email) {
            (true, false) => "asc",
            (false, true) => "desc",
            _ => "",
        },
        about: filter.segment.as_deref().map(|name| match name {
            NONE => [format!("{}: {}", terms::NOT_SCORED.term, terms::NOT_SCORED.meaning), String::new()],
            name => [app.names.definition(name), app.names.action(name)].map(str::to_owned),
        }),
        filtered,
        columns: columns(filter, total),
        rows: page.customers.iter().map(|customer| row(app, customer, now)).collect(),
        csv: filter.href("/customers.csv", None),
        first: after.map(|_| filter.href("/customers", None)),
        next: page.next.as_ref().map(|next| filter.href("/customers", Some(next))),
        scored: String::new(),
        stopped: None,
        older: match () {
            () if page.stopped && matches!(page.next, Some(Cursor::Text { .. })) => "Look at further e-mails",
            () if page.stopped && filter.search.is_some() => "Search older customers",
            () if page.stopped && filter.same_email => "Compare more e-mails",
            () if page.stopped => "Look at older customers",
            () => "Next page",
        },
        order,
        usual: (*filter != usual).then(|| usual.href("/customers", None)),
        erased: None,
        nobody: !filtered && after.is_none() && page.customers.is_empty(),
    }
}

fn total_text(total: Total, page: &list::Page, after: Option<&Cursor>) -> String {
    match total {
        Total::Exactly(count) => words::counted(count, "customer", "customers"),
        Total::AtRun(count) | Total::Scattered(count) => {
            format!("{} in the last run", words::counted(count, "customer", "customers"))
        }
        Total::AtMost(_) | Total::Unknown => {
            let here = i64::try_from(page.customers.len()).unwrap_or(i64::MAX);
            match (after, &page.next) {
                (None, None) => words::counted(here, "customer", "customers"),
                _ => format!("{} on this page", words::counted(here, "customer", "customers")),
            }
        }
    }
}

/// In which order they stand, and what would sort them. `sorted`: as the filter says.
fn order(filter: &Filter, total: Total, sorted: bool) -> String {
    let few = words::counted(SORTABLE, "customer", "customers");
    let stands = match (&filter.search, filter.sort) {
        (Some(_), Sort::Known) => {
            "Whole ids first, then e-mails by the alphabet, then names, the newest customer first."
        }
        (None, Sort::Known) if filter.ascending => "The oldest customer first.",
        (None, Sort::Known) => "The newest customer first.",
        (_, Sort::Email) if filter.same_email => "By e-mail, so that those who share one stand together.",
        (_, Sort::Email) if sorted => "By e-mail; those without one are the last.",
        _ => "",
    };
    let arrows = "Columns with an arrow sort the list.";
    match (filter.search.is_some(), sorted) {
        (true, false) => format!(
            "These cannot be sorted, because they are more than {}, or not everybody could be compared at once. A longer text helps, and so does an e-mail with its @. They stand as they were found: whole ids first, then e-mails, then names.",
            words::count_usize(found::MOST)
        ),
        (false, false) => format!(
            "These are too many to sort by that column, which has no index, so that every order is stored fast: it sorts lists of up to {few}. Choose a segment or scores. Here the newest customer comes first."
        ),
        (false, true) if !total.is_sortable() => format!(
            "{stands} The arrow sorts by e-mail. Orders, spent and last order have no index, so that every order is stored fast: they sort lists of up to {few}. Choose a segment or scores."
        ),
        (_, true) => format!("{stands} {arrows}").trim().to_owned(),
    }
}

/// How far a page looked that has not looked at everybody.
fn looked_at(
    app: &App,
    connection: &Connection,
    filter: &Filter,
    page: &list::Page,
) -> rusqlite::Result<Option<String>> {
    let number = words::count_usize(page.looked_at);
    let last = match page.next.as_ref().filter(|_| page.stopped) {
        None => return Ok(None),
        Some(Cursor::Name(id) | Cursor::Id(id)) => *id,
        Some(Cursor::Text { .. } | Cursor::Value { .. }) => {
            let others = if filter.ascending { "later" } else { "other" };
            return Ok(Some(format!("{number} e-mails were compared for this page; {others} ones may match too.")));
        }
    };
    let known: Timestamp = connection
        .prepare_cached("SELECT created_at FROM customers WHERE id = ?1")?
        .query_row([last], |row| row.get(0))?;
    Ok(Some(format!(
        "{} customers were looked at for this page, back to those known since {}. Older ones may match too.",
        number,
        words::day(known, app.config.shop.timezone)
    )))
}

/// Segments of the rules in force, those that only customers still have, and none.
fn segment_choices(app: &App, filter: &Filter, used: &[String]) -> Vec<Choice> {
    let chosen = filter.segment.as_deref();
    let mut names: Vec<&str> = app.names.all().map(|segment| segment.name.as_str()).collect();
    for name in used.iter().map(String::as_str).chain(chosen) {
        if !names.contains(&name) && name != NONE {
            names.push(name);
        }
    }
    let choice = |name: &str, label| Choice { value: name.to_owned(), label, selected: chosen == Some(name) };
    let mut choices: Vec<Choice> = names.into_iter().map(|name| choice(name, app.names.label(name))).collect();
    choices.push(choice(NONE, terms::NOT_SCORED.term.to_owned()));
    choices
}

fn score_choices(filter: &Filter) -> Vec<ScoreChoice> {
    [("r", "Recency", filter.r), ("f", "Frequency", filter.f), ("m", "Monetary", filter.m)]
        .into_iter()
        .map(|(name, label, chosen)| ScoreChoice {
            name,
            label,
            options: (1..=5u8)
                .rev()
                .map(|score| Choice {
                    value: score.to_string(),
                    label: score.to_string(),
                    selected: chosen.is_some_and(|quintile| quintile.get() == score),
                })
                .collect(),
        })
        .collect()
}

fn columns(filter: &Filter, total: Total) -> Vec<Column> {
    let sorted = |sort: Sort, column: Column| {
        // A search is tried: how many it finds is not known before. E-mails have an index.
        if filter.search.is_none() && !total.is_sortable() && sort != Sort::Email {
            return column;
        }
        let present = (filter.sort == sort).then_some(filter.ascending);
        // The present column turns around; others start with what is looked for most.
        let ascending = present.map_or(sort == Sort::Email, |ascending| !ascending);
        column.sorting(filter.sorted(sort, ascending).href("/customers", None), ascending, present)
    };
    vec![
        sorted(Sort::Email, Column::new("Customer", None, "")),
        Column::new("Segment", None, ""),
        Column::new("R F M", Some(terms::SCORES), "rfm"),
        sorted(Sort::Orders, Column::new("Orders", Some(terms::ORDERS), "n")),
        sorted(Sort::Spent, Column::new("Spent", Some(terms::SPENT), "n")),
        sorted(Sort::LastOrder, Column::new("Last order", Some(terms::LAST_ORDER), "n last")),
    ]
}

pub fn row(app: &App, customer: &Customer, now: Timestamp) -> Row {
    let title = customer.title();
    let email = customer.email.clone().filter(|email| *email != title).unwrap_or_default();
    let segment = customer.segment.as_deref();
    Row {
        href: format!("/customers/{}", customer.id),
        email,
        title,
        segment: segment.map(|name| (app.names.label(name), app.names.tone(name))),
        unscored: customer.unscored().unwrap_or_default(),
        scores: customer.scores.map_or_else(|| "–".to_owned(), |[r, f, m]| format!("{r} {f} {m}")),
        scores_label: customer
            .scores
            .map_or_else(|| "not scored".to_owned(), |[r, f, m]| format!("recency {r}, frequency {f}, monetary {m}")),
        orders: words::count(customer.order_count),
        spent: words::money(customer.total_spent, app.config.shop.currency),
        last_order: customer.last_order_at.map(|at| Moment::day(app, at)),
        ago: customer.last_order_at.map_or_else(String::new, |at| words::ago(at, now)),
    }
}
