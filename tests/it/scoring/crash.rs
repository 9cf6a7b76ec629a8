//! Either nothing of step 1 is there or all of it; step 2 goes on where it was.

use quintile::scoring::{self, NotBegun, Request, Silent, Trigger};

use crate::support::scored_shop::{DAY, Shop, add_order, noon};

const MINUTE: i64 = 60_000;

/// Makes a statement on `table` fail, as a full disk would.
fn broken(shop: &Shop, table: &str, when: &str) {
    let sql = format!(
        "CREATE TRIGGER broken BEFORE INSERT ON {table} WHEN {when} BEGIN SELECT raise(ABORT, 'disk full'); END"
    );
    shop.write(move |tx| tx.execute_batch(&sql).unwrap());
}

fn mend(shop: &Shop) {
    shop.execute("DROP TRIGGER broken");
}

fn large() -> Shop {
    let shop = Shop::new();
    shop.write(|tx| {
        for number in 0..2500i64 {
            add_order(tx, &format!("{number:04}"), 1000 + number, noon().plus_millis((number - 2600) * MINUTE));
        }
    });
    shop
}

#[test]
fn a_failed_run_changes_nothing_and_is_tried_again_three_times() {
    for table in ["customer_scores", "history", "outbox", "run_segments", "run_cells", "run_quintiles", "run_moves"] {
        let shop = Shop::forty();
        let request = shop.night("2026-06-01");
        broken(&shop, table, "1");
        for (attempt, minutes) in [(1, Some(5)), (2, Some(15)), (3, Some(60)), (4, None)] {
            let error = shop.try_score(request).unwrap_err();
            assert!(format!("{error:#}").contains("disk full"), "{error:#}");
            let retry = minutes.map_or("-".to_owned(), |minutes| (shop.now().millis() + minutes * MINUTE).to_string());
            assert_eq!(
                shop.rows("SELECT state, attempts, retry_at, scored_at FROM runs"),
                [format!("failed {attempt} {retry} -")],
                "{table}"
            );
            assert!(shop.one::<String>("SELECT error FROM runs").contains("disk full"));
            assert_eq!(shop.one::<i64>("SELECT count(*) FROM scores"), 0);
        }
        mend(&shop);
        shop.wait(MINUTE);
        assert_eq!(shop.try_score(request).unwrap().changed, 40);
        assert_eq!(
            shop.rows("SELECT state, attempts, retry_at, error, as_of FROM runs"),
            [format!("done 5 - - {}", noon().millis())]
        );
    }
}

/// Unlike a statement that is refused, a full disk ends the transaction: what is written after it would be
/// committed by itself.
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_run_keeps_nothing_of_it() {
    const TABLES: [&str; 4] = ["customer_scores", "history", "outbox", "run_moves"];
    let shop = Shop::new();
    shop.write(|tx| {
        for number in 0..600i64 {
            add_order(tx, &format!("{number:04}"), 1000 + number, noon().plus_millis((number - 700) * MINUTE));
        }
    });
    let room = |pages: i64| {
        shop.write(move |tx| {
            let used: i64 = tx.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            tx.pragma_update(None, "max_page_count", used + pages).unwrap();
        });
    };
    let mut pages = 0;
    loop {
        room(pages);
        let request = Request { trigger: Trigger::Manual, slot: None, as_of: shop.now(), missed: 0 };
        let run = scoring::run(&shop.db, &shop.settings, request, &shop.clock, &Silent);
        room(1 << 20);
        shop.check_invariants();
        let kept = TABLES.map(|table| shop.one::<i64>(&format!("SELECT count(*) FROM {table}")));
        if kept[0] > 0 {
            break assert_eq!(kept[..3], [600; 3]); // what failed then, if anything, came behind the commit
        }
        assert!(run.is_err());
        assert_eq!(kept, [0; 4], "with room for {pages} pages");
        pages += 1;
    }
    assert!(pages > 20, "only {pages} pages are written");
}

