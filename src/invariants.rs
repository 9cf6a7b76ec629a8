//! What must be true of every quintile database at any moment between two transactions, as SQL.
//! `quintile check --deep` and the integration tests ask all of it; nothing here writes.

use rusqlite::Connection;

/// A sentence, and a query whose every row breaks it, told as one text.
struct Invariant {
    says: &'static str,
    broken_by: &'static str,
}

/// Rows of one broken invariant that are quoted.
const QUOTED: usize = 3;

const INVARIANTS: &[Invariant] = &[
    Invariant {
        says: "a customer's counters are those of their orders",
        broken_by: "
            WITH real AS (
              SELECT customer_id, count(*) AS n, sum(net) AS spent, min(ordered_at) AS first, max(ordered_at) AS last
                FROM orders WHERE counted = 1 AND customer_id IS NOT NULL GROUP BY customer_id),
            expected AS (
              SELECT c.*, coalesce(n, 0) AS n, coalesce(spent, 0) AS spent, first, last,
                     CASE WHEN n > 0  -- half to even
                          THEN spent / n + (2 * (spent % n) > n OR (2 * (spent % n) = n AND spent / n % 2 = 1))
                          ELSE 0 END AS average
                FROM customers AS c LEFT JOIN real ON real.customer_id = c.id)
            SELECT CASE
                   WHEN order_count <> n OR total_spent <> spent
                     THEN format('customer %d has %d orders worth %d, its row says %d and %d', id, n, spent, order_count, total_spent)
                   WHEN avg_order_value <> average
                     THEN format('customer %d has orders worth %d each, its row says %d', id, average, avg_order_value)
                   ELSE format('customer %d has orders from %Q to %Q, its row says %Q to %Q', id,
                               strftime('%Y-%m-%dT%H:%M:%fZ', first / 1000.0, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', last / 1000.0, 'unixepoch'),
                               strftime('%Y-%m-%dT%H:%M:%fZ', first_order_at / 1000.0, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', last_order_at / 1000.0, 'unixepoch')) END
              FROM expected
             WHERE order_count <> n OR total_spent <> spent OR avg_order_value <> average
                OR first_order_at IS NOT first OR last_order_at IS NOT last",
    },
    Invariant {
        says: "a merged customer holds no orders",
        broken_by: "
            SELECT format('order %d belongs to customer %d', orders.id, customers.id)
              FROM orders JOIN customers ON customers.id = orders.customer_id WHERE merged_into IS NOT NULL",
    },
    Invariant {
        says: "who was erased has no name, and nothing that was sent about them is kept",
        broken_by: "
            SELECT format('customer %d', id) FROM customers
             WHERE redacted_at IS NOT NULL
               AND coalesce(email, email_key, first_name, last_name, phone, consent, tags) IS NOT NULL
             UNION ALL
            SELECT format('delivery %d', d.id)
              FROM deliveries AS d JOIN outbox AS o ON o.seq = d.seq JOIN customers AS c ON c.id = o.customer_id
             WHERE d.body IS NOT NULL AND d.events = 1 AND c.redacted_at IS NOT NULL AND o.type <> 'customer/redacted'",
    },
    Invariant {
        says: "a run scored everyone or nobody",
        broken_by: "
            SELECT format('run %d scored %d customers, its segments hold %d', id, scored, held)
              FROM (SELECT id, scored, scored_at,
                           (SELECT coalesce(sum(customers), 0) FROM run_segments WHERE run_id = runs.id) AS held
                      FROM runs)
             WHERE held <> iif(scored_at IS NULL, 0, scored)
             UNION ALL
            SELECT format('run %d scored %d customers, its cells hold %d', id, scored, held)
              FROM (SELECT id, scored, (SELECT sum(customers) FROM run_cells WHERE run_id = runs.id) AS held FROM runs)
             WHERE held <> scored",
    },
    Invariant {
        says: "a run has scored when its state says so",
        broken_by: "
            SELECT format('run %d is %s', id, state) FROM runs
             WHERE (scored_at IS NULL) <> (state IN ('scoring', 'failed')) OR (emitted_at IS NULL) = (state = 'done')",
    },
    Invariant {
        says: "what a run changed, its history and its events are the same",
        broken_by: "
            WITH moved AS (SELECT run_id, customer_id, segment FROM history WHERE moved = 1),
            told AS (SELECT run_id, customer_id, new_segment AS segment FROM outbox
                      WHERE type = 'rfm/segment.changed'),
            differs AS (
              SELECT * FROM (SELECT * FROM moved EXCEPT SELECT * FROM told)
               UNION ALL SELECT * FROM (SELECT * FROM told EXCEPT SELECT * FROM moved))
            SELECT format('run %d and customer %d', run_id, customer_id) FROM differs
             UNION ALL
            SELECT format('run %d changed %d customers and has %d events', id, changed, events)
              FROM (SELECT id, changed, (SELECT count(*) FROM told WHERE run_id = runs.id) AS events FROM runs)
             WHERE changed <> events
             UNION ALL
            SELECT format('run %d changed %d customers, of whom %d moved', id, changed, moves)
              FROM (SELECT id, changed, (SELECT sum(customers) FROM run_moves WHERE run_id = runs.id) AS moves FROM runs)
             WHERE changed <> moves",
    },
    Invariant {
        // Not by a foreign key, which is looked up for each row: that took a twentieth of the write lock of a
        // night, and a tenth of a first run. The same goes for the next one.
        says: "whom events and scores are about is there",
        broken_by: "
            SELECT format('event %d, customer %d', seq, customer_id) FROM outbox
             WHERE customer_id IS NOT NULL AND customer_id NOT IN (SELECT id FROM customers)
             UNION ALL
            SELECT format('scores of customer %d', customer_id) FROM customer_scores
             WHERE customer_id NOT IN (SELECT id FROM customers)",
    },
    Invariant {
        says: "the runs that events and the history tell of are there",
        broken_by: "
            SELECT format('run %d of event %d', run_id, seq) FROM outbox
             WHERE run_id IS NOT NULL AND run_id NOT IN (SELECT id FROM runs)
             UNION ALL
            SELECT format('run %d of the history', run_id) FROM history
             WHERE run_id NOT IN (SELECT id FROM runs) GROUP BY run_id",
    },
    Invariant {
        says: "a run's events are those from its first to its last",
        broken_by: "
            SELECT format('run %d, event %d', outbox.run_id, seq)
              FROM outbox JOIN runs ON runs.id = outbox.run_id
             WHERE (seq BETWEEN first_seq AND last_seq) IS NOT TRUE
             UNION ALL
            SELECT format('run %d has %d of its %d events', id, found, last_seq - first_seq + 1)
              FROM (SELECT *, (SELECT count(*) FROM outbox WHERE seq BETWEEN first_seq AND last_seq) AS found FROM runs)
             WHERE found <> last_seq - first_seq + 1",
    },
    Invariant {
        // Those that one run tells of a customer have one time. Only what is older than any before it is
        // compared with its customer's: there is none in a good file, and nothing is sorted.
        says: "a customer's events are in the order of time",
        broken_by: "
            WITH late AS MATERIALIZED (
              SELECT seq, customer_id, at
                FROM (SELECT seq, customer_id, at,
                             max(at) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest
                        FROM outbox)
               WHERE at < newest)
            SELECT format('event %d is older than %d', late.seq, max(earlier.seq))
              FROM late JOIN outbox AS earlier
                ON earlier.customer_id = late.customer_id AND earlier.seq < late.seq AND earlier.at > late.at
             GROUP BY late.seq",
    },
    Invariant {
        // They are found by that: see outbox::about.
        says: "a run's events of one type are in the order of its customers",
        broken_by: "
            SELECT format('run %d, event %d', b.run_id, b.seq)
              FROM outbox AS b JOIN outbox AS a ON a.seq = b.seq - 1
             WHERE a.run_id = b.run_id AND a.type = b.type AND b.customer_id < a.customer_id",
    },
    Invariant {
        says: "the scores in force are the last ones of the history",
        broken_by: "
            WITH last AS MATERIALIZED (
              SELECT customer_id, max(run_id) AS run_id, max(iif(moved, run_id, NULL)) AS moved_in
                FROM history GROUP BY customer_id)
            SELECT format('customer %d', s.customer_id)
              FROM customer_scores AS s
              LEFT JOIN segments AS g ON g.id = s.segment_id
              LEFT JOIN last AS l ON l.customer_id = s.customer_id
              LEFT JOIN history AS h ON h.run_id = l.run_id AND h.customer_id = s.customer_id
             WHERE h.run_id IS NULL
                OR (s.r, s.f, s.m, g.name, s.segment_run) IS NOT (h.r, h.f, h.m, h.segment, l.moved_in)
             UNION ALL
            SELECT format('customer %d has none', customer_id) FROM last  -- who was merged is not scored any more
             WHERE customer_id NOT IN (SELECT customer_id FROM customer_scores)
               AND NOT EXISTS (SELECT 1 FROM customers WHERE id = customer_id AND merged_into IS NOT NULL)",
    },
    Invariant {
        says: "at most one run is open",
        broken_by: "
            SELECT format('%d runs are', count(*)) FROM runs WHERE state = 'scoring' AND trigger <> 'backfill'
            HAVING count(*) > 1",
    },
    Invariant {
        says: "a night is scored once",
        // Not by the index that sees to it, which may be what is wrong.
        broken_by: "
            SELECT format('%d runs are of %s', count(*), slot) FROM runs NOT INDEXED
             WHERE slot IS NOT NULL GROUP BY slot HAVING count(*) > 1",
    },
    Invariant {
        says: "a run is emitted when its last event is",
        broken_by: "
            SELECT format('run %d', id) FROM runs
             WHERE emitted_at IS NOT NULL AND last_seq IS NOT NULL AND emit_position IS NOT last_seq",
    },
    Invariant {
        says: "an event goes to a destination once",
        broken_by: "
            WITH told AS (
              SELECT seq, destination FROM deliveries WHERE events = 1 AND replay_of IS NULL
               UNION ALL
              SELECT b.seq, destination FROM batched AS b JOIN deliveries AS d ON d.id = b.delivery_id)
            SELECT format('event %d has %d deliveries to %s', seq, count(*), destination)
              FROM told GROUP BY seq, destination HAVING count(*) > 1",
    },
    Invariant {
        // What is put into a batch leaves its id there. Who wants which events is not in the database, so it
        // cannot be asked whether each event that somebody wants has one.
        says: "no delivery is gone",
        broken_by: "
            SELECT format('%d of %d are there', found, newest)
              FROM (SELECT coalesce(max(id), 0) AS newest,
                           count(*) + (SELECT count(*) FROM batched WHERE row_id <> delivery_id) AS found
                      FROM deliveries)
             WHERE found <> newest",
    },
    Invariant {
        says: "a delivery comes after its run got there",
        broken_by: "
            SELECT format('delivery %d of run %d', d.id, d.run_id)
              FROM deliveries AS d JOIN runs ON runs.id = d.run_id
             WHERE (d.seq <= emit_position) IS NOT TRUE",
    },
    Invariant {
        says: "a delivery is finished when its state says so",
        broken_by: "
            SELECT format('delivery %d is %s', id, state) FROM deliveries
             WHERE (finished_at IS NOT NULL) <> (state IN ('delivered', 'dead', 'superseded', 'discarded'))
                OR (state = 'held') <> (hold IS NOT NULL AND finished_at IS NULL)",
    },
    Invariant {
        says: "what is finished is neither due nor claimed",
        broken_by: "
            SELECT format('delivery %d is %s', id, state) FROM deliveries
             WHERE finished_at IS NOT NULL AND (due_at IS NOT NULL OR claim IS NOT NULL)",
    },
    Invariant {
        // An attempt that was answered 2xx and has no error is one that the tool took; whoever sends it once
        // more does so in another message. Of a delivery with spared attempts it is not known: one of
        // several requests may have been taken, and the next one was not made.
        says: "what was taken stays delivered, and is not tried again",
        broken_by: "
            SELECT format('delivery %d is %s after %d attempts, and number %d was taken', id, state, attempts, number)
              FROM attempts JOIN deliveries ON id = delivery_id
             WHERE error IS NULL AND status BETWEEN 200 AND 299 AND spared = 0
               AND (state <> 'delivered' OR number <> attempts)",
    },
    Invariant {
        says: "what is delivered was answered at the last attempt",
        broken_by: "
            SELECT format('delivery %d, attempt %d', id, number)
              FROM deliveries JOIN attempts ON delivery_id = id AND number = deliveries.attempts
             WHERE state = 'delivered' AND status IS NULL",
    },
    Invariant {
        says: "no two messages have one id",
        broken_by: "
            SELECT format('deliveries %s are %s', group_concat(id), hex(message_id))
              FROM deliveries GROUP BY message_id HAVING count(*) > 1",
    },
    Invariant {
        says: "a frozen body tells the events of its delivery",
        broken_by: "
            WITH frozen AS (
              SELECT id, seq, events, CAST(body AS TEXT) AS body FROM deliveries
               WHERE body IS NOT NULL AND json_valid(CAST(body AS TEXT))),
            told AS (
              SELECT id, coalesce(body ->> '$.data.events[0].seq', body ->> '$.seq') IS seq AS mine
                FROM frozen WHERE events = 1
               UNION ALL
              SELECT id, json_array_length(body, '$.data.events') IS events
                         AND NOT EXISTS (SELECT 1 FROM json_each(body, '$.data.events') AS e
                                          WHERE NOT EXISTS (SELECT 1 FROM batched
                                                             WHERE delivery_id = frozen.id AND batched.seq = e.value ->> '$.seq'))
                FROM frozen WHERE events > 1)
            SELECT format('delivery %d', id) FROM told WHERE NOT mine
             UNION ALL
            SELECT format('delivery %d', id) FROM deliveries WHERE body IS NOT NULL AND NOT json_valid(CAST(body AS TEXT))",
    },
    Invariant {
        says: "an event has one id, however often and wherever it is told",
        broken_by: "
            WITH told AS (
              SELECT seq, coalesce(CAST(body AS TEXT) ->> '$.data.events[0].id', CAST(body AS TEXT) ->> '$.id') AS event_id
                FROM deliveries WHERE events = 1 AND body IS NOT NULL AND json_valid(CAST(body AS TEXT))
               UNION ALL
              SELECT e.value ->> '$.seq', e.value ->> '$.id'
                FROM deliveries AS d, json_each(CAST(d.body AS TEXT), '$.data.events') AS e
               WHERE d.events > 1 AND d.body IS NOT NULL AND json_valid(CAST(d.body AS TEXT)))
            SELECT format('event %d is %s and %s', seq, min(event_id), max(event_id))
              FROM told GROUP BY seq HAVING count(DISTINCT event_id) > 1",
    },
    Invariant {
        says: "what is sent again was finished, and is the same event",
        broken_by: "
            SELECT format('delivery %d', d.id) FROM deliveries AS d
             WHERE replay_of IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM deliveries AS o
                                WHERE o.seq = d.seq AND o.id <> d.id AND o.message_id = d.replay_of
                                  AND o.finished_at IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM batched AS b JOIN deliveries AS o ON o.id = b.delivery_id
                                WHERE b.seq = d.seq AND o.message_id = d.replay_of AND o.finished_at IS NOT NULL)",
    },
    Invariant {
        says: "a batch has the events that it says, and nobody's line",
        broken_by: "
            SELECT format('event %d is in delivery %d, one of which there is not', seq, delivery_id) FROM batched
             WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE id = delivery_id)
                OR NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.seq = batched.seq)
             UNION ALL
            SELECT format('delivery %d says %d and has %d', id, events, members)
              FROM (SELECT id, events, customer_id,
                           (SELECT count(*) FROM batched WHERE delivery_id = deliveries.id) AS members
                      FROM deliveries)
             WHERE members <> iif(events > 1, events, 0) OR (events > 1 AND customer_id IS NOT NULL)
             UNION ALL
            SELECT format('delivery %d is back and still in %d', d.id, b.delivery_id)
              FROM batched AS b JOIN deliveries AS d ON d.id = b.row_id WHERE b.row_id <> b.delivery_id",
    },
    Invariant {
        says: "of a customer's open deliveries to a destination one alone is due or sent, and one is unless it is held",
        broken_by: "
            WITH line AS (
              SELECT destination, customer_id, min(id) AS head, sum(due_at IS NOT NULL OR state = 'sending') AS moving
                FROM deliveries
               WHERE finished_at IS NULL AND customer_id IS NOT NULL
                 AND (hold IS NULL OR hold NOT IN ('baseline', 'consent'))  -- stands beside the line
               GROUP BY destination, customer_id)
            SELECT format('delivery %d is %s, and %d of its line are due or sent', id, state, moving)
              FROM line JOIN deliveries ON id = head
             WHERE moving > 1 OR (moving = 0 AND state IN ('waiting', 'retrying'))",
    },
    Invariant {
        // What stood beside the line comes back into it, but not after newer news of its type. Of a batch that
        // was held no line knows, and what it held may come back as well.
        says: "what is delivered had no older news of its customer before it",
        broken_by: "
            WITH open AS MATERIALIZED (
              SELECT id, destination, deliveries.customer_id, type FROM deliveries JOIN outbox USING (seq)
               WHERE finished_at IS NULL AND state <> 'held' AND events = 1 AND replay_of IS NULL)
            SELECT format('delivery %d is delivered, %d is not', min(d.id), open.id)
              FROM open JOIN deliveries AS d ON d.destination = open.destination AND d.customer_id = open.customer_id
              JOIN outbox AS o ON o.seq = d.seq
             WHERE d.id > open.id AND d.state = 'delivered' AND d.events = 1 AND d.replay_of IS NULL AND o.type = open.type
               AND open.destination NOT IN (SELECT destination FROM deliveries WHERE events > 1)
             GROUP BY open.id",
    },
];

