//! The end: what the shop and the tools know, against what the program holds.

use std::collections::{BTreeMap, BTreeSet};

use quintile::{
    model::{Source, Timestamp},
    scoring::{Ties, segment::Scheme},
};
use rusqlite::Connection;

use super::{Soak, say, tools::TOOLS};
use crate::{
    scoring::model,
    support::{
        orders::Buyer,
        scored_shop::noon,
        shop::{LABEL, rows},
    },
};

/// Requests to one destination that are on their way or not recorded yet, at most: so many may come again
/// after a kill. See `delivery::lane`.
const OPEN: u64 = 128 + 128 + 2;
/// What is said of each kind of mistake.
const EXAMPLES: usize = 5;
/// Files in the merchant's folder, and what they begin with.
const FILES: [&str; 3] = ["config.toml", "quintile.db", "backups"];

/// Collects what is wrong, and says what was compared.
struct Findings(Vec<String>);

impl Findings {
    fn compare(&mut self, what: &str, looked_at: usize, wrong: impl IntoIterator<Item = String>) {
        let wrong: Vec<String> = wrong.into_iter().collect();
        say(&format!("{:<72} {looked_at:>8}  {}", what, if wrong.is_empty() { "yes" } else { "NO" }));
        let count = wrong.len();
        self.0.extend(wrong.into_iter().take(EXAMPLES).map(|wrong| format!("{what}: {wrong}")));
        if count > EXAMPLES {
            self.0.push(format!("{what}: and {} more", count - EXAMPLES));
        }
    }

    /// Both sides of each row that only one of them has.
    fn compare_rows(
        &mut self,
        what: &str,
        expected: impl Iterator<Item = String>,
        stored: impl IntoIterator<Item = String>,
    ) {
        let (expected, stored): (BTreeSet<String>, BTreeSet<String>) =
            (expected.collect(), stored.into_iter().collect());
        let differing = expected
            .symmetric_difference(&stored)
            .map(|row| format!("{row} ({})", if stored.contains(row) { "stored" } else { "expected" }));
        self.compare(what, expected.len(), differing);
    }
}

impl Soak {
    /// Says what the soak was and what came of it; returns everything that is wrong.
    pub fn verdict(&self) -> Vec<String> {
        say(&format!("\n{} in {} minutes", self.lives_so_far(), self.begin.elapsed().as_secs() / 60));
        let gauge = self.gauge.lock().unwrap();
        gauge.table().iter().chain(&gauge.memory_table()).for_each(|line| say(line));
        for (error, count) in &*self.errors.lock().unwrap() {
            say(&format!("{count:>5} times in the log: {error}"));
        }
        let mut findings = Findings(Vec::new());
        let mut wrong = std::mem::take(&mut *self.wrong.lock().unwrap());
        findings.compare(
            "every life began, went on and ended as it should",
            self.lives.lock().unwrap().len(),
            wrong.drain(..),
        );
        let database = self.merchant.sql();
        self.shop_agrees(&database, &mut findings);
        self.segments_agree(&database, &mut findings);
        self.tools_agree(&database, &mut findings);
        self.nothing_is_left(&database, &mut findings);
        findings.compare("nothing grew that should not", 1, gauge.grown());
        let checked = self.machine.run(self.merchant.path(), &["check", "--deep", "--format", "json"]);
        findings.compare("`quintile check --deep` is content", 1, checked.err());
        if !findings.0.is_empty() {
            let copy = format!("target/soak-{}.db", std::process::id());
            say(&format!("  a copy of the file is in {copy}: {:?}", database.execute("VACUUM INTO ?1", [&copy])));
        }
        findings.0
    }

