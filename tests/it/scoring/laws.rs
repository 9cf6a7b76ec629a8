//! The laws of the quintiles, each a test.

use proptest::{collection::vec, prelude::*, sample::Index};
use quintile::scoring::Ties;

use crate::support::{
    folder::COUNTERS,
    scored_shop::{DAY, Shop, add_order, at, noon},
};

/// cents and days before noon, per customer
fn shop_of(values: &[(i64, i64)]) -> Shop {
    let shop = Shop::new();
    let values = values.to_vec();
    shop.write(move |tx| {
        for (number, (cents, days)) in values.iter().enumerate() {
            add_order(tx, &format!("{number:03}"), *cents, noon().plus_millis(-days * DAY));
        }
    });
    shop
}

#[test]
fn without_new_data_nothing_changes_whatever_the_date() {
    let shop = Shop::forty();
    assert_eq!(shop.score().changed, 40);
    let before = shop.rows("SELECT * FROM scores ORDER BY 1");
    for days in [0, 1, 7, 365, 4000] {
        shop.wait(days * DAY);
        assert_eq!(shop.score().changed, 0, "{days} days later");
    }
    assert_eq!(shop.rows("SELECT * FROM scores ORDER BY 1"), before);
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM history"), 40);
}

#[test]
fn with_a_window_time_alone_takes_orders_away_but_no_recency() {
    let mut shop = Shop::forty();
    shop.settings.window_days = 30;
    shop.score();
    let before = shop.scores();
    shop.wait(15 * DAY);
    let summary = shop.score();
    assert!(summary.changed > 0);
    let after = shop.scores();
    assert!(before.iter().all(|(id, scores)| scores.unwrap()[0] == after[id].unwrap()[0]));
    let causes: Vec<String> = shop.rows("SELECT DISTINCT cause FROM outbox WHERE run_id = 2");
    assert_eq!(causes, ["ranking"], "nobody did anything");
}

#[test]
fn vacuum_changes_nothing() {
    for ties in [Ties::Together, Ties::Split] {
        let mut shop = Shop::forty();
        shop.settings.ties = ties;
        shop.score();
        shop.outside().execute_batch("VACUUM").unwrap();
        assert_eq!(shop.score().changed, 0);
    }
}

#[test]
fn the_last_counted_order_gone_leaves_no_segment_and_says_so() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    let order: i64 =
        shop.one("SELECT o.id FROM orders o JOIN customers c ON c.id = customer_id WHERE external_id = 'c03'");
    shop.set_net(order, 0);
    let summary = shop.score();
    assert_eq!(summary.scored, 39);
    assert_eq!(shop.segment("c03"), None);
    assert_eq!(shop.scores()["c03"], None);
    let event = shop.events_of(&summary).into_iter().find(|event| event.0 == "c03").unwrap();
    assert_eq!((event.1.as_deref(), event.2, event.3.as_str()), (Some("lost"), None, "refund"));
    assert_eq!(shop.rows("SELECT customers FROM run_moves WHERE run_id = 2 AND old = 'lost' AND new = ''"), ["1"]);
    shop.wait(DAY);
    assert_eq!(shop.score().changed, 0, "said once");
    // And back again.
    shop.set_net(order, 5000);
    shop.order("c03", 5000);
    let summary = shop.score();
    let event = shop.events_of(&summary).into_iter().find(|event| event.0 == "c03").unwrap();
    assert_eq!((event.1, event.3.as_str()), (None, "order"));
    assert!(event.2.is_some());
}

#[test]
fn a_cancellation_may_move_recency_back() {
    let shop = Shop::forty();
    let newest = shop.order("c01", 900);
    shop.score();
    assert_eq!(shop.scores()["c01"].unwrap()[0], 5);
    shop.set_net(newest, 0);
    shop.wait(DAY);
    let summary = shop.score();
    assert_eq!(shop.scores()["c01"].unwrap()[0], 1);
    assert!(shop.events_of(&summary).iter().any(|event| event.0 == "c01" && event.3 == "refund"));
}