/// Every broken invariant, as a sentence with examples; empty when all hold.
///
/// # Errors
/// Those of SQLite while reading.
pub fn violations(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut violations = Vec::new();
    for invariant in INVARIANTS {
        let mut statement = connection.prepare(invariant.broken_by)?;
        let broken: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        if !broken.is_empty() {
            let quoted = broken[..broken.len().min(QUOTED)].join("; ");
            let more = broken.len().saturating_sub(QUOTED);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            violations.push(format!("not true: {}: {quoted}{more}", invariant.says));
        }
    }
    let mut dangling = connection.prepare("PRAGMA foreign_key_check")?;
    let tables: Vec<String> = dangling.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if let Some(table) = tables.first() {
        violations
            .push(format!("not true: every reference leads to a row: {} in {table} or others do not", tables.len()));
    }
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixture of the current schema: one customer, one order, one run, one event, one
    /// delivery.
    fn database() -> Connection {
        let path = format!("{}/tests/fixtures/schema-{}.db", env!("CARGO_MANIFEST_DIR"), crate::db::SCHEMA_VERSION);
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        std::fs::copy(path, &copy).unwrap();
        let mut memory = Connection::open_in_memory().unwrap();
        memory.restore("main", copy, None::<fn(rusqlite::backup::Progress)>).unwrap();
        memory
    }

    #[test]
    fn a_good_database_breaks_none() {
        assert_eq!(violations(&database()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn each_invariant_is_broken_by_what_it_forbids() {
        let delivery =
            "INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, due_at, created_at)
                        VALUES (zeroblob(16), 'b', 1, 1, 1, 'waiting', 5, 5);";
        let attempt = "INSERT INTO attempts (delivery_id, number, started_at, status) VALUES (1, 1, 5, 200);";
        let run = "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules)
                   VALUES ('manual', 'scoring', 1, 1, 'together', 0, 'x');";
        let cases = [
            ("UPDATE customers SET order_count = 2", "customer 1 has 1 orders worth 4990, its row says 2 and 4990"),
            (
                "UPDATE customers SET last_order_at = first_order_at + 1, first_order_at = NULL",
                "customer 1 has orders from '2026-11-18T11:06:40.000Z' to '2026-11-18T11:06:40.000Z', its row says NULL to '2026-11-18T11:06:40.001Z'",
            ),
            ("UPDATE customers SET avg_order_value = 1", "customer 1 has orders worth 4990 each, its row says 1"),
            (
                "INSERT INTO customers (source, created_at) VALUES ('csv', 1); UPDATE customers SET merged_into = 2 WHERE id = 1",
                "order 1 belongs to customer 1",
            ),
            (
                "UPDATE customers SET redacted_at = 1",
                "has no name, and nothing that was sent about them is kept: customer 1",
            ),
            (
                "UPDATE customers SET redacted_at = 1, email = NULL, email_key = NULL, first_name = NULL;
                 UPDATE deliveries SET body = x'7b7d'",
                "is kept: delivery 1",
            ),
            ("UPDATE runs SET scored = 2", "run 1 scored 2 customers, its segments hold 1"),
            ("UPDATE runs SET scored_at = NULL", "run 1 scored 1 customers, its segments hold 1"),
            (
                "INSERT INTO run_cells (run_id, r, f, m, customers, revenue) VALUES (1, 5, 5, 5, 2, 4990)",
                "run 1 scored 1 customers, its cells hold 2",
            ),
            ("UPDATE runs SET state = 'scored', scored_at = NULL", "when its state says so: run 1 is scored"),
            ("UPDATE runs SET state = 'failed'", "when its state says so: run 1 is failed"),
            ("UPDATE runs SET emitted_at = NULL", "when its state says so: run 1 is done"),
            ("UPDATE runs SET changed = 2", "run 1 changed 2 customers and has 1 events"),
            (
                "INSERT INTO run_moves (run_id, old, new, customers) VALUES (1, '', 'champion', 2)",
                "run 1 changed 1 customers, of whom 2 moved",
            ),
            ("UPDATE history SET moved = 0", "run 1 and customer 1"),
            ("UPDATE outbox SET new_segment = 'lost'", "run 1 and customer 1; run 1 and customer 1"),
            ("UPDATE outbox SET customer_id = 7", "whom events and scores are about is there: event 1, customer 7"),
            ("INSERT INTO customer_scores (customer_id) VALUES (7)", "about is there: scores of customer 7"),
            ("UPDATE outbox SET run_id = 7", "tell of are there: run 7 of event 1"),
            ("UPDATE history SET run_id = 7", "tell of are there: run 7 of the history"),
            ("UPDATE runs SET first_seq = 2", "run 1, event 1"),
            ("PRAGMA foreign_keys = OFF; DELETE FROM outbox", "run 1 has 0 of its 1 events"),
            (
                "INSERT INTO outbox (event_id, type, customer_id, at) VALUES (zeroblob(16), 'customer/first_order', 1, 5)",
                "order of time: event 2 is older than 1",
            ),
            (
                "INSERT INTO customers (id, source, created_at) VALUES (0, 'csv', 1);
                 INSERT INTO outbox (event_id, type, customer_id, run_id, at) SELECT zeroblob(16), type, 0, 1, at FROM outbox",
                "in the order of its customers: run 1, event 2",
            ),
            ("UPDATE customer_scores SET m = 4", "last ones of the history: customer 1"),
            ("DELETE FROM customer_scores", "last ones of the history: customer 1 has none"),
            ("UPDATE segments SET name = 'lost'", "last ones of the history: customer 1"),
            ("UPDATE customer_scores SET segment_run = NULL", "last ones of the history: customer 1"),
            ("UPDATE runs SET emit_position = 0", "a run is emitted when its last event is: run 1"),
            (&format!("{delivery} DELETE FROM deliveries WHERE id = 1"), "no delivery is gone: 1 of 2 are there"),
            ("UPDATE runs SET emit_position = NULL", "delivery 1 of run 1"),
            ("UPDATE deliveries SET finished_at = NULL", "delivery 1 is delivered"),
            ("UPDATE deliveries SET state = 'held'", "delivery 1 is held"),
            (
                &format!("{delivery} UPDATE deliveries SET due_at = NULL"),
                "delivery 2 is waiting, and 0 of its line are due or sent",
            ),
            (
                &format!(
                    "{delivery} UPDATE deliveries SET destination = 'b', state = 'delivered', finished_at = 5, due_at = NULL;
                     UPDATE deliveries SET state = 'retrying', finished_at = NULL, due_at = 5 WHERE id = 1"
                ),
                "before it: delivery 2 is delivered, 1 is not",
            ),
            ("UPDATE deliveries SET due_at = 5", "what is finished is neither due nor claimed: delivery 1 is delivered"),
            ("UPDATE deliveries SET claim = 'a:1'", "what is finished is neither due nor claimed: delivery 1 is delivered"),
            (
                &format!("{attempt} UPDATE deliveries SET attempts = 2"),
                "delivery 1 is delivered after 2 attempts, and number 1 was taken",
            ),
            (
                &format!("{attempt} UPDATE deliveries SET attempts = 1, state = 'retrying', finished_at = NULL, due_at = 5"),
                "delivery 1 is retrying after 1 attempts, and number 1 was taken",
            ),
            (
                "INSERT INTO attempts (delivery_id, number, started_at, error) VALUES (1, 1, 5, 'timed out');
                 UPDATE deliveries SET attempts = 1",
                "answered at the last attempt: delivery 1, attempt 1",
            ),
            (delivery, "deliveries 1,2 are 00000000000000000000000000000000"),
            ("UPDATE deliveries SET body = CAST('{\"seq\": 2}' AS BLOB)", "a frozen body tells the events of its delivery: delivery 1"),
            ("UPDATE deliveries SET body = CAST('cut off' AS BLOB)", "a frozen body tells the events of its delivery: delivery 1"),
            (
                "UPDATE deliveries SET events = 2, body = CAST('{\"data\": {\"events\": [{\"seq\": 1}, {\"seq\": 7}]}}' AS BLOB);
                 INSERT INTO batched VALUES (1, 1, 1, 1), (1, 2, 1, 2)",
                "a frozen body tells the events of its delivery: delivery 1",
            ),
            (
                &format!("{delivery} UPDATE deliveries SET body = CAST(format('{{\"seq\": 1, \"id\": \"evt_%d\"}}', id) AS BLOB)"),
                "event 1 is evt_1 and evt_2",
            ),
            ("UPDATE deliveries SET events = 2", "delivery 1 says 2 and has 0"),
            (&format!("{delivery} {delivery}"), "event 1 has 2 deliveries to b"),
            (&format!("{delivery} {delivery}"), "delivery 2 is waiting, and 2 of its line are due or sent"),
            (&format!("{delivery} UPDATE deliveries SET replay_of = x'01' WHERE id = 2"), "is the same event: delivery 2"),
            (
                &format!(
                    "{delivery} UPDATE deliveries SET replay_of = message_id, state = 'delivered', finished_at = 5, due_at = NULL;
                     UPDATE deliveries SET finished_at = NULL, state = 'sending' WHERE id = 1"
                ),
                "what is sent again was finished, and is the same event: delivery 2",
            ),
            (&format!("DROP INDEX runs_open; {run} {run}"), "at most one run is open: 2 runs are"),
            (
                &format!(
                    "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_runs_1';
                     UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE', '') WHERE name = 'runs';
                     PRAGMA writable_schema = RESET; {run} UPDATE runs SET slot = '2026-11-23'"
                ),
                "a night is scored once: 2 runs are of 2026-11-23",
            ),
            ("PRAGMA foreign_keys = OFF; DELETE FROM customers", "every reference leads to a row"),
        ];
        let mut broken = Vec::new();
        for (breaks, message) in cases {
            let database = database();
            database.execute_batch(breaks).unwrap();
            let violations = violations(&database).unwrap();
            assert!(violations.iter().any(|violation| violation.contains(message)), "{breaks}: {violations:?}");
            broken.extend(violations);
        }
        for Invariant { says, .. } in INVARIANTS {
            assert!(broken.iter().any(|violation| violation.contains(says)), "nothing breaks it: {says}");
        }
    }
}