    /// What was answered 2xx is there; nothing else is; and everybody counts what they should.
    fn shop_agrees(&self, database: &Connection, findings: &mut Findings) {
        let mut books = self.shop.books();
        findings.compare("the shop got the answers that it should", books.sent.len(), std::mem::take(&mut books.wrong));
        // Whoever is to be forgotten a second time is forgotten already.
        let inbox = rows(
            database,
            "SELECT source, delivery_key, iif(reason LIKE 'the same request as message %', 'done', state) FROM inbox",
        );
        let stored: BTreeMap<(String, String), String> = inbox
            .iter()
            .filter_map(|row| {
                let [source, key, state] = row.split(" | ").collect::<Vec<_>>().try_into().ok()?;
                let key = key.split_once('.').map_or(key, |(key, _)| key);
                Some(((source.to_owned(), key.to_owned()), state.to_owned()))
            })
            .collect();
        let name = |(source, key): &(Source, String)| (source.to_string(), key.clone());
        findings.compare(
            "what was answered 2xx is stored, and set aside only if unusable",
            books.answered.len(),
            books.answered.iter().filter_map(|(key, usable)| match stored.get(&name(key)) {
                Some(state) if (state != "quarantined") == *usable && state != "ignored" => None,
                state => Some(format!("{key:?} is {state:?}, usable: {usable}")),
            }),
        );
        let sent: BTreeSet<(String, String)> = books.sent.iter().map(name).collect();
        findings.compare(
            "what is stored was sent, and once",
            inbox.len(),
            stored
                .keys()
                .filter(|key| !sent.contains(*key))
                .map(|key| format!("{key:?}"))
                .chain((stored.len() != inbox.len()).then(|| format!("{} of {}", stored.len(), inbox.len()))),
        );
        let ordered = "SELECT source || ':' || source_id, CASE counted WHEN 1 THEN net ELSE 0 END FROM orders";
        findings.compare_rows(
            "each order is worth what the shop knows",
            books.orders.iter().map(|((source, id), order)| format!("{source}:{id} | {}", order.net())),
            rows(database, ordered),
        );
        let mut expected: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for order in books.orders.values().filter(|order| order.net() > 0) {
            let counters = expected.entry(order.buyer.label()).or_default();
            counters.0 += 1;
            counters.1 += order.net();
        }
        findings.compare_rows(
            "each customer counts the orders and money that the shop knows",
            expected.iter().map(|(label, (count, spent))| format!("{label} | {count} | {spent}")),
            rows(database, &format!("SELECT {LABEL}, order_count, total_spent FROM customers c WHERE order_count > 0")),
        );
        say(&format!("  {} requests were sent again, {} had no good signature", books.sent_again, books.refused));
    }

    /// The last run ranked everybody as the book says; and a customer's changes form a chain.
    fn segments_agree(&self, database: &Connection, findings: &mut Findings) {
        let books = self.shop.books();
        let as_of: i64 = database
            .query_row("SELECT max(as_of) FROM runs WHERE scored_at IS NOT NULL", [], |row| row.get(0))
            .unwrap_or_default();
        let mut orders: BTreeMap<Buyer, Vec<(i64, i64)>> = BTreeMap::new();
        for order in books.orders.values().filter(|order| !books.erased.contains(&order.buyer)) {
            orders.entry(order.buyer).or_default().push((order.net(), noon().millis() - order.placed_at));
        }
        let shop: Vec<_> = orders.values().cloned().collect();
        let as_of = Timestamp::from_millis(as_of);
        let way =
            model::Way { ties: Ties::Together, window_days: 0, include_without_orders: false, as_of, in_sql: true };
        let scheme = Scheme::classic();
        let expected: Vec<String> = orders
            .keys()
            .zip(model::expected(&shop, way))
            .filter_map(|(buyer, scores)| Some(format!("{} | {}", buyer.label(), scheme.segment_of(scores?).name)))
            .collect();
        let segments = format!(
            "SELECT {LABEL}, s.segment FROM scores s JOIN customers c ON c.id = s.customer_id WHERE s.segment IS NOT NULL"
        );
        let actual = rows(database, &segments);
        findings.compare_rows("each customer is in the segment that the orders say", expected.into_iter(), actual);

        let mut current: BTreeMap<String, String> = BTreeMap::new();
        let changes = rows(
            database,
            "SELECT customer_id, old_segment, new_segment FROM outbox WHERE type = 'rfm/segment.changed' ORDER BY seq",
        );
        let mut broken = Vec::new();
        for change in &changes {
            let [customer, old, new] = change.split(" | ").collect::<Vec<_>>().try_into().expect("three columns");
            let before = current.insert(customer.to_owned(), new.to_owned()).unwrap_or("-".to_owned());
            if before != old || old == new {
                broken.push(format!("{change}, and before it was {before}"));
            }
        }
        let ends: BTreeSet<String> =
            current.iter().map(|(customer, segment)| format!("{customer} | {segment}")).collect();
        let scores: BTreeSet<String> = rows(database, "SELECT customer_id, segment FROM scores").into_iter().collect();
        broken.extend(ends.symmetric_difference(&scores).cloned());
        findings.compare("each change of a segment has one event", changes.len(), broken);
    }

