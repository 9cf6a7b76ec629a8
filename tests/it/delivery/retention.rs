//! What is forgotten of old deliveries, and when.

use quintile::{
    model::Timestamp,
    outbox::{Disposition, Expired, forget},
};

use super::fixture::Shop;
use crate::support::folder::ONCE;

const DAY: i64 = Timestamp::DAY;
const SLICE: usize = 1000;

/// Forgets everything whose time is over; returns the sizes of the slices.
fn sweep(shop: &Shop, expired: &mut Expired, now: Timestamp) -> Vec<usize> {
    let mut slices = Vec::new();
    loop {
        let ids = expired.next(&shop.db().readers().get().unwrap(), now, SLICE).unwrap();
        let Some(ids) = ids else { return slices };
        if ids.is_empty() {
            continue;
        }
        let count = ids.len();
        assert_eq!(shop.write(move |tx| Ok(forget(tx, &ids)?)), count);
        slices.push(count);
    }
}

fn kept(shop: &Shop) -> Vec<String> {
    let reader = shop.db().readers().get().unwrap();
    let mut select = reader
        .prepare(
            "SELECT d.state || ' ' || d.last_error FROM deliveries d JOIN attempts a ON a.delivery_id = d.id
             WHERE d.body IS NOT NULL AND a.answer IS NOT NULL ORDER BY d.id",
        )
        .unwrap();
    select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn done_ones_are_kept_thirty_days_and_dead_ones_ninety() {
    let shop = Shop::new(&[]);
    let now = shop.now();
    for (state, days) in
        [("delivered", 31), ("delivered", 29), ("superseded", 31), ("discarded", 31), ("dead", 91), ("dead", 89)]
    {
        ended(&shop, state, days, 1);
    }
    assert_eq!(sweep(&shop, &mut Expired::default(), now), [1, 1, 1, 1]);
    assert_eq!(kept(&shop), ["delivered 29", "dead 89"]);
    let rows: i64 = shop
        .db()
        .readers()
        .get()
        .unwrap()
        .query_row("SELECT count(*) FROM deliveries d JOIN attempts a ON a.delivery_id = d.id", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 6, "rows stay");
}

#[test]
fn many_take_slices_and_each_day_begins_anew() {
    let shop = Shop::new(&[]);
    shop.dir.except(&[ONCE]);
    let mut expired = Expired::default();
    ended(&shop, "delivered", 40, 2500);
    assert_eq!(sweep(&shop, &mut expired, shop.now()), [1000, 1000, 500]);
    ended(&shop, "delivered", 29, 3);
    assert_eq!(sweep(&shop, &mut expired, shop.now()), Vec::<usize>::new());
    assert_eq!(sweep(&shop, &mut expired, shop.now().plus_millis(DAY)), [3]);
    assert!(kept(&shop).is_empty());
}

/// Those that have nothing to be forgotten any more are looked at a slice at a time too.
#[test]
fn a_long_walk_keeps_no_old_state_of_the_database() {
    let shop = Shop::new(&[]);
    shop.dir.except(&[ONCE]);
    ended(&shop, "delivered", 40, 12_000);
    let (now, mut expired) = (shop.now(), Expired::default());
    sweep(&shop, &mut expired, now);
    let looks = std::iter::from_fn(|| expired.next(&shop.db().readers().get().unwrap(), now, SLICE).unwrap());
    // Two of what was delivered, one of each of the other states.
    assert_eq!(looks.map(|ids| ids.len()).collect::<Vec<_>>(), [0; 5]);
}

#[test]
fn what_was_queued_under_a_wrong_clock_keeps_nothing_else() {
    let shop = Shop::new(&[]);
    let now = shop.now();
    ended(&shop, "delivered", -26_000, 1);
    ended(&shop, "delivered", 31, 1);
    assert_eq!(sweep(&shop, &mut Expired::default(), now), [1]);
    assert_eq!(kept(&shop), ["delivered -26000"]);
}

#[test]
fn what_ended_late_is_forgotten_and_so_are_answers_without_a_body() {
    let shop = Shop::new(&[]);
    shop.dir.except(&[ONCE]);
    let mut expired = Expired::default();
    let start = shop.now();
    ended(&shop, "held", 40, 1);
    ended(&shop, "delivered", 35, 2);
    assert_eq!(sweep(&shop, &mut expired, start), [2]);
    // Released after all, and delivered.
    shop.write(move |tx| {
        Ok(tx.execute("UPDATE deliveries SET state = 'delivered', finished_at = ?1 WHERE state = 'held'", [start])?)
    });
    assert_eq!(sweep(&shop, &mut expired, start.plus_millis(29 * DAY)), Vec::<usize>::new());
    assert_eq!(sweep(&shop, &mut expired, start.plus_millis(31 * DAY)), [1]);
    // Its body went when the customer was erased.
    ended(&shop, "delivered", 31, 1);
    shop.write(|tx| Ok(tx.execute("UPDATE deliveries SET body = NULL", [])?));
    assert_eq!(sweep(&shop, &mut expired, start), [1]);
    let answers = "SELECT count(*) FROM attempts WHERE answer IS NOT NULL";
    let left: i64 = shop.db().readers().get().unwrap().query_row(answers, [], |row| row.get(0)).unwrap();
    assert_eq!((left, sweep(&shop, &mut expired, start)), (0, vec![]));
}

/// So many deliveries that ended so many days ago, oldest ids first.
fn ended(shop: &Shop, state: &'static str, days: i64, count: usize) {
    let at = shop.now().plus_millis(-days * DAY);
    shop.moves_with(&[1], "loyal", Disposition::Discard); // an event to refer to
    shop.write(move |tx| {
        for _ in 0..count {
            tx.execute(
                "INSERT INTO deliveries (message_id, destination, seq, state, attempts, body, last_error, created_at, finished_at)
                 SELECT randomblob(16), 'tool', max(seq), ?1, 1, CAST(format('{\"seq\":%d}', max(seq)) AS BLOB), ?2, ?3, ?3
                   FROM outbox",
                (state, days.to_string(), at),
            )?;
            tx.execute(
                "INSERT INTO attempts (delivery_id, number, started_at, status, error, answer)
                 VALUES (last_insert_rowid(), 1, ?1, iif(?2 = 'delivered', 200, 503), iif(?2 = 'delivered', NULL, 'busy'), x'02')",
                (at, state),
            )?;
        }
        Ok(())
    });
}
