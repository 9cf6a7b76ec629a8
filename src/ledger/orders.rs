//! Orders: the latest state of each, and whom it counts for.

use std::{
    borrow::Cow,
    cmp::{Ordering, Reverse},
};

use rusqlite::{CachedStatement, OptionalExtension, Row, Transaction, params};

use super::{
    Applied, Change, LedgerError, Rules, check_date,
    counters::recompute,
    erase,
    fields::{Teller, is_blank},
    first_order,
    people::{self, Placed},
    restore::has_bin,
    state::{State, progress},
    tombstones::Tombstones,
};
use crate::model::{Currency, Money, Order, OrderStatus, Origin, Source, Timestamp, email_key};

/// A stored order.
struct Known {
    id: i64,
    customer: Option<i64>,
    version: Version,
    deleted: bool,
    origin: Origin,
    historical: bool,
    /// `counted` is as stored: false in a deleted order.
    state: State<'static>,
}

/// (`updated_at`, when it was sent). A state that does not say when it was sent (a pull) comes
/// after those with its `updated_at` that do; one without `updated_at` (a file) before all.
type Version = (Option<Timestamp>, Timestamp);

fn version(updated_at: Option<Timestamp>, triggered_at: Option<Timestamp>) -> Version {
    (updated_at, triggered_at.unwrap_or(Timestamp::from_millis(i64::MAX)))
}

/// Refuses orders that cannot be true or do not belong in this database: another currency,
/// negative prices, impossible dates. [`apply_order`] calls it; a dry run may.
///
/// # Errors
/// [`LedgerError::Rejected`] with a sentence for the merchant.
pub fn check_order(order: &Order, rules: &Rules, now: Timestamp) -> Result<(), LedgerError> {
    let reject = |reason: String| Err(LedgerError::Rejected(reason));
    if is_blank(&order.source_id) {
        return reject("it has no order id".to_owned());
    }
    if order.currency != rules.currency {
        return reject(format!(
            "it is in {}, this shop's currency is {} ([shop] currency); amounts are never converted",
            order.currency, rules.currency
        ));
    }
    for (what, amount) in [("total", order.gross), ("refunded amount", order.refunded)] {
        if amount < Money::ZERO {
            return reject(format!("its {what} {} is negative", amount.to_decimal(order.currency)));
        }
    }
    for (what, at) in [
        ("order date", Some(order.ordered_at)),
        ("creation date", order.created_at),
        ("cancellation date", order.cancelled_at),
        ("update time", order.updated_at),
    ] {
        check_date(what, at, now)?;
    }
    order.person.as_ref().map_or(Ok(()), |person| people::check_person(person, now))
}

/// Takes an order's state, unless a newer one is known, and what it says about its customer;
/// brings the counters of everybody concerned up to date. A live one that is its customer's first
/// becomes an event.
///
/// An order without `updated_at` (from a file) may be inserted, and replaces only rows that came
/// from files.
///
/// # Errors
/// [`LedgerError::Rejected`] as [`check_order`], or when the customer's total passes what an
/// integer holds; the caller then undoes what was written.
pub fn apply_order(tx: &Transaction<'_>, rules: &Rules, order: &Order, now: Timestamp) -> Result<Applied, LedgerError> {
    check_order(order, rules, now)?;
    let mut touched = Vec::new();
    let applied = apply(tx, rules, &Tombstones::load(tx)?, order, now, &mut touched)?;
    // Who had none before, and may have their first now: for everyone else nothing is asked.
    let beginner = match applied.owner {
        Some(owner) if touched.contains(&owner) && first_order::is_live(order, now) => {
            (first_order::count(tx, owner)? == 0).then_some(owner)
        }
        _ => None,
    };
    recompute(tx, &touched)?;
    if let Some(owner) = beginner {
        first_order::tell(tx, order, owner, now)?;
    }
    Ok(applied)
}

