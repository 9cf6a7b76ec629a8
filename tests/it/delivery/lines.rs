//! The order of a customer's deliveries, under any sequence of what can happen to the queue.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quintile::{
    config::{self, Config},
    db::SCHEMA,
    model::Timestamp,
    outbox::{
        self, Action, Claim, Claims, Cursor, Disposition, Filter, Hold, Ids, Places, Position, Resume, Route, Shop,
        Slice, State, Verdict,
    },
};
use rusqlite::Connection;

use super::fixture::{end, events, lapses};

const CUSTOMERS: i64 = 3;
const LATER_MS: i64 = 1000;

/// What can happen to the queue.
#[derive(Debug, Clone)]
enum Step {
    /// Each of these has an event, of one run and type.
    Change {
        customers: Vec<i64>,
        lapsed: bool,
        disposition: Disposition,
    },
    Claim {
        places: usize,
    },
    /// The claim in flight with this index (modulo) ends.
    End {
        index: usize,
        verdict: Ending,
    },
    Act {
        action: Action,
        filter: Filter,
    },
    /// A destination was paused and goes on with each customer's newest.
    Latest {
        destination: &'static str,
    },
    Crash,
    Pass,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Delivered,
    Dead,
    Retry,
    Spared,
    Refused,
    Unsent,
    /// For a batch; a delivery of one event is tried again.
    Split,
}

fn step() -> impl Strategy<Value = Step> {
    let disposition = prop_oneof![
        6 => Just(Disposition::Send),
        1 => Just(Disposition::Hold(Hold::Baseline)),
        1 => Just(Disposition::Hold(Hold::Run)),
        1 => Just(Disposition::Discard),
    ];
    let ending = prop_oneof![
        4 => Just(Ending::Delivered),
        1 => Just(Ending::Dead),
        2 => Just(Ending::Retry),
        1 => Just(Ending::Spared),
        1 => Just(Ending::Refused),
        1 => Just(Ending::Unsent),
        2 => Just(Ending::Split),
    ];
    let action = prop_oneof![
        2 => Just(Action::Release),
        1 => Just(Action::Discard),
        1 => Just(Action::Retry),
        1 => Just(Action::Replay),
    ];
    let state = prop_oneof![
        3 => Just(None),
        1 => proptest::sample::select(State::ALL).prop_map(Some),
    ];
    let part = (prop::option::of(1..10i64), prop::option::of(Just("a".to_owned())), prop::option::of(1..=CUSTOMERS));
    let filter =
        (any::<bool>(), part, state).prop_map(|(baseline, (run_id, destination, customer_id), state)| Filter {
            hold: baseline.then_some(Hold::Baseline),
            run_id,
            destination,
            customer_id,
            state,
            ..Filter::default()
        });
    prop_oneof![
        5 => (proptest::sample::subsequence((1..=CUSTOMERS).collect::<Vec<_>>(), 1..=3), any::<bool>(), disposition)
            .prop_map(|(customers, lapsed, disposition)| Step::Change { customers, lapsed, disposition }),
        4 => (0usize..4).prop_map(|places| Step::Claim { places }),
        6 => (any::<usize>(), ending).prop_map(|(index, verdict)| Step::End { index, verdict }),
        2 => (action, filter).prop_map(|(action, filter)| Step::Act { action, filter }),
        1 => proptest::sample::select(vec!["a", "b"]).prop_map(|destination| Step::Latest { destination }),
        1 => Just(Step::Crash),
        2 => Just(Step::Pass),
    ]
}

struct Queue {
    connection: Connection,
    routes: Vec<Route>,
    in_flight: Vec<Claim>,
    just_claimed: Vec<i64>,
    boot: u64,
    number: u64,
    now: Timestamp,
}

