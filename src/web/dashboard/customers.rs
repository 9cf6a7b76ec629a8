//! `GET /customers`: find someone.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{
    App,
    customer::erase,
    filter::{Cursor, Filter, Sort},
    list::{self, Customer, SORTABLE, Total},
    statistics,
    view::{self, Chrome, Moment},
    words,
};
use crate::{model::Timestamp, web::error::PageError};

/// Customers on a page.
pub const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "customers.html")]
#[expect(clippy::struct_excessive_bools, reason = "what the page shows or not")]
struct Customers {
    chrome: Chrome,
    total: String,
    search: String,
    segments: Vec<Choice>,
    scores: Vec<ScoreChoice>,
    sort: &'static str,
    same_email: bool,
    /// Who is in the chosen segment, and what to do about them.
    about: Option<[String; 2]>,
    filtered: bool,
    columns: Vec<Column>,
    rows: Vec<Row>,
    csv: String,
    first: Option<String>,
    next: Option<String>,
    /// A search has not looked at everybody yet.
    stopped: bool,
    /// Why the columns are not links.
    unsortable: Option<String>,
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

/// A column heading.
struct Column {
    label: &'static str,
    /// Empty: cannot be sorted by.
    href: String,
    /// For `aria-sort`; empty: not sorted by.
    sorted: &'static str,
    class: &'static str,
}

pub struct Row {
    pub href: String,
    pub title: String,
    pub email: String,
    pub segment: Option<(String, &'static str)>,
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
    let filter = Filter::from_pairs(&pairs);
    let after = pairs.iter().find(|(name, _)| name == "after").and_then(|(_, text)| Cursor::parse(text));
    let erased: Option<i64> = view::parameter(&pairs, "erased").and_then(|id| id.parse().ok());
    let reader = Arc::clone(&app);
    let page = app
        .readers
        .read(move |connection| {
            let total = list::total(connection, &filter)?;
            let page = list::page(connection, &filter, total, after.as_ref(), PAGE)?;
            let run = statistics::in_force(connection)?;
            let chrome = Chrome::new(&reader, "customers", run.as_ref(), now);
            let known = run.map(|run| statistics::segments(connection, run.id)).transpose()?.unwrap_or_default();
            let used: Vec<String> = known.into_iter().map(|segment| segment.segment).collect();
            let erased = erased.map(|id| erase::outcome(&reader, connection, id)).transpose()?.flatten();
            Ok(Customers { erased, ..view(&reader, chrome, &filter, total, &page, after.as_ref(), &used) })
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
    let sortable = total.is_sortable();
    let filtered = !filter.is_everybody();
    Customers {
        chrome,
        total: total_text(total, page, after),
        search: filter.search.clone().unwrap_or_default(),
        segments: segment_choices(app, filter, used),
        scores: score_choices(filter),
        same_email: filter.same_email,
        sort: if filter.sort == Sort::Known { "" } else { filter.sort.as_str() },
        about: filter
            .segment
            .as_deref()
            .map(|name| [app.names.definition(name), app.names.action(name)].map(str::to_owned)),
        filtered,
        columns: columns(filter, sortable),
        rows: page.customers.iter().map(|customer| row(app, customer, now)).collect(),
        csv: filter.href("/customers.csv", None),
        first: after.map(|_| filter.href("/customers", None)),
        next: page.next.as_ref().map(|next| filter.href("/customers", Some(next))),
        stopped: page.stopped,
        unsortable: (!sortable && filter.search.is_none()).then(|| {
            format!(
                "Newest first. Lists of up to {} can be sorted by a column: choose a segment or scores.",
                words::counted(SORTABLE, "customer", "customers")
            )
        }),
        erased: None,
        nobody: !filtered && after.is_none() && page.customers.is_empty(),
    }
}

fn total_text(total: Total, page: &list::Page, after: Option<&Cursor>) -> String {
    match total {
        Total::Exactly(count) => words::counted(count, "customer", "customers"),
        Total::AtRun(count) => format!("{} in the last run", words::counted(count, "customer", "customers")),
        Total::Unknown => {
            let here = i64::try_from(page.customers.len()).unwrap_or(i64::MAX);
            match (after, &page.next) {
                (None, None) => words::counted(here, "customer", "customers"),
                _ => format!("{} on this page", words::counted(here, "customer", "customers")),
            }
        }
    }
}

/// Segments of the rules in force, then those that only customers still have.
fn segment_choices(app: &App, filter: &Filter, used: &[String]) -> Vec<Choice> {
    let chosen = filter.segment.as_deref();
    let mut names: Vec<&str> = app.names.all().map(|segment| segment.name.as_str()).collect();
    for name in used.iter().map(String::as_str).chain(chosen) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
        .into_iter()
        .map(|name| Choice { value: name.to_owned(), label: app.names.label(name), selected: chosen == Some(name) })
        .collect()
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

fn columns(filter: &Filter, sortable: bool) -> Vec<Column> {
    let searching = filter.search.is_some();
    let column = |label, class, sort: Option<Sort>| {
        let active = !searching && sort == Some(filter.sort) && (sortable || filter.sort == Sort::Known);
        let href = sort.filter(|_| sortable && !searching).map_or_else(String::new, |sort| {
            // The present column turns around; others start with what is looked for most.
            let ascending = if active { !filter.ascending } else { sort == Sort::Email };
            filter.sorted(sort, ascending).href("/customers", None)
        });
        let sorted = match (active, filter.ascending) {
            (false, _) => "",
            (true, true) => "ascending",
            (true, false) => "descending",
        };
        Column { label, href, sorted, class }
    };
    vec![
        column("Customer", "", Some(Sort::Email)),
        column("Segment", "", None),
        column("R F M", "rfm", None),
        column("Orders", "n orders", Some(Sort::Orders)),
        column("Spent", "n", Some(Sort::Spent)),
        column("Last order", "n last", Some(Sort::LastOrder)),
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