#[test]
fn a_manual_run_that_fails_is_not_tried_again() {
    let shop = Shop::forty();
    broken(&shop, "history", "new.customer_id = 30");
    let request = quintile::scoring::Request {
        slot: None,
        trigger: quintile::scoring::Trigger::Manual,
        ..shop.night("2026-06-01")
    };
    shop.try_score(request).unwrap_err();
    assert_eq!(shop.rows("SELECT state, retry_at FROM runs"), ["failed -"]);
}

#[test]
fn a_night_is_scored_once() {
    let shop = Shop::forty();
    let request = shop.night("2026-06-01");
    shop.try_score(request).unwrap();
    shop.wait(DAY / 2);
    let error = shop.try_score(request).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&NotBegun::SlotTaken("2026-06-01".parse().unwrap())));
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM runs"), 1);
}

#[test]
fn one_run_at_a_time() {
    let shop = Shop::forty();
    shop.execute("INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules) VALUES ('manual', 'scoring', 0, 0, 'together', 0, '')");
    let error = shop.try_score(shop.night("2026-06-01")).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&NotBegun::Busy));
}

#[test]
fn a_crash_in_step_1_leaves_nothing_and_the_night_is_due_again() {
    let shop = Shop::forty();
    shop.execute("INSERT INTO runs (trigger, slot, state, as_of, started_at, ties, window_days, rules) VALUES ('scheduled', '2026-06-01', 'scoring', 0, 0, 'together', 0, '')");
    shop.execute("INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules) VALUES ('backfill', 'scoring', 0, 0, 'together', 0, '')");
    let resumed = shop.resume();
    assert_eq!((resumed.interrupted, resumed.emitted), (2, 0));
    let now = shop.now().millis();
    assert_eq!(
        shop.rows("SELECT trigger, state, retry_at FROM runs ORDER BY id"),
        [format!("scheduled failed {now}"), "backfill failed -".to_owned()]
    );
    assert_eq!(shop.try_score(shop.night("2026-06-01")).unwrap().changed, 40);
    assert_eq!(shop.resume(), quintile::scoring::Resumed::default());
}

#[test]
fn a_crash_in_step_2_goes_on_where_it_was() {
    let mut shop = large();
    shop.settings.baseline = quintile::config::Baseline::Send;
    // The third slice of 1,000 fails on its way.
    broken(&shop, "deliveries", "new.seq = 2300");
    let error = shop.try_score(shop.night("2026-06-01")).unwrap_err();
    assert!(format!("{error:#}").contains("is scored, but its deliveries are not all queued"), "{error:#}");
    assert_eq!(
        shop.rows("SELECT state, changed, first_seq, last_seq, emit_position FROM runs"),
        ["scored 2500 1 2500 2000"]
    );
    assert_eq!(shop.deliveries(), ["waiting - 2000"]);
    mend(&shop);
    shop.wait(MINUTE);
    assert_eq!(shop.resume().emitted, 1);
    assert_eq!(shop.rows("SELECT state, emit_position, error FROM runs"), ["done 2500 -"]);
    assert_eq!(shop.deliveries(), ["waiting - 2500"]);
    assert_eq!(shop.one::<i64>("SELECT count(DISTINCT seq) FROM deliveries"), 2500);
}

#[test]
fn a_crash_between_the_steps_loses_no_event() {
    let shop = large();
    broken(&shop, "deliveries", "1");
    shop.try_score(shop.night("2026-06-01")).unwrap_err();
    assert_eq!(shop.rows("SELECT state, emit_position FROM runs"), ["scored 0"]);
    assert_eq!(shop.deliveries(), Vec::<String>::new());
    mend(&shop);
    // The next run finishes the older one first, so that a customer's events stay in order.
    shop.order("0000", 99_999);
    shop.wait(DAY);
    shop.try_score(shop.night("2026-06-02")).unwrap();
    assert_eq!(shop.rows("SELECT state FROM runs"), ["done", "done"]);
    assert_eq!(shop.rows("SELECT id FROM deliveries WHERE id <> seq"), Vec::<String>::new());
    assert_eq!(
        shop.rows("SELECT DISTINCT hold FROM deliveries WHERE run_id = 1 AND state = 'held'"),
        ["baseline"],
        "still held"
    );
}