#[test]
fn tiny_shops_are_scored_from_the_first_customer() {
    for (customers, expected) in [
        (0, vec![]),
        (1, vec![1]),
        (2, vec![1, 2]),
        (4, vec![1, 2, 3, 4]),
        (5, vec![1, 2, 3, 4, 5]),
        (7, vec![1, 1, 2, 2, 3, 4, 5]),
    ] {
        let shop = shop_of(&(0..customers).map(|number| (1000 + number, 100 - number)).collect::<Vec<_>>());
        let summary = shop.score();
        assert_eq!(summary.scored, u64::try_from(customers).unwrap());
        let scores = shop.scores();
        assert_eq!(scores.values().map(|scores| scores.unwrap()[0]).collect::<Vec<_>>(), expected);
        assert_eq!(scores.values().map(|scores| scores.unwrap()[2]).collect::<Vec<_>>(), expected);
        assert!(scores.values().all(|scores| scores.unwrap()[1] == 1), "all ordered once");
    }
}

#[test]
fn all_equal_is_all_in_the_lowest_fifth_together_and_even_when_split() {
    let mut shop = shop_of(&[(1990, 3); 12]);
    shop.score();
    assert!(shop.scores().values().all(|scores| *scores == Some([1, 1, 1])));
    shop.settings.ties = Ties::Split;
    shop.score();
    let split: Vec<u8> = shop.scores().values().map(|scores| scores.unwrap()[0]).collect();
    assert_eq!(split, [1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5]);
}

#[test]
fn who_is_ranked() {
    let shop = Shop::forty();
    shop.visitor("nobody");
    shop.order("free", 0);
    shop.execute("UPDATE customers SET deleted_at = 1 WHERE external_id = 'c10'; UPDATE customers SET redacted_at = 1, email = NULL WHERE external_id = 'c11'");
    shop.merge("c12", "c13");
    assert_eq!(shop.score().scored, 37);
    for unranked in ["nobody", "free", "c10", "c11", "c12"] {
        assert_eq!(shop.segment(unranked), None, "{unranked}");
    }
}

#[test]
fn customers_without_orders_get_quintile_1_when_they_are_included() {
    let mut shop = Shop::new();
    shop.settings.include_without_orders = true;
    for number in 1..=6 {
        shop.order_at(&format!("c{number}"), 1000 * number, noon().plus_millis((number - 10) * DAY));
        shop.visitor(&format!("v{number}"));
    }
    for ties in [Ties::Together, Ties::Split] {
        shop.settings.ties = ties;
        assert_eq!(shop.score().scored, 12);
        let scores = shop.scores();
        assert!((1..=6).all(|number| scores[&format!("v{number}")] == Some([1, 1, 1])));
        assert_eq!(scores["c6"].unwrap()[0], 5);
        assert_eq!(shop.segment("v1").as_deref(), Some("lost"));
    }
}

#[test]
fn orders_after_the_as_of_do_not_exist() {
    let shop = Shop::forty();
    shop.order_at("c01", 99_900, noon().plus_millis(-DAY));
    shop.order_at("late", 99_900, noon().plus_millis(-DAY));
    let summary = shop.score_as_of(noon().plus_millis(-2 * DAY));
    assert_eq!(summary.scored, 40);
    assert_eq!(shop.scores()["c01"], Some([1, 1, 1]));
    assert_eq!(shop.segment("late"), None);
    let summary = shop.score();
    assert_eq!((summary.scored, shop.scores()["c01"].unwrap()[0]), (41, 5));
}

#[test]
fn real_ranges_of_each_quintile_are_kept() {
    let shop = shop_of(&(0..10).map(|number| (100 + number, 20 - number)).collect::<Vec<_>>());
    shop.score();
    assert_eq!(
        shop.rows("SELECT dimension, quintile, customers, lowest, highest FROM run_quintiles WHERE dimension IN ('f', 'm') ORDER BY 1, 2"),
        ["f 1 10 1 1", "m 1 2 100 101", "m 2 2 102 103", "m 3 2 104 105", "m 4 2 106 107", "m 5 2 108 109"]
    );
    let best = noon().plus_millis(-11 * DAY).millis();
    assert_eq!(shop.one::<i64>("SELECT highest FROM run_quintiles WHERE dimension = 'r' AND quintile = 5"), best);
}

