//! `score.sql` and the count of large shops against NTILE written out by hand in Rust.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};
use quintile::{
    model::Timestamp,
    scoring::{Ties, segment::Scheme},
};

use crate::support::scored_shop::{DAY, Shop, add_order, customer_id, noon};

/// One customer's orders: (cents, milliseconds before noon).
pub type Orders = Vec<(i64, i64)>;

/// How a shop is ranked.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub ties: Ties,
    pub window_days: u32,
    pub include_without_orders: bool,
    pub as_of: Timestamp,
    pub in_sql: bool,
}

/// NTILE(5), by the book: of `rows` rows, the first `rows mod 5` fifths have one more than the
/// others.
fn ntile(rows: usize) -> impl Iterator<Item = u8> {
    (1..=5u8).flat_map(move |fifth| {
        let larger = usize::from(usize::from(fifth) <= rows % 5);
        std::iter::repeat_n(fifth, rows / 5 + larger)
    })
}

/// Scores of one dimension. `values`: (value, id) of everyone ranked.
fn score(values: &[(i64, usize)], ties: Ties) -> Vec<(usize, u8)> {
    let mut order = values.to_vec();
    order.sort_unstable();
    let fifths: Vec<((i64, usize), u8)> = order.into_iter().zip(ntile(values.len())).collect();
    fifths
        .iter()
        .map(|((value, id), fifth)| match ties {
            Ties::Split => (*id, *fifth),
            Ties::Together => (*id, fifths.iter().filter(|((v, _), _)| v == value).map(|(_, f)| *f).min().unwrap()),
        })
        .collect()
}

/// Everyone's scores; `None`: not ranked.
pub fn expected(shop: &[Orders], way: Way) -> Vec<Option<[u8; 3]>> {
    let start = match way.window_days {
        0 => i64::MIN,
        days => way.as_of.millis() - i64::from(days) * DAY,
    };
    let mut values: [Vec<(i64, usize)>; 3] = Default::default();
    let mut without = Vec::new();
    for (id, orders) in shop.iter().enumerate() {
        let seen: Vec<(i64, i64)> = orders
            .iter()
            .map(|(cents, before)| (*cents, noon().millis() - before))
            .filter(|(cents, at)| *cents > 0 && *at <= way.as_of.millis())
            .collect();
        let inside = || seen.iter().filter(|(_, at)| *at > start);
        let recency = seen.iter().map(|(_, at)| *at).max();
        without.push(recency.is_none());
        if recency.is_some() || way.include_without_orders {
            values[0].push((recency.unwrap_or(i64::MIN), id));
            values[1].push((i64::try_from(inside().count()).unwrap(), id));
            values[2].push((inside().map(|(cents, _)| *cents).sum(), id));
        }
    }
    let mut scores = vec![None; shop.len()];
    for (dimension, values) in values.iter().enumerate() {
        for (id, fifth) in score(values, way.ties) {
            scores[id].get_or_insert([0; 3])[dimension] = if without[id] { 1 } else { fifth };
        }
    }
    scores
}

fn build(orders: &[Orders]) -> Shop {
    let shop = Shop::new();
    let orders = orders.to_vec();
    shop.write(move |tx| {
        for (id, orders) in orders.iter().enumerate() {
            customer_id(tx, &format!("{id:04}"));
            for (cents, before) in orders {
                add_order(tx, &format!("{id:04}"), *cents, noon().plus_millis(-before));
            }
        }
    });
    shop
}

fn check(shop: &mut Shop, orders: &[Orders], way: Way) -> Result<(), TestCaseError> {
    shop.settings.ties = way.ties;
    shop.settings.window_days = way.window_days;
    shop.settings.include_without_orders = way.include_without_orders;
    shop.settings.ranked_in_sql = Some(if way.in_sql { i64::MAX } else { -1 });
    let summary = shop.score_as_of(way.as_of);
    let scores = shop.scores();
    let expected = expected(orders, way);
    for (id, expected) in expected.iter().enumerate() {
        let actual = scores.get(&format!("{id:04}")).copied().flatten();
        prop_assert_eq!(actual, *expected, "customer {} {:?} {:?}", id, way, &orders[id]);
    }
    prop_assert_eq!(summary.scored, expected.iter().flatten().count() as u64);
    for (segment, customers) in &summary.segments {
        let scheme = Scheme::classic();
        let of = |rfm: &&[u8; 3]| scheme.segment_of(**rfm).name == *segment;
        prop_assert_eq!(expected.iter().flatten().filter(of).count() as u64, *customers);
    }
    Ok(())
}

/// Amounts and times with many ties, none, and at the ends of what is possible.
fn order() -> impl Strategy<Value = (i64, i64)> {
    let cents = prop_oneof![
        1 => Just(0),
        4 => Just(1990),
        4 => 1i64..60,
        4 => 1i64..10_000_000,
        1 => 900_000_000_000_000i64 - 3..=900_000_000_000_000,
        1 => Just(1_000_000_000_000_000),
    ];
    let before = prop_oneof![
        4 => (0i64..40).prop_map(|days| days * DAY),
        4 => 0i64..400 * DAY,
        2 => 0i64..2000,
        1 => 9_000 * DAY..13_000 * DAY,
    ];
    (cents, before)
}

fn shops() -> impl Strategy<Value = Vec<Orders>> {
    prop_oneof![
        3 => vec(vec(order(), 0..5), 0..8),
        3 => vec(vec(order(), 0..4), 8..60),
        1 => (order(), 1usize..30).prop_map(|(order, customers)| vec![vec![order]; customers]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shop_any_way(
        orders in shops(),
        window_days in prop_oneof![Just(0u32), 1u32..100],
        include_without_orders: bool,
        back in prop_oneof![3 => Just(0i64), 1 => 0i64..60 * DAY],
    ) {
        let mut shop = build(&orders);
        for ties in [Ties::Together, Ties::Split] {
            for in_sql in [true, false] {
                let as_of = noon().plus_millis(-back);
                check(&mut shop, &orders, Way { ties, window_days, include_without_orders, as_of, in_sql })?;
            }
        }
    }

    /// As an order arrives after the other, only what differs is written, and the end is that of
    /// ranking from nothing.
    #[test]
    fn changes_add_up(orders in vec(vec(order(), 1..3), 6..25), more in vec((0usize..25, order()), 1..6)) {
        let mut orders = orders;
        let mut shop = build(&orders);
        let way = Way { ties: Ties::Together, window_days: 0, include_without_orders: false, as_of: noon(), in_sql: false };
        check(&mut shop, &orders, way)?;
        for (customer, order) in more {
            let customer = customer % orders.len();
            orders[customer].push(order);
            shop.order_at(&format!("{customer:04}"), order.0, noon().plus_millis(-order.1));
            check(&mut shop, &orders, way)?;
        }
    }
}

#[test]
fn ntile_by_the_book() {
    for (rows, expected) in [
        (0, vec![]),
        (1, vec![1]),
        (2, vec![1, 2]),
        (4, vec![1, 2, 3, 4]),
        (5, vec![1, 2, 3, 4, 5]),
        (7, vec![1, 1, 2, 2, 3, 4, 5]),
    ] {
        assert_eq!(ntile(rows).collect::<Vec<u8>>(), expected);
    }
}
