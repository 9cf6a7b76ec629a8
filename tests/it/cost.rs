//! What the hot paths cost in SQLite's own counters: steps of its machine, rows read by full scans, sorts.
//! They are the same on every machine and at every load, so a path that became dearer fails here, not in a
//! benchmark that somebody runs later. A bound that is far above what is counted fails too: it would let
//! the next regression pass.

use std::sync::{Arc, Mutex, PoisonError};

use quintile::{
    config::{Baseline, Config},
    intake::{Message, Rules, api},
    model::{Source, Timestamp},
    outbox::{self, Claims, Effect, Ids, Places, Route, Settlement, Verdict},
    scoring::{self, Request, Silent, Summary, Trigger},
};
use rusqlite::{
    Connection, params,
    trace::{TraceEvent, TraceEventCodes},
};
use serde_json::json;

use crate::support::{
    counters::{Counters, Work},
    scored_shop::{DAY, Shop, add_order, config, customer_id, noon},
};

#[derive(Default)]
struct Tally {
    total: Work,
    counters: Counters,
}

/// One at a time: a callback of SQLite's can carry nothing with it.
static TALLY: Mutex<Option<Tally>> = Mutex::new(None);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn count(event: TraceEvent<'_>) {
    let TraceEvent::Profile(statement, _) = event else { return };
    let mut tally = TALLY.lock().unwrap();
    let Some(tally) = tally.as_mut() else { return };
    // One connection writes and one reads, and they run statements of their own.
    tally.total += tally.counters.grown("both", &statement);
}

/// From here on nothing is prepared that was run unheard.
fn listen(connection: &Connection) {
    connection.flush_prepared_statement_cache();
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(count));
}

/// Counts what `work` makes SQLite do, on the writer and the first reader.
fn cost_of<T>(shop: &Shop, work: impl FnOnce() -> T) -> (Work, T) {
    shop.write(|tx| listen(tx));
    listen(&shop.db.readers().get().unwrap());
    *TALLY.lock().unwrap() = Some(Tally::default());
    let done = work();
    let total = TALLY.lock().unwrap().as_ref().unwrap().total;
    (total, done)
}

/// Whose first night is sent at once.
fn sending() -> Config {
    let mut config = config();
    config.forwarder.baseline = Baseline::Send;
    config
}

/// `number` customers with four orders each.
fn shop(number: i64) -> Shop {
    let shop = Shop::with(&sending());
    shop.write(move |tx| {
        for customer in 0..number {
            for order in 0..4 {
                let days = (customer * 7 + order * 31) % 700;
                add_order(
                    tx,
                    &format!("c{customer}"),
                    500 + (customer * 37 + order) % 20_000,
                    noon().plus_millis(-days * DAY),
                );
            }
        }
    });
    shop
}

/// Fails when `counted` per piece of work is above `bound`, or so far below that the bound guards nothing.
#[track_caller]
fn within(what: &str, counted: i64, pieces: i64, bound: i64) {
    let each = counted / pieces;
    assert!(each <= bound, "{what} takes {each}, more than {bound}: find out why before raising the bound");
    assert!(each * 3 >= bound * 2, "{what} takes {each} only; lower the bound of {bound} to guard that");
}

fn message(number: i64, now: Timestamp) -> Message {
    let order = json!({
        "id": format!("w{number}"), "customer": { "id": format!("c{}", number % 500), "email": format!("c{}@example.com", number % 500) },
        "orderedAt": "2026-05-30T10:00:00Z", "updatedAt": "2026-05-30T10:00:00Z", "currency": "EUR",
        "total": "49.90", "status": "paid",
    });
    Message {
        source: Source::Api,
        topic: "orders".to_owned(),
        delivery_key: Some(format!("message-{number}")),
        triggered_at: None,
        headers: json!({}),
        body: order.to_string().into_bytes(),
        received_at: now,
    }
}

#[test]
fn what_an_order_costs_does_not_grow_unseen() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let shop = shop(500);
    let take = |shop: &Shop| {
        let now = shop.now();
        shop.write(move |tx| {
            let rules = Rules::from_config(&config());
            for number in 0..200 {
                api::Prepared::new(message(number, now), &rules).store(tx, &rules).unwrap();
            }
        });
    };
    let (fresh, ()) = cost_of(&shop, || take(&shop));
    within("an order that comes in, steps", fresh.steps, 200, 640);
    assert_eq!((fresh.scanned, fresh.sorts), (0, 0), "an order is found, not searched for");
    let (again, ()) = cost_of(&shop, || take(&shop));
    within("the same message again, steps", again.steps, 200, 148);
    assert_eq!((again.scanned, again.sorts), (0, 0));
}

/// A run, and nothing that the test asks beside it.
fn night(shop: &Shop) -> Summary {
    let request = Request { trigger: Trigger::Manual, slot: None, as_of: shop.now(), missed: 0 };
    scoring::run(&shop.db, &shop.settings, request, &shop.clock, &Silent).unwrap()
}