    /// Each event arrived at each tool, or ended otherwise for a reason; nothing came twice without one.
    fn tools_agree(&self, database: &Connection, findings: &mut Findings) {
        let mut book = self.tools.book();
        let requests = usize::try_from(book.requests).unwrap_or(usize::MAX);
        findings.compare(
            "a message is one body, comes again only after a kill, and in order",
            requests,
            std::mem::take(&mut book.wrong),
        );
        let (most, all) = book.most_repeats();
        say(&format!("  {all} requests came again after a kill, {most} at most after one"));
        findings.compare(
            "a kill repeats no more than can be open",
            book.repeats.len(),
            (most > OPEN).then(|| format!("{most}")),
        );
        for (tool, (name, _)) in TOOLS.into_iter().enumerate() {
            let ends = rows(
                database,
                &format!(
                    "WITH told AS (
                       SELECT seq, state FROM deliveries WHERE destination = '{name}' AND events = 1
                        UNION ALL
                       SELECT b.seq, d.state FROM batched b JOIN deliveries d ON d.id = b.delivery_id
                        WHERE d.destination = '{name}')
                     SELECT outbox.seq, redacted_at IS NOT NULL, coalesce(group_concat(DISTINCT told.state), '')
                       FROM outbox JOIN customers ON customers.id = customer_id LEFT JOIN told ON told.seq = outbox.seq
                      WHERE '{name}' <> 'crm' OR type <> 'customer/redacted'
                      GROUP BY outbox.seq"
                ),
            );
            let mut wrong = Vec::new();
            for end in &ends {
                let [seq, erased, states] = end.split(" | ").collect::<Vec<_>>().try_into().expect("three columns");
                let key = (tool, seq.parse().unwrap_or_default());
                let (took, delivered) = (book.known.contains_key(&key), states.contains("delivered"));
                if states.is_empty() || (!took && (delivered || erased == "0")) {
                    wrong.push(format!("event {seq} is {states:?}, and the tool took it: {took}"));
                }
                let ended_otherwise =
                    states.split(',').any(|state| ["dead", "superseded", "discarded"].contains(&state));
                if book.overtaken.contains(&key) && !ended_otherwise {
                    wrong.push(format!("event {seq} is {states:?}, and a newer one was sent before it was taken"));
                }
            }
            findings.compare(
                &format!("each event arrived at \"{name}\", unless its customer was erased"),
                ends.len(),
                wrong,
            );
        }
    }

    /// What is not kept for ever is gone, and no file is there that nobody knows.
    fn nothing_is_left(&self, database: &Connection, findings: &mut Findings) {
        let now = self.machine.now().millis();
        let kept = |states: &str, days: i64| {
            let until = now - (days + 2) * Timestamp::DAY;
            let sql = format!(
                "SELECT format('delivery %d is %s', id, state) FROM deliveries
                  WHERE body IS NOT NULL AND state IN ({states}) AND finished_at < {until}"
            );
            rows(database, &sql)
        };
        let old = [kept("'delivered', 'superseded', 'discarded'", 30), kept("'dead'", 90)].concat();
        let nights: usize = rows(database, "SELECT count(*) FROM runs WHERE slot IS NOT NULL")[0].parse().unwrap_or(0);
        findings.compare("no body is kept longer than 30 or 90 days", nights, old);
        let names = std::fs::read_dir(self.merchant.path()).into_iter().flatten().filter_map(Result::ok);
        let strange: Vec<String> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !FILES.iter().any(|known| name.starts_with(known)))
            .collect();
        findings.compare("no file is in the folder that nobody knows", FILES.len(), strange);
    }
}
