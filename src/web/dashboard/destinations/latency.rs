//! How fast destinations answer, from the newest deliveries.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// Deliveries that are looked at, of all destinations together: the page is as fast after years.
const LOOKED_AT: i64 = 1_000;

/// Medians in milliseconds; `None`: nothing was delivered to it among the newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// From the request to the end of its answer.
    pub answers: Option<i64>,
    /// From the change being queued to the tool having taken it.
    pub arrives: Option<i64>,
}

/// By destination.
pub fn of_newest(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Latency>> {
    let mut select = connection.prepare_cached(
        "SELECT d.destination, d.finished_at - d.created_at,
           (SELECT a.duration_ms FROM attempts a WHERE a.delivery_id = d.id ORDER BY a.number DESC LIMIT 1)
         FROM deliveries d INDEXED BY deliveries_state WHERE d.state = 'delivered' ORDER BY d.id DESC LIMIT ?1",
    )?;
    let mut rows = select.query([LOOKED_AT])?;
    let mut times: BTreeMap<String, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (answers, arrives) = times.entry(row.get(0)?).or_default();
        arrives.extend(row.get::<_, Option<i64>>(1)?);
        answers.extend(row.get::<_, Option<i64>>(2)?);
    }
    let medians = |(name, (answers, arrives))| (name, Latency { answers: median(answers), arrives: median(arrives) });
    Ok(times.into_iter().map(medians).collect())
}

/// The lower one of two in the middle.
fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, middle) in [(vec![], None), (vec![7], Some(7)), (vec![9, 1], Some(1)), (vec![5, 900, 1], Some(5))]
        {
            assert_eq!(median(values), middle);
        }
    }
}