/// [`apply_order`] of a checked order, but for the counters: whose are to be recomputed is added to
/// `touched`.
pub(super) fn apply(
    tx: &Transaction<'_>,
    rules: &Rules,
    tombstones: &Tombstones,
    order: &Order,
    now: Timestamp,
    touched: &mut Vec<i64>,
) -> Result<Applied, LedgerError> {
    // Also of a stale order: the person it names exists, and their fields have versions of their own.
    let placed = match &order.person {
        Some(person) => people::place(tx, rules, tombstones, person, teller(order), now)?,
        None => None,
    };
    let change =
        Shelf::new(tx, rules, now, false)?.settle(order, placed.as_ref(), |customer| touched.push(customer))?;
    Ok(answer(change, placed.as_ref()))
}

/// Who tells of the person an order names.
pub(super) const fn teller(order: &Order) -> Teller {
    if order.updated_at.is_some() { Teller::Message } else { Teller::OrderInFile }
}

/// What is answered about an order and the person it names.
pub(super) fn answer(order: Change, placed: Option<&Placed>) -> Applied {
    Applied {
        order,
        customer: placed.map(|placed| placed.change),
        customer_id: placed.map(|placed| placed.id),
        owner: placed.map(|placed| placed.owner),
    }
}

/// Where orders are stored, one after the other.
pub(super) struct Shelf<'a> {
    tx: &'a Transaction<'a>,
    rules: &'a Rules,
    now: Timestamp,
    insert: CachedStatement<'a>,
    /// What the columns that rarely change hold in the statement.
    bound: Option<(Source, OrderStatus, Currency, Origin, bool)>,
    /// A guess from the order before: one that is new indeed need not be looked for before it is stored.
    /// The outcome does not depend on it.
    likely_new: bool,
}

impl<'a> Shelf<'a> {
    pub fn new(tx: &'a Transaction<'a>, rules: &'a Rules, now: Timestamp, likely_new: bool) -> rusqlite::Result<Self> {
        let insert = tx.prepare_cached(
            "INSERT INTO orders (source, status, currency, origin, historical, received_at, source_id, customer_id,
               customer_ref, email, email_key, name, is_test, gross, current, outstanding, refunded, net, counted,
               ordered_at, created_at, cancelled_at, source_updated_at, triggered_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)
             ON CONFLICT (source_id, source) DO NOTHING",
        )?;
        Ok(Self { tx, rules, now, insert, bound: None, likely_new })
    }

    /// Takes an order's state unless a newer one is known, for the person it names; whose counters are to
    /// be recomputed is told to `touch`.
    pub fn settle(
        &mut self,
        order: &Order,
        placed: Option<&Placed>,
        mut touch: impl FnMut(i64),
    ) -> Result<Change, LedgerError> {
        let mut state = State::of(order, self.rules);
        if placed.is_some_and(|placed| placed.erased) {
            state.email = None;
        }
        let owner = placed.map(|placed| placed.owner);
        if let Some(name) =
            order.name.as_deref().filter(|name| order.source == Source::Shopify && *name != order.source_id)
        {
            self.adopt(name, &order.source_id)?;
        }
        let mut is_new = self.likely_new && self.insert(order, &state, owner)?;
        if !is_new {
            if let Some(known) = find(self.tx, order.source, &order.source_id)? {
                self.likely_new = false;
                // A shop that forgot somebody names nobody in their orders any more.
                let owner = match (owner, known.customer) {
                    (None, Some(customer)) if erase::is_erased(self.tx, customer)? => Some(customer),
                    _ => owner,
                };
                return update(self.tx, order, state, owner, &known, self.now, touch);
            }
            is_new = self.insert(order, &state, owner)?;
        }
        self.likely_new = is_new;
        if let Some(owner) = owner.filter(|_| state.counted) {
            touch(owner);
        }
        Ok(Change::New)
    }

    /// An export without ids knew this order by its name: from now on it goes by its id.
    fn adopt(&self, name: &str, source_id: &str) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE OR IGNORE orders SET source_id = ?2 WHERE source_id = ?1 AND source = 'shopify' AND origin = 'csv'",
            )?
            .execute([name, source_id])?;
        Ok(())
    }

    /// Stores an order; `false`: it is stored already, and nothing was done.
    fn insert(&mut self, order: &Order, state: &State<'_>, owner: Option<i64>) -> rusqlite::Result<bool> {
        let status = state.status();
        let common = (order.source, status, order.currency, order.origin, order.historical);
        let statement = &mut self.insert;
        if self.bound != Some(common) {
            statement.raw_bind_parameter(1, order.source)?;
            statement.raw_bind_parameter(2, status)?;
            statement.raw_bind_parameter(3, order.currency.code())?;
            statement.raw_bind_parameter(4, order.origin)?;
            statement.raw_bind_parameter(5, order.historical)?;
            statement.raw_bind_parameter(6, self.now)?;
            self.bound = Some(common);
        }
        statement.raw_bind_parameter(7, &order.source_id)?;
        statement.raw_bind_parameter(8, owner)?;
        statement.raw_bind_parameter(9, state.customer_ref.as_deref())?;
        statement.raw_bind_parameter(10, state.email.as_deref())?;
        statement.raw_bind_parameter(11, state.email.as_deref().and_then(email_key).as_deref())?;
        statement.raw_bind_parameter(12, state.name.as_deref())?;
        statement.raw_bind_parameter(13, state.is_test)?;
        statement.raw_bind_parameter(14, state.gross)?;
        statement.raw_bind_parameter(15, state.current.map(|money| money.0))?;
        statement.raw_bind_parameter(16, state.outstanding.map(|money| money.0))?;
        statement.raw_bind_parameter(17, state.refunded)?;
        statement.raw_bind_parameter(18, state.net)?;
        statement.raw_bind_parameter(19, state.counted)?;
        statement.raw_bind_parameter(20, state.ordered_at)?;
        statement.raw_bind_parameter(21, state.created_at)?;
        statement.raw_bind_parameter(22, state.cancelled_at)?;
        statement.raw_bind_parameter(23, order.updated_at)?;
        statement.raw_bind_parameter(24, order.triggered_at)?;
        Ok(statement.raw_execute()? > 0)
    }
}

