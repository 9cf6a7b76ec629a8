//! Ranking against what is in force: one pass over everyone, in one read snapshot and without a
//! write lock, that leaves the list of what changed and the statistics.

use rusqlite::{Connection, Row, types::ValueRef};

use super::{
    Progress, Settings, Step,
    changes::{Action, Change, Changes},
    cuts::{ByCuts, Cuts},
    names::Names,
    segment::Scheme,
    sql::{Parameters, Part},
    standing::{Standing, Standings, integer},
    statistics::Statistics,
};
use crate::{model::Timestamp, outbox::Cause};

/// Shops of at most so many customers are ranked by the window functions of `score.sql`
/// themselves: a quarter of a second. Beyond, `cuts` finds the same cut values without sorting, eight
/// times faster at 1,000,000.
const RANKED_IN_SQL: i64 = 50_000;
/// Customers between two reports of progress.
const REPORT_EVERY: u64 = 10_000;

/// What the run compares with, beside the scores in force.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// As-of of the latest run that changed customers; `None`: there was none.
    pub as_of: Option<Timestamp>,
    /// Nobody has scores yet: everyone is new.
    pub baseline: bool,
    /// The segment rules are others than those of the run before.
    pub remap: bool,
    /// Only the statistics are wanted.
    pub statistics_only: bool,
}

/// What one pass found.
#[derive(Debug, Default)]
pub struct Comparison {
    pub statistics: Statistics,
    pub changes: Changes,
    /// Changes of segment: events to write.
    pub moved: u64,
}

/// How customers get their scores.
enum Ranking<'s> {
    /// From `score.sql`, row by row.
    Windows(rusqlite::Rows<'s>),
    Cuts(Box<ByCuts>),
    Nobody,
}

/// `gone` of a customer who was deleted or erased.
const LEFT: ValueRef<'static> = ValueRef::Integer(1);
/// `gone` of a customer who was merged into another.
const MERGED: ValueRef<'static> = ValueRef::Integer(2);

/// One customer at the run's as-of.
struct Now {
    merged: bool,
    /// Deleted or erased.
    left: bool,
    standing: Standing,
    /// `None`: is not ranked.
    scores: Option<[u8; 3]>,
}

/// The scores in force of one customer.
struct InForce<'a> {
    scores: Option<[u8; 3]>,
    segment: Option<&'a str>,
    order_count: i64,
    total_spent: i64,
}

/// Ranks everyone at `parameters.as_of` and compares. `snapshot` must be in a read transaction.
pub fn compare(
    snapshot: &Connection,
    parameters: &Parameters,
    settings: &Settings,
    before: &Before,
    progress: &dyn Progress,
) -> rusqlite::Result<Comparison> {
    let customers: i64 = snapshot.query_row("SELECT coalesce(max(id), 0) FROM customers", [], |row| row.get(0))?;
    progress.begin(Step::Rank, customers.unsigned_abs());
    let mut quintiles;
    let ranking = if customers <= settings.ranked_in_sql.unwrap_or(RANKED_IN_SQL) {
        quintiles = parameters.prepare(snapshot, Part::Quintiles)?;
        Ranking::Windows(quintiles.raw_query())
    } else {
        Cuts::find(snapshot, parameters, customers)?
            .map_or(Ranking::Nobody, |cuts| Ranking::Cuts(Box::new(ByCuts::new(cuts, parameters.ties))))
    };
    walk(snapshot, parameters, &settings.scheme, before, ranking, progress)
}

fn walk(
    snapshot: &Connection,
    parameters: &Parameters,
    scheme: &Scheme,
    before: &Before,
    mut ranking: Ranking<'_>,
    progress: &dyn Progress,
) -> rusqlite::Result<Comparison> {
    let mut found = Comparison::default();
    let mut statement = parameters.prepare(snapshot, Part::Standing)?;
    let mut rows = statement.raw_query();
    let mut standings = Standings::prepare(snapshot, parameters)?;
    let names = Names::load(snapshot)?;
    let mut walked = 0;
    while let Some(row) = rows.next()? {
        walked += 1;
        if walked % REPORT_EVERY == 0 {
            progress.advance(walked);
        }
        let standing = standings.read(row)?;
        let gone = row.get_ref(5)?;
        let ranked = gone == ValueRef::Null && (standing.recency.is_some() || parameters.include_without_orders);
        let scores = if ranked { Some(ranking.scores(row, &standing)?) } else { None };
        if let Some(scores) = scores {
            let values = [standing.recency, Some(standing.frequency), Some(standing.monetary)];
            found.statistics.add(scores, values, standing.total_spent);
        }
        if before.statistics_only {
            continue;
        }
        let in_force = in_force(row, &names)?;
        let now = Now { merged: gone == MERGED, left: gone == LEFT, standing, scores };
        if let Some(mut change) = decide(&now, in_force.as_ref(), scheme, before) {
            change.customer_id = integer(row, 0)?;
            found.moved += u64::from(change.moved());
            found.changes.push(&change);
        }
    }
    progress.advance(walked);
    Ok(found)
}

