//! `customer/lapsed`: once per threshold until the next order.

use crate::support::scored_shop::{DAY, Shop, noon};

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
    let expected: Vec<String> =
        (0..=7).map(|number| format!("c{number} 90 6")).chain(["c8 30 6".to_owned(), "c9 90 6".to_owned()]).collect();
    assert_eq!(last, expected);
    let deliveries: i64 =
        shop.one("SELECT count(*) FROM deliveries d JOIN outbox o ON o.seq = d.seq WHERE o.lapsed_days > 0");
    assert_eq!(deliveries, 12, "one each at the one destination");
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
