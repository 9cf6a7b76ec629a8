//! Whose orders are whose: merges in the shop, and guests whose e-mail belongs to a customer.
//!
//! `aliases` holds the facts (this id was merged into that one; this guest's e-mail is that
//! customer's), `customers.merged_into` and `orders.customer_id` what follows from all of them, so
//! that nobody has to follow chains when reading.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Change, LedgerError, Rules, counters::recompute, erase, people::place_id};
use crate::model::{Source, Timestamp};

/// The row that counts the orders of customer `id`.
pub(super) fn owner(connection: &Connection, id: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(merged_into, id) FROM customers WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
}

/// Decides again to whom the orders of the guest with this e-mail belong: to the customer who has
/// the e-mail now, else to the guest. Call it whenever a customer's e-mail appears, changes or goes.
/// Whose counters are to be recomputed is added to `touched`.
pub(super) fn settle_guest(
    tx: &Transaction<'_>,
    rules: &Rules,
    key: &str,
    now: Timestamp,
    touched: &mut Vec<i64>,
) -> Result<(), LedgerError> {
    let guest = tx
        .prepare_cached("SELECT id, source, merged_into FROM customers WHERE external_id IS NULL AND email_key = ?1")?
        .query_row([key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Source>(1)?, row.get::<_, Option<i64>>(2)?)))
        .optional()?;
    let Some((guest, source, merged_into)) = guest else { return Ok(()) };
    let holder = if rules.merge_guests_by_email { holder(tx, key, source)? } else { None };

    match holder {
        Some((holder, _)) => tx
            .prepare_cached(
                "INSERT INTO aliases (kind, source, key, customer_id, created_at) VALUES ('email', '', ?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id",
            )?
            .execute(params![key, holder, now])?,
        None => tx
            .prepare_cached("DELETE FROM aliases WHERE kind = 'email' AND source = '' AND key = ?1")?
            .execute([key])?,
    };
    let owner = holder.map(|(_, owner)| owner);
    if owner != merged_into {
        set_merged_into(tx, guest, owner)?;
        let (old, new) = (merged_into.unwrap_or(guest), owner.unwrap_or(guest));
        tx.prepare_cached("UPDATE orders SET customer_id = ?2 WHERE customer_ref IS NULL AND email_key = ?1")?
            .execute(params![key, new])?;
        touched.extend([old, new]);
    }
    Ok(())
}

/// The customer who has this e-mail, and who counts for them. Of several, in this order: one that
/// was not merged away, one of the guest's own source, the first source by name, the lowest id.
fn holder(tx: &Transaction<'_>, key: &str, guest_source: Source) -> rusqlite::Result<Option<(i64, i64)>> {
    tx.prepare_cached(
        "SELECT id, coalesce(merged_into, id) FROM customers
         WHERE email_key = ?1 AND external_id IS NOT NULL AND (deleted_at IS NULL OR merged_into IS NOT NULL)
         ORDER BY merged_into IS NOT NULL, source <> ?2, source, length(external_id), external_id
         LIMIT 1",
    )?
    .query_row(params![key, guest_source], |row| Ok((row.get(0)?, row.get(1)?)))
    .optional()
}

/// The shop merged two of its customers: from now on, and whenever either becomes known, the
/// orders of `deleted_id` count for `kept_id`. Chains are followed. Contradictions (one id merged into two,
/// circles) resolve to the lowest id, whichever came first.
///
/// # Errors
/// [`LedgerError::Rejected`]: an id is missing, or both are the same.
pub fn merge_customers(
    tx: &Transaction<'_>,
    rules: &Rules,
    source: Source,
    deleted_id: &str,
    kept_id: &str,
    now: Timestamp,
) -> Result<Change, LedgerError> {
    if deleted_id == kept_id {
        return Err(LedgerError::Rejected(format!("customer {kept_id} cannot be merged into itself")));
    }
    let (Some(deleted), Some(kept)) =
        (place_id(tx, rules, source, deleted_id, now)?, place_id(tx, rules, source, kept_id, now)?)
    else {
        return Err(LedgerError::Rejected("the message does not say which customers were merged".to_owned()));
    };
    if let Some(node) = merged(tx, deleted.id)? {
        if node.id == kept.id {
            return Ok(Change::Unchanged);
        }
        if rank(&node.external_id) < rank(kept_id) {
            return Ok(Change::Stale);
        }
    }
    tx.prepare_cached(
        "INSERT INTO aliases (kind, source, key, customer_id, created_at) VALUES ('id', ?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET customer_id = excluded.customer_id",
    )?
    .execute(params![source, deleted_id, kept.id, now])?;

    let followers = followers(tx, deleted.id)?;
    let mut touched = Vec::new();
    for follower in &followers {
        touched.extend(resettle(tx, follower)?);
    }
    for key in followers.iter().filter_map(|follower| follower.email_key.as_deref()) {
        settle_guest(tx, rules, key, now, &mut touched)?;
    }
    recompute(tx, &touched)?;
    Ok(Change::Updated)
}

