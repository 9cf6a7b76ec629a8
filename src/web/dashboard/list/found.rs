//! What a search found, in the order of a column.

use rusqlite::Connection;

use super::{
    super::{
        filter::{Cursor, Filter},
        search,
    },
    Hits, Source, by_value,
};
use crate::scoring::told::Told;

/// Customers that a search may find to be sorted.
pub const MOST: usize = 1000;

/// Finds all, and sorts them; `false`: they are too many, or not everybody was compared, so they stand as
/// they were found.
pub fn sorted(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    text: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<(Hits, bool)> {
    let mut hits = search::search(connection, told, filter, text, None, (MOST + 1).max(limit))?;
    if hits.found.len() <= MOST && hits.stopped.is_none() {
        let ids: Vec<i64> = hits.found.iter().map(|(id, _)| *id).collect();
        return Ok((by_value(connection, among(&ids), filter, after, limit)?, true));
    }
    if after.is_some() {
        // They were fewer at the page before.
        return Ok((search::search(connection, told, filter, text, after, limit)?, false));
    }
    if hits.found.len() >= limit {
        hits.found.truncate(limit);
        hits.stopped = None;
    }
    Ok((hits, false))
}

/// These customers, who all pass the filter.
fn among(ids: &[i64]) -> Source {
    let list = format!("[{}]", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    let mut source = Source { from: "customers c", key: "c.id", conditions: String::new(), values: Vec::new() };
    let list = source.bind(list);
    source.conditions = format!("c.id IN (SELECT value FROM json_each({list}))");
    source
}
