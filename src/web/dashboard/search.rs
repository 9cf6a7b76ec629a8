//! Searching customers: exact ids, then starts of e-mails, then names, paged by keyset.

use rusqlite::Connection;

use super::{
    filter::{Cursor, Filter},
    list::{self, Hits, Passing},
    statistics::sql_limit,
};
use crate::scoring::told::Told;

/// Names compared for one page of a search.
pub const NAMES_PER_PAGE: usize = 100_000;
/// Customers that a filter is asked about for one page, when it lets hardly any pass.
pub const CHECKED: usize = 20_000;

/// Exact ids, then starts of e-mails, then names. Each customer comes once, by the first of these
/// that fits.
pub fn search(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    text: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Hits> {
    let wanted = Wanted::new(connection, text)?;
    let mut passing = Passing::new(connection, told, filter)?;
    let mut hits = Hits::default();
    if after.is_none() {
        for id in &wanted.ids {
            if passing.lets(*id)? {
                // What follows the ids is the whole of the e-mails.
                hits.found.push((*id, Cursor::Text { text: String::new(), id: 0 }));
            }
        }
    }
    if !matches!(after, Some(Cursor::Name(_))) {
        emails(connection, &mut passing, &wanted, after, limit, &mut hits)?;
    }
    if hits.found.len() < limit && hits.stopped.is_none() && !wanted.lower.contains('@') {
        names(connection, &mut passing, &wanted, after, limit, &mut hits)?;
    }
    Ok(hits)
}

/// A search text and what it is compared with.
#[derive(Default)]
struct Wanted {
    lower: String,
    /// A text of several words: with one blank between them.
    both: Option<String>,
    /// Customers whose id, ours or the shop's, is the text.
    ids: Vec<i64>,
}

impl Wanted {
    fn new(connection: &Connection, text: &str) -> rusqlite::Result<Self> {
        let mut ids: Vec<i64> = connection
            .prepare_cached("SELECT id FROM customers WHERE external_id = ?1 ORDER BY id")?
            .query_map([text], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if let Ok(id) = text.parse()
            && !ids.contains(&id)
        {
            ids.insert(0, id);
        }
        Ok(Self { ids, ..Self::of_text(text) })
    }

    fn of_text(text: &str) -> Self {
        let lower = text.to_lowercase();
        let both = lower
            .contains([' ', ','])
            .then(|| lower.replace(',', " ").split_whitespace().collect::<Vec<_>>().join(" "));
        Self { lower, both, ids: Vec::new() }
    }

    fn is_email(&self, email_key: Option<&str>) -> bool {
        email_key.is_some_and(|key| key.starts_with(&self.lower))
    }

    /// The start of the first name, the last name, or both in either order. Letter by letter: nearly all of
    /// a hundred thousand names differ in the first one.
    fn is_name(&self, first: &str, last: &str) -> bool {
        let (first, last) = (first.trim(), last.trim());
        let wanted = self.lower.as_str();
        if begins(folded(first), wanted) || begins(folded(last), wanted) {
            return true;
        }
        self.both.as_deref().is_some_and(|wanted| {
            let name = |one, other| folded(one).chain([' ']).chain(folded(other));
            begins(name(first, last), wanted) || begins(name(last, first), wanted)
        })
    }
}

/// The letters of a text in lower case. The two small sigmas are one letter.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).map(|letter| if letter == 'ς' { 'σ' } else { letter })
}

fn begins(mut letters: impl Iterator<Item = char>, wanted: &str) -> bool {
    folded(wanted).all(|letter| letters.next() == Some(letter))
}

/// Customers whose e-mail starts with the text, by e-mail; two indexes, of guests and of the others.
fn emails(
    connection: &Connection,
    passing: &mut Passing<'_>,
    wanted: &Wanted,
    after: Option<&Cursor>,
    limit: usize,
    hits: &mut Hits,
) -> rusqlite::Result<()> {
    let (mut from, mut last) = match after {
        Some(Cursor::Text { text, id }) if *text >= wanted.lower => (text.clone(), *id),
        _ => (wanted.lower.clone(), i64::MIN),
    };
    let end = format!("{}\u{10ffff}", wanted.lower);
    while hits.found.len() < limit {
        let batch = list::emails(connection, true, (&from, last), Some(&end), limit)?;
        let Some((email, id)) = batch.last() else { return Ok(()) };
        (from, last) = (email.clone(), *id);
        for (email, id) in &batch {
            if !wanted.ids.contains(id) && passing.lets(*id)? {
                hits.found.push((*id, Cursor::Text { text: email.clone(), id: *id }));
            }
        }
        hits.looked_at += batch.len();
        if hits.looked_at >= CHECKED && hits.found.len() < limit {
            hits.stopped = Some(Cursor::Text { text: from, id: last });
            return Ok(());
        }
    }
    Ok(())
}

/// Customers whose name starts with the text, newest first, among the next [`NAMES_PER_PAGE`]; of those the
/// filter is asked about [`CHECKED`].
fn names(
    connection: &Connection,
    passing: &mut Passing<'_>,
    wanted: &Wanted,
    after: Option<&Cursor>,
    limit: usize,
    hits: &mut Hits,
) -> rusqlite::Result<()> {
    let start = match after {
        Some(Cursor::Name(id)) => *id,
        _ => i64::MAX,
    };
    let mut statement = connection.prepare_cached(
        "SELECT id, first_name, last_name, email_key FROM customers WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
    )?;
    let mut rows = statement.query((start, sql_limit(NAMES_PER_PAGE)))?;
    let (mut looked_at, mut checked, mut last) = (0, 0, start);
    while checked < CHECKED
        && let Some(row) = rows.next()?
    {
        (looked_at, last) = (looked_at + 1, row.get(0)?);
        let text = |column| row.get_ref(column).ok().and_then(|value| value.as_str().ok());
        if !wanted.is_name(text(1).unwrap_or_default(), text(2).unwrap_or_default())
            || wanted.is_email(text(3))
            || wanted.ids.contains(&last)
        {
            continue;
        }
        checked += 1;
        if passing.lets(last)? {
            hits.found.push((last, Cursor::Name(last)));
            if hits.found.len() >= limit {
                return Ok(());
            }
        }
    }
    if looked_at >= NAMES_PER_PAGE || checked >= CHECKED {
        (hits.stopped, hits.looked_at) = (Some(Cursor::Name(last)), looked_at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_what_is_wanted() {
        for (wanted, first, last, found) in [
            ("ad", "Ada", "Lovelace", true),
            ("LOVE", "Ada", "Lovelace", true),
            ("da", "Ada", "Lovelace", false),
            ("ada  l", " Ada ", "Lovelace", true),
            ("lovelace, a", "Ada", "Lovelace", true),
            ("lovelace b", "Ada", "Lovelace", false),
            ("νίκος", "ΝΊΚΟΣ", "", true),
            ("groß", "", "GROß", true),
            ("adal", "Ada", "", false),
        ] {
            assert_eq!(Wanted::of_text(wanted).is_name(first, last), found, "{wanted} in {first} {last}");
        }
    }
}
