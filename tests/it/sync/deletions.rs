//! What is gone from the shop without a word.

use super::{
    home::Home,
    nodes::{customer, order},
};

/// The history came in a week ago.
async fn after_a_week() -> Home {
    let home = Home::at("2026-11-02T12:00:00Z").await;
    home.admin.fill(200, "2026-11-02T00:00:00Z");
    home.pull().await;
    // Not idle for a week: the pulls in between are pages.
    for _ in 0..2 {
        home.later(3 * 24);
        assert!(!home.pull().await.swept);
    }
    home.later(24);
    home
}

fn forget(home: &Home, orders: impl IntoIterator<Item = u64>) {
    for id in orders {
        home.admin.shop().orders.remove(&id);
    }
}

#[tokio::test]
async fn a_week_later_deleted_orders_and_customers_are_found() {
    let home = after_a_week().await;
    forget(&home, [7, 8]);
    home.admin.shop().customers.remove(&9);
    let entry = home.pull().await;
    assert!(entry.swept);
    assert_eq!((entry.counts.orders.deleted, entry.counts.customers.deleted, entry.counts.missed), (2, 1, Some(2)));
    assert_eq!(home.rows("SELECT source_id FROM orders WHERE deleted_at IS NOT NULL ORDER BY 1"), ["7", "8"]);
    assert_eq!(home.row("SELECT external_id FROM customers WHERE deleted_at IS NOT NULL"), "9");
    assert_eq!(home.row("SELECT order_count, total_spent FROM customers WHERE external_id = '4'"), "0 | 0");
    // Only those that were missing were asked for.
    assert_eq!(home.admin.shop().count("Existing"), 2);
    home.later(24);
    assert!(!home.pull().await.swept);
}

#[tokio::test]
async fn what_is_not_in_the_list_and_yet_there_stays() {
    let home = after_a_week().await;
    // Known from a webhook a moment ago, and not in the list: its id is asked for.
    home.admin.shop().orders.insert(500, order(500, Some(1), "9.00", "2026-11-09T11:00:00Z"));
    home.pull().await;
    home.later(7 * 24);
    home.admin.shop().unlisted.push(500);
    let entry = home.pull().await;
    assert_eq!((entry.swept, entry.counts.orders.deleted), (true, 0));
    assert_eq!(home.admin.shop().count("Existing"), 1);
}

#[tokio::test]
async fn orders_that_the_app_cannot_see_are_not_deleted() {
    let home = after_a_week().await;
    // Without read_all_orders the list begins somewhere: here at order 101.
    home.admin.shop().unlisted.extend(1..=100);
    forget(&home, [150]);
    let entry = home.pull().await;
    assert_eq!(entry.counts.orders.deleted, 1);
    assert_eq!(home.rows("SELECT source_id FROM orders WHERE deleted_at IS NOT NULL"), ["150"]);
}

#[tokio::test]
async fn an_improbable_number_is_not_believed() {
    let home = after_a_week().await;
    forget(&home, 2..=200);
    let entry = home.pull().await;
    assert_eq!(entry.counts.orders.deleted, 0);
    assert!(
        entry.notes[0].contains("no longer lists 199 of 400 orders, which looks like a missing permission"),
        "{:?}",
        entry.notes
    );
    home.admin.shop().orders.clear();
    home.later(7 * 24);
    let entry = home.pull().await;
    assert!(entry.notes[0].starts_with("the shop lists no orders"), "{:?}", entry.notes);
    assert_eq!(home.row("SELECT count(*) FROM orders WHERE deleted_at IS NOT NULL"), "0");
}

#[tokio::test]
async fn a_list_that_is_cut_deletes_nothing() {
    let home = after_a_week().await;
    home.admin.shop().customers.insert(201, customer(201, "2026-11-09T11:00:00Z"));
    home.admin.shop().endings.push_back(super::admin::Ending::Partial(300));
    let (entry, told) = home.fail().await;
    assert!(told.contains("the shop's list of orders has 300 of 400; nothing was taken for deleted"), "{told}");
    assert_eq!(entry.counts.orders.deleted, 0);
    // The next one begins with the list, not with the pages.
    let pages = home.admin.shop().count("Orders");
    let entry = home.pull().await;
    assert_eq!((entry.attempts, home.admin.shop().count("Orders")), (2, pages));
}
