//! By e-mail, however many customers there are: along the two indexes of e-mails, then those without one.

use rusqlite::Connection;

use super::{
    super::{
        filter::{Cursor, Filter},
        statistics::sql_limit,
    },
    Hits, Passing, Source, looked_at,
};
use crate::scoring::told::Told;

/// E-mails looked at for one page. A filter that leaves so many that only the e-mail sorts them lets one
/// in fifty pass, even of a million.
const MOST: usize = 5_000;

/// One page. At most [`MOST`] e-mails are looked at, and then [`LOOKED_AT`](super::LOOKED_AT) customers for
/// those without one.
pub fn by_email(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Hits> {
    let mut hits = Hits::default();
    if !matches!(after, Some(Cursor::Id(_))) {
        with_one(connection, told, filter, after, limit, &mut hits)?;
    }
    if hits.found.len() < limit && hits.stopped.is_none() {
        let mut without = Source::of(told, filter);
        without.conditions = format!("{} AND c.email_key IS NULL", without.conditions);
        let rest = looked_at(connection, without, filter, after, limit - hits.found.len())?;
        hits.found.extend(rest.found);
        (hits.stopped, hits.looked_at) = (rest.stopped, rest.looked_at);
    }
    Ok(hits)
}

fn with_one(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
    hits: &mut Hits,
) -> rusqlite::Result<()> {
    let (mut email, mut id) = match after {
        Some(Cursor::Text { text, id }) => (text.clone(), *id),
        _ if filter.ascending => (String::new(), i64::MIN),
        _ => ("\u{10ffff}".to_owned(), i64::MAX),
    };
    let mut passing = Passing::new(connection, told, filter)?;
    while hits.found.len() < limit {
        let batch = emails(connection, filter.ascending, (&email, id), None, limit)?;
        let Some(last) = batch.last() else { return Ok(()) };
        hits.looked_at += batch.len();
        (email, id) = last.clone();
        for (email, id) in batch {
            if passing.lets(id)? {
                hits.found.push((id, Cursor::Text { text: email, id }));
            }
        }
        if hits.looked_at >= MOST && hits.found.len() < limit {
            hits.stopped = Some(Cursor::Text { text: email, id });
            return Ok(());
        }
    }
    Ok(())
}

/// The next e-mails beyond (`email`, `id`) and before `end`, in order: of guests and of the others, who have
/// an index each.
pub fn emails(
    connection: &Connection,
    ascending: bool,
    (email, id): (&str, i64),
    end: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<(String, i64)>> {
    let (beyond, order) = if ascending { (">", "ASC") } else { ("<", "DESC") };
    let before_end = if end.is_some() { "email_key < ?4" } else { "?4 IS NULL" };
    let mut batch = Vec::with_capacity(limit * 2);
    for kind in ["external_id IS NULL", "external_id IS NOT NULL"] {
        let sql = format!(
            "SELECT email_key, id FROM customers WHERE email_key IS NOT NULL AND {kind}
               AND email_key {beyond}= ?1 AND {before_end} AND (email_key {beyond} ?1 OR id {beyond} ?2)
             ORDER BY email_key {order}, id {order} LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        for row in statement.query_map((email, id, sql_limit(limit), end), |row| Ok((row.get(0)?, row.get(1)?)))? {
            batch.push(row?);
        }
    }
    batch.sort_unstable();
    if !ascending {
        batch.reverse();
    }
    batch.truncate(limit);
    Ok(batch)
}