#[test]
fn the_reference_of_an_as_of_is_the_instant_not_the_day() {
    let shop = Shop::new();
    shop.order_at("anna", 100, at("2026-05-01T10:00:00.001Z"));
    assert_eq!(shop.score_as_of(at("2026-05-01T10:00:00Z")).scored, 0);
    assert_eq!(shop.score_as_of(at("2026-05-01T10:00:00.001Z")).scored, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equal_values_equal_scores_and_higher_never_lower(values in vec((1i64..40, 0i64..20), 1..50)) {
        let mut shop = shop_of(&values);
        shop.score();
        let scores: Vec<[u8; 3]> = shop.scores().values().map(|scores| scores.unwrap()).collect();
        for (a, (cents, days)) in values.iter().enumerate() {
            for (b, (other_cents, other_days)) in values.iter().enumerate() {
                prop_assert!(cents != other_cents || scores[a][2] == scores[b][2]);
                prop_assert!(days != other_days || scores[a][0] == scores[b][0]);
                prop_assert!(cents <= other_cents || scores[a][2] >= scores[b][2]);
                prop_assert!(days >= other_days || scores[a][0] >= scores[b][0]);
            }
        }
        shop.settings.ties = Ties::Split;
        shop.score();
        let scores: Vec<[u8; 3]> = shop.scores().values().map(|scores| scores.unwrap()).collect();
        for dimension in 0..3 {
            let sizes: Vec<usize> =
                (1..=5).map(|fifth| scores.iter().filter(|scores| scores[dimension] == fifth).count()).collect();
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] - sizes[4] <= 1, "{sizes:?}");
        }
    }

    #[test]
    fn money_times_ten_changes_nothing(values in vec((1i64..5000, 0i64..20), 1..40)) {
        let shop = shop_of(&values);
        shop.score();
        shop.folder.except(&[COUNTERS]); // the average is what the test leaves out
        shop.execute("UPDATE orders SET net = net * 10; UPDATE customers SET total_spent = total_spent * 10");
        prop_assert_eq!(shop.score().changed, 0);
    }

    #[test]
    fn import_order_and_row_order_change_nothing(values in vec((1i64..40, 0i64..20), 2..30), swaps in vec((any::<Index>(), any::<Index>()), 30)) {
        let mut order: Vec<usize> = (0..values.len()).collect();
        for (a, b) in swaps {
            order.swap(a.index(values.len()), b.index(values.len()));
        }
        // Import order: other ids, other row order.
        let shuffled = Shop::new();
        let rows: Vec<(usize, i64, i64)> = order.iter().map(|number| (*number, values[*number].0, values[*number].1)).collect();
        let imported = rows.clone();
        shuffled.write(move |tx| {
            for (number, cents, days) in imported {
                add_order(tx, &format!("{number:03}"), cents, noon().plus_millis(-days * DAY));
            }
        });
        let straight = shop_of(&values);
        straight.score();
        shuffled.score();
        prop_assert_eq!(straight.scores(), shuffled.scores());
        // Row order under the same ids: split too.
        let mut rewritten = Shop::new();
        let mut straight = straight;
        rewritten.write(move |tx| {
            let mut insert =
                tx.prepare("INSERT INTO customers (id, source, external_id, created_at) VALUES (?1 + 1, 'shopify', ?2, 0)").unwrap();
            for (number, cents, days) in rows {
                insert.execute((number, format!("{number:03}"))).unwrap();
                add_order(tx, &format!("{number:03}"), cents, noon().plus_millis(-days * DAY));
            }
        });
        for shop in [&mut straight, &mut rewritten] {
            shop.settings.ties = Ties::Split;
            shop.score();
        }
        prop_assert_eq!(straight.scores(), rewritten.scores());
    }
}
