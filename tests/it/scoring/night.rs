//! The night watch, with a clock that the test holds.

use std::{sync::Arc, time::Duration};

use quintile::{
    config::{Config, Scoring},
    db::Stopped,
    scoring::{self, Night, Trigger, night::ClockSuspect},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::scored_shop::{DAY, Shop, at, config};

fn berlin() -> Config {
    Config { scoring: Scoring { timezone: "Europe/Berlin".parse().unwrap(), ..Scoring::default() }, ..config() }
}

fn night_of(shop: &Shop) -> (Night, Arc<Notify>) {
    let emitted = Arc::new(Notify::new());
    (Night::new(&berlin(), shop.db.clone(), shop.clock.clone(), emitted.clone()).unwrap(), emitted)
}

/// Trigger, slot, as-of, state and missed nights of every run.
fn runs(shop: &Shop) -> Vec<String> {
    shop.rows(
        "SELECT trigger, slot, strftime('%Y-%m-%dT%H:%M', as_of / 1000, 'unixepoch'), state, missed FROM runs ORDER BY id",
    )
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn shop_with_orders(now: &str) -> Arc<Shop> {
    let now = at(now);
    blocking(move || {
        let shop = Shop::new();
        shop.set_clock(now);
        for number in 0..10 {
            shop.order(&format!("c{number}"), 1000 + number);
        }
        Arc::new(shop)
    })
    .await
}

#[tokio::test]
async fn a_new_shop_waits_for_its_first_night() {
    let shop = blocking(|| Arc::new(Shop::new())).await;
    let (night, _) = night_of(&shop);
    assert_eq!(night.beat().await.unwrap(), None, "no order, nothing to score");
    assert_eq!(night.next().unwrap().at, at("2026-06-02T00:00:00Z"), "02:00 in Berlin");

    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let (night, emitted) = night_of(&shop);
    assert_eq!(night.beat().await.unwrap(), None, "no catching up on nights before the shop");
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    let summary = night.beat().await.unwrap().unwrap();
    assert_eq!((summary.trigger, summary.scored, summary.as_of), (Trigger::Scheduled, 10, at("2026-06-02T00:00:00Z")));
    tokio::time::timeout(Duration::from_secs(1), emitted.notified()).await.expect("the forwarder is told");
    shop.wait(60_000);
    assert_eq!(night.beat().await.unwrap(), None, "once");
    assert_eq!(runs(&shop), ["scheduled 2026-06-02 2026-06-02T00:00 done 0"]);
}

#[tokio::test]
async fn a_shop_that_began_under_a_wrong_clock_does_not_wait_for_that_time() {
    let shop = shop_with_orders("2097-12-29T08:00:00Z").await;
    shop.set_clock(at("2026-06-01T10:00:00Z"));
    let (night, _) = night_of(&shop);
    night.beat().await.unwrap();
    assert_eq!(runs(&shop), ["catch_up 2026-06-01 2026-06-01T00:00 done 0"]);
    shop.wait(60_000);
    assert_eq!(night.beat().await.unwrap(), None, "once");
}

#[tokio::test]
async fn missed_nights_are_caught_up_by_one_run() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    shop.set_clock(at("2026-06-09T07:30:00Z"));
    let (night, _) = night_of(&shop);
    night.beat().await.unwrap().unwrap();
    assert_eq!(night.beat().await.unwrap(), None);
    assert_eq!(runs(&shop), ["catch_up 2026-06-09 2026-06-09T00:00 done 7"]);
    // Another start, the clock an hour and then two days back: nothing runs twice.
    for back in [3_600_000, 2 * DAY] {
        shop.wait(-back);
        let (night, _) = night_of(&shop);
        assert_eq!(night.beat().await.unwrap(), None);
    }
}

#[tokio::test]
async fn daylight_saving_runs_once_a_date() {
    let shop = shop_with_orders("2026-10-24T10:00:00Z").await;
    let (night, _) = night_of(&shop);
    // From before the night of the change to after the next, a beat every ten minutes.
    shop.set_clock(at("2026-10-24T22:00:00Z"));
    for _ in 0..(6 * 28) {
        night.beat().await.unwrap();
        shop.wait(600_000);
    }
    assert_eq!(
        runs(&shop),
        ["scheduled 2026-10-25 2026-10-25T00:00 done 0", "scheduled 2026-10-26 2026-10-26T01:00 done 0"]
    );
}

#[tokio::test]
async fn a_failed_night_is_tried_again_after_5_15_and_60_minutes() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let breaking = shop.clone();
    blocking(move || {
        breaking.execute("CREATE TRIGGER broken BEFORE INSERT ON history BEGIN SELECT raise(ABORT, 'disk full'); END");
    })
    .await;
    let (night, _) = night_of(&shop);
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    let mut tried = Vec::new();
    for minute in 0..200 {
        if night.beat().await.is_err() {
            tried.push(minute);
        }
        shop.wait(60_000);
    }
    assert_eq!(tried, [0, 5, 20, 80]);
    assert_eq!(runs(&shop), ["scheduled 2026-06-02 2026-06-02T00:00 failed 0"]);
    let mending = shop.clone();
    blocking(move || mending.execute("DROP TRIGGER broken")).await;
    assert_eq!(night.beat().await.unwrap(), None, "given up; the next night is another");
    shop.set_clock(at("2026-06-03T00:00:00Z"));
    assert_eq!(night.beat().await.unwrap().unwrap().scored, 10);
}

