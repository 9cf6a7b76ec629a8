//! What a run writes: baseline, causes, holds, new rules, merged customers, past as-ofs.

use quintile::{
    config::{Baseline, Config, Scoring, Segment, SegmentScheme},
    scoring::{self, Progress, Request, Settings, Silent, Step, Trigger, night::Schedule},
};

use crate::support::scored_shop::{DAY, Shop, add_order, at, config, noon};

#[test]
fn the_first_run_is_the_baseline() {
    let shop = Shop::forty();
    let summary = shop.score();
    assert!(summary.baseline && summary.held);
    assert_eq!((summary.scored, summary.changed), (40, 40));
    let events = shop.events_of(&summary);
    assert!(events.iter().all(|(_, old, new, cause)| old.is_none() && new.is_some() && cause == "baseline"));
    assert_eq!(shop.deliveries(), ["held baseline 40"]);
    assert_eq!(
        shop.rows("SELECT trigger, state, baseline, held, attempts, first_seq, last_seq, emit_position FROM runs"),
        ["manual done 1 1 1 1 40 40"]
    );
    assert_eq!(shop.rows("SELECT count(DISTINCT at) FROM outbox"), ["1"], "one instant for all");
    let total: u64 = summary.segments.iter().map(|(_, customers)| customers).sum();
    assert_eq!(total, 40);
    assert_eq!(summary.segments.len(), 7, "empty ones are named too");
    assert_eq!(
        shop.one::<i64>("SELECT sum(revenue) FROM run_segments"),
        shop.one::<i64>("SELECT sum(total_spent) FROM customers")
    );
    let timed = "SELECT score_ms IS NOT NULL AND rank_ms IS NOT NULL AND write_ms IS NOT NULL AND emit_ms IS NOT NULL FROM runs";
    assert_eq!(shop.rows(timed), ["1"]);
    assert!(!shop.score().baseline, "once");
}

#[test]
fn the_merchant_chooses_what_becomes_of_the_baseline() {
    for (baseline, deliveries, held) in [
        (Baseline::Quiet, "held baseline 40", true),
        (Baseline::Hold, "held baseline 40", true),
        (Baseline::Send, "waiting - 40", false),
        (Baseline::Discard, "discarded - 40", false),
    ] {
        let mut shop = Shop::forty();
        shop.settings.baseline = baseline;
        assert_eq!(shop.score().held, held);
        assert_eq!(shop.deliveries(), [deliveries], "{baseline:?}");
    }
}

#[test]
fn an_empty_shop_is_scored_without_a_baseline() {
    let shop = Shop::new();
    let summary = shop.score();
    assert_eq!((summary.scored, summary.changed, summary.baseline, summary.held), (0, 0, false, false));
    shop.order("anna", 1000);
    shop.wait(DAY);
    assert!(shop.score().baseline, "the first run that names anybody");
}

#[test]
fn every_change_says_its_cause() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    // c01 buys a lot; c40 gets everything back but one order's worth of cents.
    for _ in 0..9 {
        shop.order("c01", 50_000);
    }
    shop.write(|tx| {
        tx.execute_batch(
            "UPDATE orders SET net = 1 WHERE customer_id = (SELECT id FROM customers WHERE external_id = 'c40');
             UPDATE customers SET total_spent = order_count, avg_order_value = 1 WHERE external_id = 'c40'",
        )
        .unwrap();
    });
    let summary = shop.score();
    let events = shop.events_of(&summary);
    let cause = |customer: &str| events.iter().find(|event| event.0 == customer).map(|event| event.3.clone());
    assert_eq!(cause("c01").as_deref(), Some("order"));
    assert_eq!(cause("c40").as_deref(), Some("refund"));
    let others: Vec<_> = events.iter().filter(|event| event.0 != "c01" && event.0 != "c40").collect();
    assert!(!others.is_empty() && others.iter().all(|event| event.3 == "ranking"), "{others:?}");
    assert_eq!(shop.rows("SELECT DISTINCT state FROM deliveries WHERE run_id = 2"), ["waiting"]);
}

/// A cause looks back one run, not to the customer's last change.
#[test]
fn an_order_of_two_runs_ago_is_not_the_cause() {
    let shop = Shop::new();
    for number in 0..10 {
        shop.order_at(&format!("c{number}"), 1000 + number, noon().plus_millis((number - 30) * DAY));
    }
    shop.score();
    shop.wait(DAY);
    // c9 orders and stays where they are: the best anyway.
    shop.order("c9", 100);
    let summary = shop.score();
    assert!(shop.events_of(&summary).iter().all(|event| event.0 != "c9" || event.3 == "order"));
    shop.wait(DAY);
    // Now others overtake c9 in everything.
    for number in 0..5 {
        for _ in 0..4 {
            shop.order(&format!("c{number}"), 9000);
        }
    }
    let summary = shop.score();
    let event = shop.events_of(&summary).into_iter().find(|event| event.0 == "c9").unwrap();
    assert_eq!(event.3, "ranking");
}

