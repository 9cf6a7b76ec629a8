//! This machine's clock is wrong, the shop's is right: nothing is passed over.

use super::{home::Home, nodes::order};

async fn home() -> Home {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(3, "2026-11-22T00:00:00Z");
    home
}

fn change(home: &Home, id: u64) {
    home.admin.shop().orders.insert(id, order(id, Some(1), "5.00", &home.now().to_string()));
}

#[tokio::test]
async fn what_changes_after_a_pull_by_a_clock_that_was_ahead_is_fetched() {
    for ahead in [1, 72, 24 * 365 * 70] {
        let home = home().await;
        home.set_clock(ahead);
        home.pull().await;
        home.later(1);
        change(&home, 100);
        home.set_clock(0);
        home.later(1);
        assert_eq!(home.pull().await.counts.orders.new, 1, "{ahead} hours ahead");
    }
}

#[tokio::test]
async fn a_clock_that_is_always_ahead_passes_over_nothing() {
    let home = home().await;
    home.set_clock(3);
    home.pull().await;
    for id in 100..104 {
        home.later(1);
        change(&home, id);
        home.later(5);
        assert_eq!(home.pull().await.counts.orders.new, 1, "order {id}");
    }
}

#[tokio::test]
async fn what_a_clock_that_is_behind_refused_is_asked_for_again() {
    let home = home().await;
    home.pull().await;
    home.later(6);
    change(&home, 100);
    home.later(1);
    // Set back while the pull is under way: what it fetches lies in the future.
    let syncer = home.syncer();
    let run = syncer.run(quintile::sync::log::Trigger::Manual, false);
    let clock = async {
        while home.admin.shop().count("Shop") < 2 {
            tokio::task::yield_now().await;
        }
        home.set_clock(-24 * 30);
    };
    let entry = super::home::done(tokio::join!(run, clock).0.unwrap());
    assert_eq!((entry.counts.orders.rejected, entry.counts.orders.new), (1, 0));
    home.set_clock(0);
    home.later(6);
    assert_eq!(home.pull().await.counts.orders.new, 1);
}

#[tokio::test]
async fn the_weekly_look_for_what_is_gone_comes_back_after_a_clock_that_was_ahead() {
    let home = home().await;
    home.set_clock(24 * 365);
    home.pull().await;
    home.set_clock(0);
    home.admin.shop().orders.remove(&3);
    home.later(1);
    let entry = home.pull().await;
    assert_eq!((entry.swept, entry.counts.orders.deleted), (true, 1));
    home.later(24);
    assert!(!home.pull().await.swept, "and is weekly again");
}
