//! `customer/lapsed`: once per threshold until the next order.

use crate::support::{
    folder::COUNTERS,
    scored_shop::{DAY, Shop, noon},
};

fn lapsed(shop: &Shop) -> Vec<String> {
    shop.rows(
        "SELECT c.external_id, o.lapsed_days, o.run_id FROM outbox o JOIN customers c ON c.id = o.customer_id
         WHERE o.type = 'customer/lapsed' ORDER BY o.seq",
    )
}

#[test]
fn each_threshold_is_told_once_until_the_next_order() {
    let mut shop = Shop::new();
    shop.settings.lapsed_days = vec![30, 90];
    for number in 0..10 {
        shop.order_at(&format!("c{number}"), 1000 + number, noon().plus_millis(-number * DAY));
    }
    shop.order_at("long-ago", 5000, noon().plus_millis(-400 * DAY));
    shop.visitor("never");
    shop.score();
    assert!(lapsed(&shop).is_empty(), "the first run has none to compare with");

    let run_on = |day: i64| {
        shop.set_clock(noon().plus_millis(day * DAY));
        shop.score();
        shop.check_invariants();
        shop.rows("SELECT first_seq <= last_seq, emit_position = last_seq FROM runs ORDER BY id DESC LIMIT 1")
    };
    run_on(20); // c9 lies 29 days back
    run_on(21);
    run_on(21);
    run_on(22);
    assert_eq!(lapsed(&shop), ["c9 30 3", "c8 30 5"]);
    shop.order("c8", 2000);
    shop.set_clock(noon().plus_millis(22 * DAY + 68 * DAY));
    shop.score();
    shop.check_invariants();
    let last = lapsed(&shop).split_off(2);
    let both = (0..=7).flat_map(|number| [30, 90].map(|days| format!("c{number} {days} 6")));
    let expected: Vec<String> = both.chain(["c8 30 6".to_owned(), "c9 90 6".to_owned()]).collect();
    assert_eq!(last, expected, "thresholds that pass in one gap are all told, in order");
    let deliveries: i64 =
        shop.one("SELECT count(*) FROM deliveries d JOIN outbox o ON o.seq = d.seq WHERE o.lapsed_days > 0");
    assert_eq!(deliveries, 20, "one each at the one destination");
}

/// An order that a run counted and that is cancelled since, `days` after noon.
fn cancel(shop: &Shop, order: i64, days: i64) {
    let at = noon().plus_millis(days * DAY).millis();
    shop.write(move |tx| {
        tx.execute(
            "UPDATE orders SET counted = 0, status = 'cancelled', cancelled_at = ?2, received_at = ?2 WHERE id = ?1",
            [order, at],
        )
        .unwrap();
        tx.execute(
            "UPDATE customers SET (order_count, total_spent, first_order_at, last_order_at) =
               (SELECT count(*), coalesce(sum(net), 0), min(ordered_at), max(ordered_at) FROM orders
                 WHERE customer_id = customers.id AND counted = 1)
             WHERE id = (SELECT customer_id FROM orders WHERE id = ?1)",
            [order],
        )
        .unwrap();
    });
}

#[test]
fn who_takes_back_their_last_order_is_past_the_thresholds_again() {
    let mut shop = Shop::new();
    shop.folder.except(&[COUNTERS]); // averages are not what it is about
    shop.settings.lapsed_days = vec![30, 90];
    shop.order_at("other", 1000, noon());
    shop.order_at("far", 1000, noon().plus_millis(-177 * DAY));
    let far = shop.order_at("far", 2000, noon().plus_millis(-DAY));
    shop.order_at("near", 1000, noon().plus_millis(-60 * DAY));
    let near = shop.order_at("near", 2000, noon().plus_millis(-40 * DAY));
    shop.order_at("early", 1000, noon().plus_millis(-200 * DAY));
    let early = shop.order_at("early", 1000, noon().plus_millis(-190 * DAY));
    shop.order_at("early", 1000, noon().plus_millis(-2 * DAY));
    let only = shop.order_at("only", 1000, noon().plus_millis(-DAY));
    shop.score();
    // A day later: the last orders of three are cancelled, an old one of a fourth, and one that no
    // run has seen.
    shop.set_clock(noon().plus_millis(DAY));
    shop.order_at("unseen", 1000, noon().plus_millis(-100 * DAY));
    let unseen = shop.order_at("unseen", 1000, noon().plus_millis(DAY / 2));
    for order in [far, near, early, only, unseen] {
        cancel(&shop, order, 1);
    }
    shop.score();
    shop.check_invariants();
    assert_eq!(lapsed(&shop), ["far 30 2", "far 90 2"], "near was past 30 before and is not past 90");
    // Once, and again only after the next order.
    shop.set_clock(noon().plus_millis(2 * DAY));
    shop.score();
    assert_eq!(lapsed(&shop).len(), 2);
    let next = shop.order("far", 3000);
    shop.score();
    shop.set_clock(noon().plus_millis(3 * DAY));
    cancel(&shop, next, 3);
    shop.score();
    assert_eq!(lapsed(&shop)[2..], ["far 30 5", "far 90 5"]);
}

#[test]
fn who_left_does_not_lapse() {
    let mut shop = Shop::new();
    shop.settings.lapsed_days = vec![30];
    for customer in ["stays", "redacted", "deleted"] {
        shop.order(customer, 1000);
    }
    shop.score();
    shop.execute("UPDATE customers SET redacted_at = 1, email = NULL WHERE external_id = 'redacted'");
    shop.execute("UPDATE customers SET deleted_at = 1 WHERE external_id = 'deleted'");
    shop.set_clock(noon().plus_millis(30 * DAY));
    shop.score();
    assert_eq!(lapsed(&shop), ["stays 30 2"]);
}