#[test]
fn an_order_that_arrives_late_is_still_an_order() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    for _ in 0..30 {
        shop.order_at("c20", 9000, noon().plus_millis(-40 * DAY));
    }
    let summary = shop.score();
    let event = shop.events_of(&summary).into_iter().find(|event| event.0 == "c20").unwrap();
    assert_eq!(event.3, "order");
}

#[test]
fn a_run_that_moves_too_many_waits_for_the_merchant() {
    let shop = Shop::new();
    shop.write(|tx| {
        for number in 0..400i64 {
            add_order(tx, &format!("{number:03}"), 1000 + number, noon().plus_millis((number - 500) * DAY / 10));
        }
    });
    shop.score();
    shop.wait(DAY);
    // The lower half buys: everybody moves.
    for number in 0..200 {
        shop.order(&format!("{number:03}"), 90_000);
    }
    let summary = shop.score();
    assert!(summary.changed > 100 && summary.held && !summary.baseline, "{summary:?}");
    let changed = i64::try_from(summary.changed).unwrap();
    assert_eq!(
        shop.rows("SELECT state, hold, count(*) FROM deliveries WHERE run_id = 2 GROUP BY 1, 2"),
        [format!("held run {changed}")]
    );
    assert_eq!(shop.rows("SELECT held, baseline FROM runs WHERE id = 2"), ["1 0"]);
    assert_eq!(
        shop.one::<i64>("SELECT count(*) FROM history WHERE run_id = 2 AND moved = 1"),
        changed,
        "recorded in full"
    );
}

#[test]
fn a_hundred_changes_are_never_too_many() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    for number in 1..=20 {
        for _ in 0..7 {
            shop.order(&format!("c{number:02}"), 90_000);
        }
    }
    let summary = shop.score();
    assert!(summary.changed > 8 && !summary.held, "{summary:?}");
}

#[test]
fn new_rules_are_a_remap_held_like_a_baseline() {
    let mut shop = Shop::forty();
    shop.score();
    let scores = shop.scores();
    shop.wait(DAY);
    shop.settings = Settings::from_config(&Config {
        scoring: Scoring { segments: SegmentScheme::Detailed, ..Scoring::default() },
        ..config()
    })
    .unwrap();
    let summary = shop.score();
    assert!(summary.remap && summary.held && summary.changed > 0);
    assert_eq!(shop.scores(), scores, "scores stay");
    assert!(shop.events_of(&summary).iter().all(|event| event.3 == "remap" && event.1.is_some()));
    assert_eq!(shop.rows("SELECT DISTINCT state, hold FROM deliveries WHERE run_id = 2"), ["held baseline"]);
    shop.wait(DAY);
    let summary = shop.score();
    assert!(!summary.remap && summary.changed == 0);
}

#[test]
fn new_rules_wait_when_they_move_too_many_even_if_the_first_run_was_sent() {
    let mut shop = Shop::new();
    shop.write(|tx| {
        for number in 0..400i64 {
            add_order(tx, &format!("{number:03}"), 1000 + number, noon().plus_millis((number - 500) * DAY / 10));
        }
    });
    shop.settings.baseline = Baseline::Send;
    assert!(!shop.score().held, "who sends the baseline means everyone");
    assert_eq!(shop.deliveries(), ["waiting - 400"]);
    shop.wait(DAY);
    let detailed = Scoring { segments: SegmentScheme::Detailed, ..Scoring::default() };
    shop.settings = Settings::from_config(&Config { scoring: detailed, ..config() }).unwrap();
    shop.settings.baseline = Baseline::Send;
    let summary = shop.score();
    assert!(summary.remap && summary.held && summary.changed > 100, "{summary:?}");
    assert_eq!(shop.rows("SELECT DISTINCT state, hold FROM deliveries WHERE run_id = 2"), ["held run"]);
}

#[test]
fn other_labels_are_no_remap() {
    let custom = |label: &str| Config {
        scoring: Scoring { segments: SegmentScheme::Custom, ..Scoring::default() },
        segment: vec![
            Segment { name: "good".to_owned(), r: "4-5".to_owned(), label: label.to_owned(), ..Segment::default() },
            Segment { name: "rest".to_owned(), ..Segment::default() },
        ],
        ..config()
    };
    let mut shop = Shop::forty();
    shop.settings = Settings::from_config(&custom("Good")).unwrap();
    let summary = shop.score();
    assert_eq!(summary.segments, [("good".to_owned(), 16), ("rest".to_owned(), 24)]);
    shop.settings = Settings::from_config(&custom("Great")).unwrap();
    assert!(!shop.score().remap);
}

#[test]
fn a_merged_customer_goes_without_an_event() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    shop.merge("c39", "c40");
    let summary = shop.score();
    assert_eq!(summary.scored, 39);
    assert!(shop.events_of(&summary).iter().all(|event| event.0 != "c39"));
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM scores"), 39);
}

#[test]
fn a_deleted_customer_loses_the_segment_with_an_event() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    shop.execute("UPDATE customers SET deleted_at = 1 WHERE external_id = 'c40'");
    let summary = shop.score();
    let event = shop.events_of(&summary).into_iter().find(|event| event.0 == "c40").unwrap();
    assert_eq!((event.1.as_deref(), event.2), (Some("champion"), None));
    assert_eq!(event.3, "refund", "their orders count no more; it was not the others, and no order");
}