#[test]
fn what_a_night_costs_grows_with_the_shop_and_no_more() {
    struct Bound {
        ranked_in_sql: i64,
        /// Steps a customer.
        first: i64,
        /// The same of a night on which little changes, its sorts, and how often it passes everybody.
        quiet: i64,
        sorts: i64,
        passes: i64,
    }
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Ranked by NTILE, and by cut values as in a large shop.
    let by_ntile = Bound { ranked_in_sql: i64::MAX, first: 730, quiet: 425, sorts: 7, passes: 2 };
    let by_cuts = Bound { ranked_in_sql: -1, first: 365, quiet: 56, sorts: 0, passes: 3 };
    for bound in [by_ntile, by_cuts] {
        let each = [1_000, 4_000].map(|customers| {
            let mut shop = shop(customers);
            shop.settings.ranked_in_sql = Some(bound.ranked_in_sql);
            let (first, summary) = cost_of(&shop, || night(&shop));
            assert_eq!(summary.scored, u64::try_from(customers).unwrap());
            within("the first night, steps a customer", first.steps, customers, bound.first);
            within("the first night, statements a hundred customers", first.runs, customers / 100, 230);
            shop.wait(DAY);
            let (quiet, _) = cost_of(&shop, || night(&shop));
            within("a night on which little changes, steps a customer", quiet.steps, customers, bound.quiet);
            assert_eq!(quiet.sorts, bound.sorts, "sorts of a night");
            let most = bound.passes * customers + 10;
            assert!(quiet.scanned <= most, "{} rows are passed for {customers} customers", quiet.scanned);
            shop.check_invariants();
            [first.steps / customers, quiet.steps / customers]
        });
        let [small, large] = each;
        let in_proportion = (0..2).all(|night| large[night] * 100 <= small[night] * 115);
        assert!(in_proportion, "{small:?} of 1,000 customers, {large:?} of 4,000");
    }
}

fn claims(config: &Config, free: usize, now: Timestamp) -> Claims {
    Claims {
        boot: Arc::from("boot"),
        number: 1,
        shop: outbox::Shop::from_config(config),
        routes: Route::from_config(config).unwrap().into(),
        places: vec![Places { in_flight: 0, free, more_at: None }],
        start: 0,
        limit: free,
        now,
        latest: now.plus_millis(DAY),
    }
}

#[test]
fn what_a_delivery_costs_does_not_depend_on_the_queue() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut each = Vec::new();
    for customers in [1_000_i64, 4_000] {
        let shop = shop(customers);
        shop.score();
        let now = shop.now();
        let (cost, delivered) = cost_of(&shop, || {
            shop.write(move |tx| {
                let claimed = outbox::claim(tx, &claims(&sending(), 200, now)).unwrap().claims;
                let settled: Vec<Settlement> = claimed
                    .iter()
                    .map(|claim| Settlement {
                        delivery_id: claim.delivery_id,
                        token: claim.token.clone(),
                        attempt: claim.attempt,
                        started_at: now,
                        duration_ms: 1,
                        status: Some(200),
                        error: None,
                        answer: Vec::new(),
                        step: 1,
                        verdict: Verdict::Delivered,
                        effect: Effect::Success,
                    })
                    .collect();
                outbox::settle(tx, &settled, &mut Ids::random(now), now).unwrap();
                i64::try_from(claimed.len()).unwrap()
            })
        });
        assert_eq!(delivered, 200);
        within("a delivery, claimed and settled, steps", cost.steps, delivered, 390);
        assert_eq!((cost.scanned, cost.sorts), (0, 0), "the queue is not searched");
        each.push(cost.steps);
    }
    assert!(each[1] * 100 <= each[0] * 105, "a longer queue costs more: {each:?}");
}

/// Of the batches that were tried, the one with the oldest event of a customer goes first. A crash and refused halves
/// leave a few.
#[test]
fn what_a_batch_costs_grows_with_the_events_of_those_that_were_tried_and_no_more() {
    const BATCHES: i64 = 16;
    const EVENTS: i64 = 500;
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut config = sending();
    config.destination[0].batch = u32::try_from(EVENTS).unwrap();
    let shop = Shop::with(&config);
    let now = shop.now();
    shop.write(move |tx| {
        for customer in 1..=EVENTS {
            customer_id(tx, &format!("c{customer}"));
        }
        for batch in 0..BATCHES {
            let (first, last) = (batch * EVENTS + 1, (batch + 1) * EVENTS);
            for seq in first..=last {
                let event = "INSERT INTO outbox (seq, event_id, type, customer_id, at, lapsed_days)
                             VALUES (?1, randomblob(16), 'customer/lapsed', ?2, ?3, ?1)";
                tx.execute(event, params![seq, seq - batch * EVENTS, now]).unwrap();
                let member = "INSERT INTO batched (delivery_id, seq, customer_id, row_id) VALUES (?1, ?2, ?3, ?2)";
                tx.execute(member, params![last, seq, seq - batch * EVENTS]).unwrap();
            }
            let tried = "INSERT INTO deliveries (id, message_id, destination, seq, state, events, attempts, due_at,
                           created_at)
                         VALUES (?1, randomblob(16), 'tool', ?1, 'retrying', ?2, 1, ?3, ?3)";
            tx.execute(tried, params![last, EVENTS, now]).unwrap();
        }
    });
    let (cost, claimed) =
        cost_of(&shop, || shop.write(move |tx| outbox::claim(tx, &claims(&config, 1, now)).unwrap().claims));
    assert_eq!((claimed.len(), claimed[0].events), (1, 500));
    within("a batch, for each event of those that were tried, steps", cost.steps, BATCHES * EVENTS, 10);
}