/// A customer in the graph of merges.
pub(super) struct Node {
    pub id: i64,
    source: Source,
    /// Empty: a guest, into whom only erased customers are merged.
    external_id: String,
    email_key: Option<String>,
}

/// Lower is preferred: numeric order for ids that are numbers.
fn rank(external_id: &str) -> (usize, &str) {
    (external_id.len(), external_id)
}

fn node(row: &rusqlite::Row<'_>) -> rusqlite::Result<Node> {
    Ok(Node { id: row.get(0)?, source: row.get(1)?, external_id: row.get(2)?, email_key: row.get(3)? })
}

/// What [`node`] reads of the row `$c` of `customers`.
macro_rules! node_columns {
    ($c:literal) => {
        concat!($c, ".id, ", $c, ".source, coalesce(", $c, ".external_id, ''), ", $c, ".email_key")
    };
}

/// Whom the shop merged this customer into, directly.
fn merged(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<Option<Node>> {
    tx.prepare_cached(concat!(
        "SELECT ",
        node_columns!("kept"),
        " FROM customers deleted
         JOIN aliases ON aliases.kind = 'id' AND aliases.source = deleted.source AND aliases.key = deleted.external_id
         JOIN customers kept ON kept.id = aliases.customer_id
         WHERE deleted.id = ?1"
    ))?
    .query_row([id], node)
    .optional()
}

/// The customer itself and all who were merged into it, directly or through others.
pub(super) fn followers(connection: &Connection, id: i64) -> rusqlite::Result<Vec<Node>> {
    let mut found = vec![
        connection
            .prepare_cached(concat!("SELECT ", node_columns!("c"), " FROM customers c WHERE c.id = ?1"))?
            .query_row([id], node)?,
    ];
    let mut next = 0;
    while next < found.len() {
        let mut statement = connection.prepare_cached(concat!(
            "SELECT ",
            node_columns!("deleted"),
            " FROM aliases JOIN customers deleted ON deleted.external_id = aliases.key AND deleted.source = aliases.source
             WHERE aliases.customer_id = ?1 AND aliases.kind = 'id'"
        ))?;
        for follower in statement.query_map([found[next].id], node)? {
            let follower = follower?;
            if found.iter().all(|known| known.id != follower.id) {
                found.push(follower);
            }
        }
        next += 1;
    }
    Ok(found)
}

/// The end of a customer's chain of merges; in a circle, its lowest id.
fn root(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<i64> {
    let mut chain: Vec<Node> = Vec::new();
    let mut last = id;
    while let Some(next) = merged(tx, last)? {
        if let Some(start) = chain.iter().position(|seen| seen.id == next.id) {
            let lowest = chain[start..].iter().min_by(|a, b| rank(&a.external_id).cmp(&rank(&b.external_id)));
            return Ok(lowest.map_or(last, |node| node.id));
        }
        last = next.id;
        chain.push(next);
    }
    Ok(last)
}

/// Brings `merged_into` and the customer's own orders in line with the merges; returns whose
/// counters changed.
fn resettle(tx: &Transaction<'_>, customer: &Node) -> rusqlite::Result<Vec<i64>> {
    let (old, new) = (owner(tx, customer.id)?, root(tx, customer.id)?);
    if old == new {
        return Ok(Vec::new());
    }
    set_merged_into(tx, customer.id, Some(new).filter(|new| *new != customer.id))?;
    tx.prepare_cached(
        "UPDATE orders SET customer_id = ?2 WHERE customer_id = ?1 AND customer_ref = ?3 AND source = ?4",
    )?
    .execute(params![old, new, customer.external_id, customer.source])?;
    if old == customer.id && erase::is_erased(tx, old)? {
        // Guests who were erased with them are known by nothing else any more.
        tx.execute(
            "UPDATE orders SET customer_id = ?2 WHERE customer_id = ?1 AND customer_ref IS NULL AND email_key IS NULL",
            [old, new],
        )?;
        tx.execute(
            "UPDATE customers SET merged_into = ?2
             WHERE merged_into = ?1 AND external_id IS NULL AND email_key IS NULL",
            [old, new],
        )?;
    }
    Ok(vec![old, new])
}

fn set_merged_into(tx: &Transaction<'_>, id: i64, into: Option<i64>) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE customers SET merged_into = ?2 WHERE id = ?1")?.execute(params![id, into])?;
    Ok(())
}