#[tokio::test]
async fn a_run_whose_failure_could_not_be_noted_either_stops_no_later_one() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let breaking = shop.clone();
    blocking(move || {
        breaking.execute(
            "CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT raise(ABORT, 'disk full'); END;
             CREATE TRIGGER too BEFORE UPDATE ON runs WHEN new.state = 'failed' BEGIN SELECT raise(ABORT, 'disk full'); END",
        );
    })
    .await;
    let (night, _) = night_of(&shop);
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    night.beat().await.unwrap_err();
    night.score_now().await.unwrap_err();
    assert_eq!(runs(&shop), ["scheduled 2026-06-02 2026-06-02T00:00 scoring 0"]);
    let mending = shop.clone();
    blocking(move || mending.execute("DROP TRIGGER full; DROP TRIGGER too")).await;
    assert_eq!(night.score_now().await.unwrap().scored, 10, "without a restart");
    night.beat().await.unwrap().unwrap();
    assert_eq!(shop.rows("SELECT state FROM runs"), ["done", "done"]);
}

#[tokio::test]
async fn a_clock_far_ahead_starts_nothing_until_a_person_does() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let (night, _) = night_of(&shop);
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    night.beat().await.unwrap().unwrap();
    shop.set_clock(at("2099-01-01T09:00:00Z"));
    assert_eq!(night.beat().await.unwrap(), None);
    shop.set_clock(at("2026-06-03T00:00:00Z"));
    assert!(night.beat().await.unwrap().is_some(), "the clock is right again, and so are the nights");
    shop.set_clock(at("2099-01-01T09:00:00Z"));
    assert_eq!(night.score_now().await.unwrap().trigger, Trigger::Manual);
    shop.wait(DAY);
    assert!(night.beat().await.unwrap().is_some());
}

#[tokio::test]
async fn a_clock_that_was_ahead_stops_the_nights_until_a_person_says_that_it_is_right_now() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let (night, _) = night_of(&shop);
    shop.set_clock(at("2026-09-01T09:00:00Z"));
    night.beat().await.unwrap().unwrap();
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    assert_eq!(suspect(&shop), Some(ClockSuspect::Behind));
    assert_eq!(night.beat().await.unwrap(), None);

    assert_eq!(night.score_now().await.unwrap().trigger, Trigger::Manual);
    assert_eq!(suspect(&shop), None);
    assert_eq!(night.beat().await.unwrap().unwrap().scored, 10, "the night is still to come");
    assert_eq!(night.beat().await.unwrap(), None);
    assert_eq!(
        runs(&shop),
        [
            "catch_up - 2026-06-02T00:00 done 91",
            "manual - 2026-06-02T00:00 done 0",
            "scheduled 2026-06-02 2026-06-02T00:00 done 0"
        ]
    );
}

#[tokio::test]
async fn a_night_that_failed_under_a_wrong_clock_stops_the_others_too() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let (night, _) = night_of(&shop);
    let breaking = shop.clone();
    blocking(move || {
        breaking.execute("CREATE TRIGGER broken BEFORE INSERT ON history BEGIN SELECT raise(ABORT, 'disk full'); END");
    })
    .await;
    shop.set_clock(at("2026-09-01T09:00:00Z"));
    night.beat().await.unwrap_err();
    let mending = shop.clone();
    blocking(move || mending.execute("DROP TRIGGER broken")).await;
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    assert_eq!((suspect(&shop), night.beat().await.unwrap()), (Some(ClockSuspect::Behind), None));
    night.score_now().await.unwrap();
    assert_eq!(night.beat().await.unwrap().unwrap().trigger, Trigger::Scheduled);
    assert_eq!(runs(&shop)[0], "catch_up - 2026-06-02T00:00 failed 91", "and is not tried again");
}

#[tokio::test]
async fn a_run_of_the_past_says_nothing_of_the_clock() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let (night, _) = night_of(&shop);
    shop.set_clock(at("2026-06-02T00:00:00Z"));
    night.beat().await.unwrap().unwrap();
    shop.set_clock(at("2026-06-01T12:00:00Z"));
    let past = shop.clone();
    let summary = blocking(move || past.score_as_of(at("2026-06-01T11:00:00Z"))).await;
    assert!(summary.statistics_only);
    assert_eq!(suspect(&shop), Some(ClockSuspect::Behind));
}

fn suspect(shop: &Shop) -> Option<ClockSuspect> {
    scoring::clock_suspect(&shop.db.readers().get().unwrap(), shop.now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_while_another_run_goes_on_or_is_looked_for_comes_after_it() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let (night, _) = night_of(&shop);
    let (looked, one, two) = tokio::join!(night.beat(), night.score_now(), night.score_now());
    assert!(looked.unwrap().is_none(), "no night was due");
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM runs WHERE state = 'done'"), 2);
    shop.db.ending().announce();
    assert!(night.score_now().await.unwrap_err().is::<Stopped>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_takes_up_a_crash_and_catches_up_at_start() {
    let shop = shop_with_orders("2026-06-01T10:00:00Z").await;
    let crashed = shop.clone();
    blocking(move || crashed.execute("INSERT INTO runs (trigger, slot, state, as_of, started_at, ties, window_days, rules) VALUES ('scheduled', '2026-06-02', 'scoring', 1780358400000, 0, 'together', 0, '')")).await;
    shop.set_clock(at("2026-06-02T05:00:00Z"));
    let (night, emitted) = night_of(&shop);
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { night.watch(shutdown).await }
    });
    tokio::time::timeout(Duration::from_secs(20), emitted.notified()).await.expect("a run at start");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), watching).await.expect("stops when told").unwrap().unwrap();
    assert_eq!(runs(&shop), ["scheduled 2026-06-02 2026-06-02T00:00 done 0"]);
    assert_eq!(shop.one::<i64>("SELECT attempts FROM runs"), 2);
}