impl Ranking<'_> {
    /// Scores of a ranked customer; called for each of them by ascending id.
    fn scores(&mut self, customer: &Row<'_>, standing: &Standing) -> rusqlite::Result<[u8; 3]> {
        match self {
            Self::Windows(rows) => {
                let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                debug_assert_eq!(row.get_ref(0)?, customer.get_ref(0)?, "both statements go by id");
                Ok([row.get(1)?, row.get(2)?, row.get(3)?])
            }
            Self::Cuts(cuts) => Ok(cuts.next(standing.recency, standing.frequency, standing.monetary)),
            Self::Nobody => Err(rusqlite::Error::QueryReturnedNoRows),
        }
    }
}

/// What becomes of one customer's row; `None`: it stays as it is. The caller fills in the id, which
/// is not read for the many who stay.
fn decide<'a>(now: &Now, in_force: Option<&InForce<'a>>, scheme: &'a Scheme, before: &Before) -> Option<Change<'a>> {
    let Standing { order_count, total_spent, .. } = now.standing;
    let old = in_force.and_then(|row| row.segment);
    let new = now.scores.map(|scores| scheme.segment_of(scores).name.as_str());
    let counters_differ = in_force.is_some_and(|row| row.order_count != order_count || row.total_spent != total_spent);
    let action = match in_force {
        Some(_) if now.merged => Action::Remove,
        None if now.scores.is_none() => return None,
        None => Action::Insert,
        Some(row) if row.scores != now.scores || old != new => Action::Update,
        Some(_) if counters_differ => Action::Remember,
        Some(_) => return None,
    };
    let cause = if before.baseline { Cause::Baseline } else { cause(now, in_force, scheme, before) };
    Some(Change { customer_id: 0, action, old, scores: now.scores, new, cause, order_count, total_spent })
}

/// Why the customer changes. Of those who are still there the rules come first: what they alone
/// would have changed is theirs.
fn cause(now: &Now, in_force: Option<&InForce<'_>>, scheme: &Scheme, before: &Before) -> Cause {
    let standing = &now.standing;
    let (count, spent) = in_force.map_or((0, 0), |row| (row.order_count, row.total_spent));
    let by_rules_alone = in_force.and_then(|row| row.scores).map(|old| &scheme.segment_of(old).name)
        == now.scores.map(|new| &scheme.segment_of(new).name);
    let ordered_since = standing.recency.zip(before.as_of).is_some_and(|(at, run)| at > run.millis());
    if now.left {
        // None of their orders counts any more, whatever their counters say. The others did not
        // push them out, and as an order it would start a thank-you for somebody who is gone.
        Cause::Refund
    } else if before.remap && now.scores.is_some() && by_rules_alone {
        Cause::Remap
    } else if standing.order_count > count || ordered_since {
        Cause::Order
    } else if standing.order_count < count || standing.total_spent < spent {
        Cause::Refund
    } else if standing.total_spent > spent {
        Cause::Order // paid in full, or changed for more
    } else {
        Cause::Ranking
    }
}

/// Columns 6 to 11; `None`: was never ranked.
fn in_force<'n>(row: &Row<'_>, names: &'n Names) -> rusqlite::Result<Option<InForce<'n>>> {
    let ValueRef::Integer(order_count) = row.get_ref(6)? else { return Ok(None) };
    let segment = match row.get_ref(8)? {
        ValueRef::Integer(number) => {
            // A file that was changed by hand, or is damaged.
            Some(names.of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(8, number))?)
        }
        _ => None,
    };
    let scores = match row.get_ref(9)? {
        ValueRef::Integer(r) => {
            Some([r, integer(row, 10)?, integer(row, 11)?].map(|score| u8::try_from(score).unwrap_or_default()))
        }
        _ => None,
    };
    Ok(Some(InForce { scores, segment, order_count, total_spent: integer(row, 7)? }))
}