fn update(
    tx: &Transaction<'_>,
    order: &Order,
    mut state: State<'_>,
    mut owner: Option<i64>,
    known: &Known,
    now: Timestamp,
    touch: impl FnMut(i64),
) -> Result<Change, LedgerError> {
    if order.updated_at.is_none() && known.version.0.is_none() && !known.deleted {
        state.keep_untold(order, &known.state);
        if order.person.is_none() {
            owner = known.customer;
        }
    }
    state.counted &= !known.deleted;
    let historical = known.historical || (order.historical && order.updated_at.is_some());
    match compare(order, &state, known) {
        Ordering::Less | Ordering::Equal if historical != known.historical => {
            tx.prepare_cached("UPDATE orders SET historical = 1 WHERE id = ?1")?.execute([known.id])?;
        }
        Ordering::Less | Ordering::Equal => {}
        Ordering::Greater => {
            store(tx, order, &state, owner, historical, known.id, now)?;
            if owner != known.customer || !state.counts_like(&known.state) {
                [known.customer, owner].into_iter().flatten().for_each(touch);
            }
        }
    }
    Ok(match compare(order, &state, known) {
        Ordering::Less => Change::Stale,
        Ordering::Greater if state != known.state => Change::Updated,
        Ordering::Equal | Ordering::Greater => Change::Unchanged,
    })
}

/// Whether what `order` says is later than what is known.
fn compare(order: &Order, state: &State<'_>, known: &Known) -> Ordering {
    let unseen = known.state.ordered_at.is_none(); // deleted before it was seen
    if order.updated_at.is_some() {
        let told = version(order.updated_at, order.triggered_at);
        return told.cmp(&known.version).then_with(|| state.cmp(&known.state));
    }
    let from_file = known.version.0.is_none() && (unseen || matches!(known.origin, Origin::Csv));
    match (from_file, *state == known.state) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater, // of two files the one imported last
        (false, _) => Ordering::Less,
    }
}