#[test]
fn previous_segment_and_since_are_kept() {
    let shop = Shop::forty();
    shop.score();
    let first = shop.now().millis();
    shop.wait(DAY);
    let second = shop.now().millis();
    for _ in 0..9 {
        shop.order("c01", 50_000);
    }
    shop.score();
    let of = |customer: &str| {
        shop.rows(&format!(
            "SELECT segment, previous_segment, segment_since FROM scores s JOIN customers c ON c.id = customer_id WHERE external_id = '{customer}'"
        ))
    };
    assert_eq!(of("c01"), [format!("champion lost {second}")]);
    assert_eq!(of("c02"), [format!("lost - {first}")], "nothing changed for them");
}

#[test]
fn an_as_of_before_the_latest_run_writes_statistics_only() {
    let shop = Shop::forty();
    shop.score();
    let before = shop.rows("SELECT * FROM scores ORDER BY 1");
    shop.wait(DAY);
    shop.order("c01", 90_000);
    let summary = shop.score_as_of(noon().plus_millis(-20 * DAY));
    assert!(summary.statistics_only && summary.scored < 40 && summary.scored > 0, "{summary:?}");
    assert_eq!(summary.changed, 0);
    assert_eq!(shop.rows("SELECT * FROM scores ORDER BY 1"), before);
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM outbox"), 40);
    assert_eq!(
        u64::try_from(shop.one::<i64>("SELECT sum(customers) FROM run_segments WHERE run_id = 2")).unwrap(),
        summary.scored
    );
    assert!(shop.score().changed > 0, "the order counts in the next run that is not of the past");
}

#[test]
fn backfill_gives_a_new_shop_its_trend_and_changes_nobody() {
    let shop = Shop::forty();
    let schedule = Schedule::new("0 2 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
    let done = scoring::backfill(&shop.db, &shop.settings, &schedule, 26, &shop.clock, &Silent).unwrap();
    shop.check_invariants();
    // c01 ordered first, at noon 49 days ago; 26 weeks reach back further.
    assert_eq!((done.runs.len(), done.skipped), (6, 20));
    assert!(done.runs.is_sorted_by(|a, b| a.as_of < b.as_of && a.scored <= b.scored));
    assert_eq!(done.runs[5].as_of, at("2026-05-25T00:00:00Z"), "02:00 in Berlin, a week ago");
    for table in ["scores", "history", "outbox", "deliveries"] {
        assert_eq!(shop.one::<i64>(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    assert_eq!(shop.rows("SELECT DISTINCT trigger, state FROM runs"), ["backfill done"]);
    let again = scoring::backfill(&shop.db, &shop.settings, &schedule, 26, &shop.clock, &Silent).unwrap();
    assert_eq!((again.runs.len(), again.skipped), (0, 26));
    assert!(shop.score().baseline, "still the first run");
}

#[test]
fn a_dry_run_writes_nothing_and_says_the_same() {
    let shop = Shop::forty();
    let dry = scoring::dry_run(shop.db.readers(), &shop.settings, shop.now(), &Silent).unwrap();
    for table in ["scores", "runs", "outbox"] {
        assert_eq!(shop.one::<i64>(&format!("SELECT count(*) FROM {table}")), 0);
    }
    let real = shop.score();
    assert_eq!((dry.scored, dry.changed, dry.baseline), (real.scored, real.changed, real.baseline));
    assert_eq!((dry.run_id, dry.segments), (None, real.segments));
}

/// While everyone is ranked, orders are accepted; they count in the next run.
#[test]
fn orders_that_arrive_meanwhile_count_in_the_next_run() {
    struct Webhook<'a>(&'a Shop);
    impl Progress for Webhook<'_> {
        fn begin(&self, step: Step, _: u64) {
            if step == Step::Write {
                self.0.order("c01", 90_000);
            }
        }
        fn advance(&self, _: u64) {}
    }
    let shop = Shop::forty();
    let request = Request { trigger: Trigger::Manual, slot: None, as_of: shop.now(), missed: 0 };
    scoring::run(&shop.db, &shop.settings, request, &shop.clock, &Webhook(&shop)).unwrap();
    shop.check_invariants();
    assert_eq!(shop.scores()["c01"], Some([1, 1, 1]));
    shop.wait(DAY);
    let summary = shop.score();
    let event = shop.events_of(&summary).into_iter().find(|event| event.0 == "c01").unwrap();
    assert_eq!(event.3, "order");
}

#[test]
fn a_clock_that_goes_back_keeps_events_in_order() {
    let shop = Shop::forty();
    shop.score();
    let first: i64 = shop.one("SELECT max(at) FROM outbox");
    shop.order("c01", 90_000);
    shop.set_clock(noon().plus_millis(-3_600_000));
    shop.score_as_of(noon());
    assert_eq!(shop.one::<i64>("SELECT max(at) FROM outbox"), first + 1);
}
