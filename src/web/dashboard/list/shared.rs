//! Customers who share an e-mail with another: found by walking the e-mails in their order, where those who
//! share one stand side by side.

use rusqlite::Connection;

use super::{Hits, Passing};
use crate::{
    scoring::told::Told,
    web::dashboard::{
        filter::{Cursor, Filter},
        search::CHECKED,
        statistics::sql_limit,
    },
};

/// E-mails compared for one page where few are shared: some 20 ms. The index alone has them.
const COMPARED: usize = 100_000;

/// Customers of shared e-mails, by e-mail, at most `limit`. At most [`COMPARED`] e-mails are compared, and
/// [`CHECKED`] of the customers that share one are looked at.
pub fn shared(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Hits> {
    walk(connection, told, filter, after, limit, (COMPARED, CHECKED))
}

/// `most`: e-mails that are compared, and customers that are looked at.
fn walk(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
    (most_compared, most_checked): (usize, usize),
) -> rusqlite::Result<Hits> {
    let (beyond, order, first, before) =
        if filter.ascending { (">", "ASC", "", i64::MIN) } else { ("<", "DESC", "\u{10ffff}", i64::MAX) };
    let (mut email, mut last) = match after {
        Some(Cursor::Text { text, id }) => (text.clone(), *id),
        _ => (first.to_owned(), before),
    };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT email_key, id FROM customers WHERE email_key IS NOT NULL AND external_id IS NOT NULL
           AND email_key {beyond}= ?1 AND (email_key {beyond} ?1 OR id {beyond} ?2)
         ORDER BY email_key {order}, id {order} LIMIT ?3"
    ))?;
    let mut rows = statement.query((&email, last, sql_limit(most_compared)))?;
    let mut passing = Passing::new(connection, told, filter)?;
    let mut hits = Hits::default();
    // Whom the page before ended with may share the e-mail of the first one here.
    let mut is_shared = after.is_some();
    let mut checked = 0;
    while hits.found.len() < limit
        && checked < most_checked
        && let Some(row) = rows.next()?
    {
        let (next, id) = (row.get_ref(0)?.as_str()?, row.get(1)?);
        hits.looked_at += 1;
        let is_same = next == email;
        // Of two with one e-mail, the second shows that the first shares it too.
        for id in [(is_same && !is_shared).then_some(last), is_same.then_some(id)].into_iter().flatten() {
            checked += 1;
            if passing.lets(id)? {
                hits.found.push((id, Cursor::Text { text: email.clone(), id }));
            }
        }
        if !is_same {
            next.clone_into(&mut email);
        }
        (is_shared, last) = (is_same, id);
    }
    if hits.found.len() < limit && (hits.looked_at == most_compared || checked >= most_checked) {
        // One who stands alone so far is compared again.
        let id = if is_shared { last } else { last.saturating_sub(if filter.ascending { 1 } else { -1 }) };
        hits.stopped = Some(Cursor::Text { text: email, id });
    }
    Ok(hits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, db::Database};

    /// Whom `filter` leaves, page by page.
    fn all(connection: &Connection, filter: &Filter, limit: usize, most: (usize, usize)) -> Vec<i64> {
        let (told, mut found, mut after) = (Told::from_config(&Config::default()), Vec::new(), None);
        for _ in 0..1_000 {
            let mut hits = walk(connection, told, filter, after.as_ref(), limit, most).unwrap();
            hits.found.truncate(limit);
            let full = hits.found.len() == limit;
            found.extend(hits.found.iter().map(|(id, _)| *id));
            after = if full { hits.found.pop().map(|(_, after)| after) } else { hits.stopped };
            if after.is_none() {
                return found;
            }
        }
        panic!("the pages have no end");
    }

    #[test]
    fn each_comes_once_wherever_pages_end() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("quintile.db"), "test").unwrap();
        // Alone, in pairs, in threes and in a crowd; guests, deleted and merged ones among them.
        let fill = |tx: &rusqlite::Transaction<'_>| {
            Ok(tx.execute_batch(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
                 INSERT INTO customers (id, source, external_id, email, email_key, deleted_at, merged_into, created_at)
                 SELECT i, 'shopify', iif(i % 13 = 0, NULL, 'x' || i), e, iif(i % 13 = 0, 'guest' || i, e),
                   iif(i % 7 = 0, 1, NULL), iif(i % 11 = 0, 1, NULL), i
                 FROM (SELECT i, CASE WHEN i > 45 THEN 'crowd' ELSE char(97 + i % 20) END AS e FROM n)",
            )?)
        };
        database.writer().write_blocking(fill).unwrap();
        let connection = database.readers().get().unwrap();
        let mut expected: Vec<i64> = connection
            .prepare(
                "WITH here AS (SELECT * FROM customers WHERE external_id IS NOT NULL AND deleted_at IS NULL AND merged_into IS NULL)
                 SELECT id FROM here WHERE (SELECT count(*) FROM here other WHERE other.email_key = here.email_key) > 1
                 ORDER BY email_key, id",
            )
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(expected.len() > 30, "{expected:?}");
        for ascending in [true, false] {
            let filter = Filter { same_email: true, ascending, ..Filter::default() };
            for limit in [1, 2, 3, 7, 100] {
                for most in [(1, 100), (2, 100), (3, 1), (5, 2), (100, 4), (100, 100)] {
                    assert_eq!(all(&connection, &filter, limit, most), expected, "{limit} {most:?} {ascending}");
                }
            }
            expected.reverse();
        }
    }
}