/// Marks an order as deleted in the shop, for good; one never seen leaves a tombstone. Where shops have a bin the
/// latest deletion counts, and one that is told late gives way to a state that came and was made after it.
///
/// # Errors
/// Only those of the database.
pub fn delete_order(
    tx: &Transaction<'_>,
    rules: &Rules,
    source: Source,
    source_id: &str,
    at: Timestamp,
    now: Timestamp,
) -> Result<Change, LedgerError> {
    let Some(known) = find(tx, source, source_id)? else {
        tx.prepare_cached(
            "INSERT INTO orders (source, source_id, status, currency, gross, net, counted, deleted_at, origin, received_at)
             VALUES (?1, ?2, 'unknown', ?3, 0, 0, 0, ?4, 'webhook', ?5)",
        )?
        .execute(params![source, source_id, rules.currency.code(), at, now])?;
        return Ok(Change::New);
    };
    let has_bin = has_bin(source);
    if has_bin && at < now && is_told_since(tx, known.id, at)? {
        return Ok(Change::Stale);
    }
    tx.prepare_cached(if has_bin {
        "UPDATE orders SET deleted_at = max(coalesce(deleted_at, ?2), ?2), counted = 0 WHERE id = ?1"
    } else {
        "UPDATE orders SET deleted_at = min(coalesce(deleted_at, ?2), ?2), counted = 0 WHERE id = ?1"
    })?
    .execute(params![known.id, at])?;
    if known.state.counted {
        recompute(tx, known.customer.as_slice())?;
    }
    Ok(if known.deleted { Change::Unchanged } else { Change::Updated })
}

/// Whether an order is known by a living state that came and was made after `at`, by the shop's clock and by ours.
fn is_told_since(tx: &Transaction<'_>, id: i64, at: Timestamp) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT 1 FROM orders WHERE id = ?1 AND source_updated_at > ?2 AND received_at > ?2 AND status <> 'cancelled'",
    )?
    .exists(params![id, at])
}

fn find(tx: &Transaction<'_>, source: Source, source_id: &str) -> rusqlite::Result<Option<Known>> {
    tx.prepare_cached(
        "SELECT id, customer_id, source_updated_at, triggered_at, deleted_at, origin, historical,
           cancelled_at, refunded, status, current, outstanding, gross, net, counted, is_test,
           ordered_at, created_at, customer_ref, email, name, currency
         FROM orders WHERE source_id = ?1 AND source = ?2",
    )?
    .query_row(params![source_id, source], read)
    .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        id: row.get(0)?,
        customer: row.get(1)?,
        version: version(row.get(2)?, row.get(3)?),
        deleted: row.get::<_, Option<Timestamp>>(4)?.is_some(),
        origin: row.get(5)?,
        historical: row.get(6)?,
        state: State {
            cancelled_at: row.get(7)?,
            refunded: row.get(8)?,
            progress: progress(row.get(9)?),
            current: row.get::<_, Option<Money>>(10)?.map(Reverse),
            outstanding: row.get::<_, Option<Money>>(11)?.map(Reverse),
            gross: row.get(12)?,
            net: row.get(13)?,
            counted: row.get(14)?,
            is_test: row.get(15)?,
            ordered_at: row.get(16)?,
            created_at: row.get(17)?,
            customer_ref: text(row, 18)?,
            email: text(row, 19)?,
            name: text(row, 20)?,
            currency: row.get::<_, String>(21)?.into(),
        },
    })
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Cow<'static, str>>> {
    Ok(row.get::<_, Option<String>>(column)?.map(Cow::Owned))
}

fn store(
    tx: &Transaction<'_>,
    order: &Order,
    state: &State<'_>,
    owner: Option<i64>,
    historical: bool,
    id: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE orders SET customer_id = ?2, customer_ref = ?3, email = ?4, email_key = ?5, name = ?6, status = ?7, is_test = ?8,
           currency = ?9, gross = ?10, current = ?11, outstanding = ?12, refunded = ?13, net = ?14, counted = ?15,
           ordered_at = ?16, created_at = ?17, cancelled_at = ?18, source_updated_at = ?19, triggered_at = ?20,
           origin = ?21, historical = ?22, received_at = ?23
         WHERE id = ?1",
    )?
    .execute(params![
        id,
        owner,
        state.customer_ref,
        state.email,
        state.email.as_deref().and_then(email_key),
        state.name,
        state.status(),
        state.is_test,
        state.currency,
        state.gross,
        state.current.map(|money| money.0),
        state.outstanding.map(|money| money.0),
        state.refunded,
        state.net,
        state.counted,
        state.ordered_at,
        state.created_at,
        state.cancelled_at,
        order.updated_at,
        order.triggered_at,
        order.origin,
        historical,
        now,
    ])?;
    Ok(())
}
