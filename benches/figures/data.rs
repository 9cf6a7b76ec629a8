//! A made-up shop: n customers, 4n orders over two years, a few customers with most of them.

use std::path::Path;

use quintile::{db::Database, model::Timestamp};
use rusqlite::{Connection, params};

/// The last order of the generated shop is at most here: 1 June 2026.
pub const END: Timestamp = Timestamp::from_millis(1_780_272_000_000);
const TWO_YEARS: u64 = 730 * 86_400;

/// Steele, Lea, Flood 2014: `SplitMix64`.
pub struct Random(pub u64);

impl Random {
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Makes the shop at `path`.
pub fn make(path: &Path, customers: u64) -> anyhow::Result<()> {
    drop(Database::open(path, "bench")?);
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA foreign_keys = OFF")?;
    let tx = connection.transaction()?;
    {
        let mut insert = tx.prepare(
            "INSERT INTO customers (id, source, external_id, email, email_key, first_name, last_name, created_at)
             VALUES (?1, 'shopify', ?2, ?3, ?3, ?4, ?5, ?6)",
        )?;
        for id in 1..=customers {
            let (first, last) = (format!("Anna{}", id % 977), format!("Muster{}", id % 1361));
            let email = format!("customer{id}@example.com");
            insert.execute(params![id, (7_000_000 + id).to_string(), email, first, last, END])?;
        }
        let mut random = Random(customers);
        let mut insert = tx.prepare(INSERT_ORDER)?;
        for id in 1..=customers * 4 {
            // Everyone once; the rest mostly by the first of them.
            let owner = if id <= customers {
                id
            } else {
                let place = random.below(customers);
                1 + u64::try_from(u128::from(place) * u128::from(random.below(customers)) / u128::from(customers))?
            };
            let seconds = i64::try_from(random.below(TWO_YEARS))?;
            let at = END.plus_millis(-seconds * 1000);
            order(&mut insert, id, owner, 500 + random.below(30_000), at)?;
        }
    }
    tx.execute_batch(RECOUNT)?;
    tx.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

const INSERT_ORDER: &str =
    "INSERT INTO orders (source, source_id, customer_id, customer_ref, email, email_key, name, status, currency, gross,
       current, net, counted, ordered_at, created_at, source_updated_at, origin, historical, received_at)
     VALUES ('shopify', ?1, ?2, ?3, ?4, ?4, ?5, 'paid', 'EUR', ?6, ?6, ?6, 1, ?7, ?7, ?7, 'webhook', 0, ?7)";

const RECOUNT: &str =
    "UPDATE customers SET (order_count, total_spent, avg_order_value, first_order_at, last_order_at) =
       (SELECT count(*), coalesce(sum(net), 0), coalesce(sum(net) / count(*), 0), min(ordered_at), max(ordered_at)
        FROM orders WHERE customer_id = customers.id AND counted = 1)";

/// Recomputes the counters of customer `?1`.
fn recount_one() -> String {
    format!("{RECOUNT} WHERE id = ?1")
}

fn order(insert: &mut rusqlite::Statement<'_>, id: u64, owner: u64, cents: u64, at: Timestamp) -> anyhow::Result<()> {
    insert.execute(params![
        (5_000_000_000 + id).to_string(),
        owner,
        (7_000_000 + owner).to_string(),
        format!("customer{owner}@example.com"),
        format!("#{id}"),
        cents,
        at
    ])?;
    Ok(())
}

/// A day in the shop: one customer in a hundred orders, which moves about three in a hundred.
/// `day` 1 is the day after [`END`].
pub fn live_a_day(path: &Path, day: i64) -> anyhow::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA foreign_keys = OFF")?;
    let tx = connection.transaction()?;
    {
        let customers: u64 = tx.query_row("SELECT max(id) FROM customers", [], |row| row.get(0))?;
        let orders: u64 = tx.query_row("SELECT max(id) FROM orders", [], |row| row.get(0))?;
        let mut random = Random(day.unsigned_abs());
        let mut insert = tx.prepare(INSERT_ORDER)?;
        let mut recount = tx.prepare(&recount_one())?;
        for number in 1..=customers / 100 {
            let owner = 1 + random.below(customers);
            let at = END.plus_millis((day - 1) * Timestamp::DAY + i64::try_from(random.below(86_400_000))?);
            order(&mut insert, orders + number, owner, 500 + random.below(30_000), at)?;
            recount.execute([owner])?;
        }
    }
    tx.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}