impl Queue {
    fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        for id in 1..=CUSTOMERS {
            connection.execute("INSERT INTO customers (id, source, created_at) VALUES (?1, 'csv', 0)", [id]).unwrap();
        }
        let destination = |name: &str| config::Destination { name: name.to_owned(), ..Default::default() };
        let together = config::Destination { batch: 3, ..destination("b") };
        let config = Config { destination: vec![destination("a"), together], ..Default::default() };
        let routes = Route::from_config(&config).unwrap();
        Self {
            connection,
            routes,
            in_flight: Vec::new(),
            just_claimed: Vec::new(),
            boot: 0,
            number: 0,
            now: Timestamp::from_millis(1_000_000),
        }
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        self.just_claimed.clear();
        let tx = self.connection.unchecked_transaction().unwrap();
        match *step {
            Step::Change { ref customers, lapsed, disposition } => {
                let (after, last) =
                    if lapsed { lapses(&tx, customers, now) } else { events(&tx, customers, "lost", now).unwrap() };
                let slice = Slice { after, last, limit: 10, disposition };
                outbox::fan_out(&tx, &self.routes, slice, &mut Ids::random(now), now).unwrap();
            }
            Step::Claim { places } => {
                self.number += 100;
                let claims = Claims {
                    boot: format!("boot{}", self.boot).into(),
                    number: self.number,
                    shop: Shop::from_config(&Config::default()),
                    routes: self.routes.clone().into(),
                    places: vec![
                        Places { in_flight: self.in_flight_to(0), free: places, more_at: None },
                        // Claiming ahead of a batch is safe by the forwarder's own order alone.
                        Places {
                            in_flight: self.in_flight_to(1),
                            free: usize::from(self.in_flight_to(1) == 0),
                            more_at: None,
                        },
                    ],
                    start: places % 2,
                    limit: 4,
                    now,
                    latest: now.plus_millis(Timestamp::DAY),
                };
                let claimed = outbox::claim(&tx, &claims).unwrap();
                self.just_claimed.extend(claimed.claims.iter().map(|claim| claim.delivery_id));
                self.in_flight.extend(claimed.claims);
            }
            Step::End { index, verdict } if !self.in_flight.is_empty() => {
                let claim = self.in_flight.swap_remove(index % self.in_flight.len());
                let verdict = match verdict {
                    // In truth the destination is disabled then, and its whole queue waits.
                    Ending::Refused if claim.events > 1 => Verdict::Retry { at: now, spared: true },
                    Ending::Split if claim.events > 1 => Verdict::Split { remember: false },
                    Ending::Delivered => Verdict::Delivered,
                    Ending::Dead => Verdict::Dead,
                    Ending::Retry | Ending::Split => Verdict::Retry { at: now.plus_millis(LATER_MS), spared: false },
                    Ending::Spared => Verdict::Retry { at: now.plus_millis(LATER_MS), spared: true },
                    Ending::Refused => Verdict::Held(Hold::Destination),
                    Ending::Unsent => Verdict::Unsent,
                };
                assert_eq!(end(&tx, claim, 1, verdict, now), 1, "a live claim is settled once");
            }
            Step::End { .. } => {}
            Step::Act { action, ref filter } => {
                let matched = outbox::count_matching(&tx, action, filter).unwrap();
                let mut ids = Ids::random(now);
                let (mut cursor, mut total) = (Some(Cursor::default()), 0);
                while let Some(from) = cursor {
                    let (count, next) = outbox::act(&tx, action, filter, from, 2, &mut ids, now).unwrap();
                    (cursor, total) = (next, total + count);
                }
                assert_eq!(total, usize::try_from(matched).unwrap(), "{action:?} {filter:?}");
            }
            Step::Latest { destination } => {
                let mut position = Some(Position::default());
                while let Some(from) = position {
                    position = outbox::prepare_resume(&tx, destination, Resume::Latest, from, 2, now).unwrap();
                }
            }
            Step::Crash => {
                self.boot += 1;
                let count = outbox::reclaim(&tx, &format!("boot{}", self.boot), now).unwrap();
                assert_eq!(count, self.in_flight.len());
                for zombie in self.in_flight.drain(..) {
                    assert_eq!(end(&tx, zombie, 1, Verdict::Delivered, now), 0, "a dead claim changes nothing");
                }
            }
            Step::Pass => self.now = now.plus_millis(LATER_MS),
        }
        tx.commit().unwrap();
    }

    fn in_flight_to(&self, route: usize) -> usize {
        self.in_flight.iter().filter(|claim| claim.route == route).count()
    }

    /// Of each event that was just claimed: no older one of its customer to the same destination is
    /// open, but for what stands beside the line. A replay is newer than what it repeats, so
    /// deliveries are compared and not events. What is released later may stand before one on its way.
    fn check_order(&self) {
        let mut select = self
            .connection
            .prepare(
                "WITH open AS (
                   SELECT d.destination, d.state, d.id AS delivery, d.id, d.customer_id FROM deliveries d
                    WHERE d.finished_at IS NULL AND d.events = 1 AND d.hold IS NOT 'baseline'
                    UNION ALL
                   SELECT d.destination, d.state, d.id, b.row_id, b.customer_id
                     FROM batched b JOIN deliveries d ON d.id = b.delivery_id WHERE d.finished_at IS NULL)
                 SELECT s.delivery FROM open s JOIN open o USING (destination, customer_id)
                  WHERE s.state = 'sending' AND o.id < s.id",
            )
            .unwrap();
        let overtaking = select.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(Result::unwrap);
        let overtaking = overtaking.filter(|id| self.just_claimed.contains(id)).count();
        assert_eq!(overtaking, 0, "nothing overtakes an older one of its customer");
        assert!(self.in_flight_to(1) <= 1, "batches go one at a time");
    }

    /// What must be true at every moment.
    fn check(&self) {
        self.check_order();
        let mut select = self
            .connection
            .prepare(
                "SELECT destination, customer_id, id, state, hold, due_at, claim IS NOT NULL, body IS NOT NULL,
                   attempts, spared, (SELECT count(*) FROM attempts WHERE delivery_id = id)
                 FROM deliveries WHERE finished_at IS NULL AND events = 1 ORDER BY destination, customer_id, id",
            )
            .unwrap();
        let mut rows = select.query([]).unwrap();
        // Of each line: whether its head is held, and how many are due or on their way.
        let mut lines: BTreeMap<(String, i64), (bool, usize)> = BTreeMap::new();
        let mut sending = 0;
        while let Some(row) = rows.next().unwrap() {
            let this: (String, i64) = (row.get(0).unwrap(), row.get(1).unwrap());
            let state: String = row.get(3).unwrap();
            let (hold, due): (Option<String>, Option<i64>) = (row.get(4).unwrap(), row.get(5).unwrap());
            let (claimed, frozen): (bool, bool) = (row.get(6).unwrap(), row.get(7).unwrap());
            let (attempts, spared, listed): (i64, i64, i64) =
                (row.get(8).unwrap(), row.get(9).unwrap(), row.get(10).unwrap());
            if hold.as_deref() != Some("baseline") {
                let line = lines.entry(this.clone()).or_insert((state == "held", 0));
                line.1 += usize::from(due.is_some() || claimed);
            }
            let row = format!("{this:?} {} {state} {hold:?} {due:?}", row.get::<_, i64>(2).unwrap());
            match state.as_str() {
                "waiting" => assert_eq!(attempts, 0, "{row}"),
                "retrying" => assert!(attempts > 0, "{row}"),
                "sending" => assert!(due.is_none(), "{row}"),
                "held" => assert!(due.is_none() && hold.is_some(), "{row}"),
                other => panic!("{row}: {other} is not open"),
            }
            assert_eq!(state == "sending", claimed, "{row}");
            assert_eq!(state == "held", hold.is_some(), "{row}");
            assert!(frozen || attempts == spared, "{row}: what was tried is frozen");
            let ended = attempts - i64::from(claimed);
            assert!(listed == ended || (spared > 0 && listed < ended), "{row}: each attempt that ended is listed");
            assert!(spared <= attempts, "{row}");
            sending += usize::from(claimed);
        }
        for (line, (held, moving)) in lines {
            assert!(
                moving == 1 || (held && moving == 0),
                "{line:?}: {moving} are due or sent, the head is held: {held}"
            );
        }
        let batches: usize = self
            .connection
            .query_row("SELECT count(*) FROM deliveries WHERE state = 'sending' AND events > 1", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sending + batches, self.in_flight.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_only_the_head_of_a_line_moves(steps in proptest::collection::vec(step(), 1..60)) {
        let mut queue = Queue::new();
        for step in &steps {
            queue.take(step);
            queue.check();
        }
        // Nothing is stuck: with everything accepted from now on, only what is held stays.
        let mut idle = 0;
        while idle < 2 {
            queue.take(&Step::Pass);
            queue.take(&Step::Claim { places: 3 });
            idle = if queue.in_flight.is_empty() { idle + 1 } else { 0 };
            while !queue.in_flight.is_empty() {
                queue.take(&Step::End { index: 0, verdict: Ending::Delivered });
            }
        }
        let moving: i64 = queue.connection.query_row(
            "SELECT count(*) FROM deliveries d WHERE finished_at IS NULL AND state <> 'held' AND NOT EXISTS
               (SELECT 1 FROM deliveries h WHERE h.destination = d.destination AND h.customer_id = d.customer_id
                AND h.state = 'held' AND h.hold <> 'baseline' AND h.id < d.id)",
            [], |row| row.get(0)).unwrap();
        prop_assert_eq!(moving, 0);
    }
}
