//! What was lost or changed in a whole file, by whatever hand, is named.

use crate::support::{
    folder::{Folder, violations},
    scored_shop::{DAY, Shop},
};

/// What is done to the file, and how what is said of it begins and goes on.
type Damage<'a> = (&'a str, &'a [&'a str]);

#[test]
fn each_loss_is_named() {
    let shop = Shop::forty();
    shop.score();
    shop.wait(DAY);
    for number in 1..=9 {
        shop.order(&format!("c{number:02}"), 90_000);
    }
    shop.score();
    // As if all of it had been sent.
    shop.execute("UPDATE deliveries SET state = 'delivered', due_at = NULL, finished_at = created_at");
    shop.check_invariants();
    let moved: i64 = shop.one("SELECT changed FROM runs WHERE id = 2");
    assert!(moved > 3, "{moved}");

    let folder = Folder::new().spoilt();
    let copy = folder.path().join("copy.db");
    let spoilt = |damage: &str| {
        let _ = std::fs::remove_file(&copy);
        shop.outside().execute("VACUUM INTO ?1", [copy.to_str()]).unwrap();
        rusqlite::Connection::open(&copy).unwrap().execute_batch(damage).unwrap();
        violations(&copy)
    };
    assert_eq!(spoilt(""), Vec::<String>::new());
    let damages: [Damage<'_>; 8] = [
        (
            "DELETE FROM customer_scores WHERE customer_id % 2 = 0",
            &["not true: the scores in force are the last ones of the history: customer 2 has none"],
        ),
        ("DELETE FROM deliveries WHERE id = 3", &["not true: no delivery is gone: "]),
        ("DELETE FROM deliveries WHERE run_id = 1", &["not true: no delivery is gone: "]),
        (
            "UPDATE deliveries SET state = 'retrying', finished_at = NULL, due_at = 5
              WHERE run_id = 1 AND customer_id = (SELECT min(customer_id) FROM deliveries WHERE run_id = 2)",
            &["not true: what is delivered had no older news of its customer before it: delivery 41 is delivered, "],
        ),
        (
            "PRAGMA foreign_keys = OFF;
             DELETE FROM deliveries WHERE seq = 3; DELETE FROM outbox WHERE seq = 3;
             DELETE FROM history WHERE run_id = 1 AND customer_id = 3; DELETE FROM customer_scores WHERE customer_id = 3;
             UPDATE runs SET changed = changed - 1 WHERE id = 1",
            &[
                "not true: what a run changed, its history and its events are the same: run 1 changed 39 customers, of whom 40 moved",
                "not true: a run's events are those from its first to its last: run 1 has 39 of its 40 events",
            ],
        ),
        (
            "UPDATE run_segments SET customers = customers - 1 WHERE run_id = 1 AND rank =
               (SELECT min(rank) FROM run_segments WHERE run_id = 1 AND customers > 0);
             UPDATE runs SET scored = scored - 1 WHERE id = 1",
            &["not true: a run scored everyone or nobody: run 1 scored 39 customers, its cells hold 40"],
        ),
        (
            "UPDATE outbox SET at = at - 100000000000 WHERE run_id = 2",
            &["not true: a customer's events are in the order of time: event 41 is older than "],
        ),
        (
            "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules)
             VALUES ('manual', 'scored', 1, 1, 'together', 0, 'x'), ('manual', 'scored', 1, 1, 'together', 0, 'x')",
            &["not true: a run has scored when its state says so: run 3 is scored; run 4 is scored"],
        ),
    ];
    for (damage, named) in damages {
        let violations = spoilt(damage);
        for start in named {
            assert!(violations.iter().any(|violation| violation.starts_with(start)), "{damage}: {violations:#?}");
        }
    }
}
