//! A made-up shop: who orders what and when, from a seed. The same seed, size and end give the same
//! history, so that the demo, the benchmarks and their reports can be repeated.
//!
//! Pure: no clock, no files, integers only. What it imitates: nearly three quarters of the customers come
//! back, a few of them very often; a shop that grows; more orders before Christmas and in the
//! evening; baskets around 45 EUR with a long tail; guests, refunds, cancellations, and recent
//! orders that still wait for their money.

mod names;

use fastrand::Rng;

use crate::model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp};

/// Every made-up shop sells in this currency.
pub const CURRENCY: Currency = Currency::EUR;

const HOUR: i64 = Timestamp::DAY / 24;
const WEEK: i64 = 7 * Timestamp::DAY;
/// Where the numbers of orders and customers start, as Shopify's would.
const FIRST_ORDER: u64 = 5_300_000_000_000;
const FIRST_CUSTOMER: u64 = 7_100_000_000_000;
const FIRST_NUMBER: usize = 1001;
/// How long an unpaid order may wait, in milliseconds.
const PATIENCE: i64 = 3 * Timestamp::DAY;

/// An order history, in the order of time.
///
/// Each order is its final state at the shop's `end`: a refund is in it already.
#[derive(Debug, Clone)]
pub struct Shop {
    seed: u64,
    end: Timestamp,
    visits: std::iter::Enumerate<std::vec::IntoIter<Visit>>,
}

/// One order before it has a number: 16 bytes, so that a million of them fit anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Visit {
    at: i64,
    customer: u32,
}

/// How often a customer comes, and how far apart.
struct Habit {
    /// Least and most orders.
    orders: (u32, u32),
    /// Usual days between two.
    gap_days: i64,
}

impl Shop {
    /// A shop with exactly `customers` customers, each with an order in the `weeks` before `end`.
    #[must_use]
    pub fn new(seed: u64, customers: u32, weeks: u32, end: Timestamp) -> Self {
        let mut visits = Vec::with_capacity(customers as usize * 2);
        for customer in 0..customers {
            let mut rng = stream(seed, 0, u64::from(customer));
            visit(customer, i64::from(weeks.max(1)) * WEEK, end, &mut rng, &mut visits);
        }
        visits.sort_unstable();
        Self { seed, end, visits: visits.into_iter().enumerate() }
    }
}

impl Iterator for Shop {
    type Item = Order;

    fn next(&mut self) -> Option<Order> {
        let (number, visit) = self.visits.next()?;
        Some(order(self.seed, number, visit, self.end))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.visits.size_hint()
    }
}

impl ExactSizeIterator for Shop {}

/// Independent random numbers for one customer or order, whoever else there is.
fn stream(seed: u64, kind: u64, number: u64) -> Rng {
    // Odd constants spread neighbouring numbers over the whole range (splitmix64's way).
    Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (kind << 62))
}

fn habit(rng: &mut Rng) -> Habit {
    match rng.u32(0..1000) {
        0..250 => Habit { orders: (1, 1), gap_days: 0 },
        250..550 => Habit { orders: (2, 4), gap_days: 75 },
        550..850 => Habit { orders: (4, 9), gap_days: 50 },
        850..980 => Habit { orders: (8, 25), gap_days: 30 },
        _ => Habit { orders: (25, 80), gap_days: 10 },
    }
}

/// The instants at which one customer orders.
fn visit(customer: u32, span: i64, end: Timestamp, rng: &mut Rng, visits: &mut Vec<Visit>) {
    let habit = habit(rng);
    let orders = rng.u32(habit.orders.0..=habit.orders.1);
    // Those who come often have been around for longer.
    let mut at = first_visit(span, end, rng);
    if orders > 3 {
        at = at.min(first_visit(span, end, rng));
    }
    let end = end.millis();
    for _ in 0..orders {
        if at >= end {
            break;
        }
        visits.push(Visit { at, customer });
        // The mean of the smaller and the larger of two gives many short and some long waits.
        let wait = rng.i64(1..=habit.gap_days.max(1) * 2).min(rng.i64(1..=habit.gap_days.max(1) * 4));
        at = time_of_day(at + wait * Timestamp::DAY, rng);
    }
}

/// When a customer comes first: more of them later (the shop grows) and in the strong weeks.
fn first_visit(span: i64, end: Timestamp, rng: &mut Rng) -> i64 {
    const GROWTH: u64 = 60; // per cent of its last week that the first week had
    loop {
        let age = rng.i64(1..span.max(2));
        let at = end.millis() - age;
        let growth =
            GROWTH + (100 - GROWTH) * u64::try_from(span - age).unwrap_or(0) / u64::try_from(span).unwrap_or(1);
        if rng.u64(0..100 * 180) < growth * season(at) {
            let at = time_of_day(at, rng);
            return if at < end.millis() { at } else { end.millis() - age };
        }
    }
}

/// How busy a day is, in per cent of an ordinary one (at most 180).
fn season(at: i64) -> u64 {
    use chrono::Datelike;
    let day = Timestamp::from_millis(at).to_utc();
    let month = match day.month() {
        11 => 150,
        12 if day.day() <= 20 => 180,
        1 | 2 => 75,
        7 | 8 => 80,
        _ => 100,
    };
    month * if day.weekday().number_from_monday() >= 6 { 100 } else { 85 } / 100
}

/// Another instant of the same day: few at night, most in the evening.
fn time_of_day(at: i64, rng: &mut Rng) -> i64 {
    const BUSY: [u8; 24] = [2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 10, 10, 11, 10, 9, 9, 10, 11, 13, 15, 16, 14, 9, 5];
    let hour = loop {
        let hour = rng.usize(0..BUSY.len());
        if rng.u8(0..16) < BUSY[hour] {
            break hour;
        }
    };
    let day = at - at.rem_euclid(Timestamp::DAY);
    day + i64::try_from(hour).unwrap_or(0) * HOUR + rng.i64(0..HOUR / 1000) * 1000
}

/// The order behind a visit.
fn order(seed: u64, number: usize, visit: Visit, end: Timestamp) -> Order {
    let mut rng = stream(seed, 1, number as u64);
    let ordered_at = Timestamp::from_millis(visit.at);
    let gross = basket(seed, visit.customer, &mut rng);
    let waits = end.millis() - visit.at < PATIENCE;
    let (status, refunded, cancelled) = match rng.u32(0..1000) {
        0..25 => (OrderStatus::Refunded, gross, false),
        25..60 => (OrderStatus::PartiallyRefunded, Money((gross.0 * rng.i64(10..60) / 100).max(1)), false),
        60..80 => (OrderStatus::Refunded, gross, true),
        80..110 if waits => (OrderStatus::Pending, Money::ZERO, false),
        _ => (OrderStatus::Paid, Money::ZERO, false),
    };
    // What happened after the order, within a week, and not after the end.
    let settled = ordered_at.plus_millis(rng.i64(HOUR..7 * Timestamp::DAY)).min(end);
    let changed = cancelled || refunded > Money::ZERO;
    let updated_at = if changed { settled } else { ordered_at };
    Order {
        source: Source::Shopify,
        source_id: (FIRST_ORDER + number as u64 * 4096).to_string(),
        person: Some(person(seed, visit.customer, ordered_at)),
        name: Some(format!("#{}", FIRST_NUMBER + number)),
        status,
        is_test: false,
        currency: CURRENCY,
        gross,
        current: Some(gross - refunded),
        outstanding: Some(if status == OrderStatus::Pending { gross } else { Money::ZERO }),
        refunded,
        net_payment: None,
        ordered_at,
        created_at: Some(ordered_at),
        cancelled_at: cancelled.then_some(settled),
        updated_at: Some(updated_at),
        triggered_at: None,
        origin: Origin::Sync,
        historical: true,
    }
}

/// The price of a basket in cents. Factors multiply, so most baskets are near the middle and a few
/// are ten times as dear; a customer's own factor makes some of them big spenders.
fn basket(seed: u64, customer: u32, rng: &mut Rng) -> Money {
    const MIDDLE: i64 = 4_100;
    let factor = |rng: &mut Rng| rng.i64(620..1_600);
    let mut own = stream(seed, 2, u64::from(customer));
    let mut cents = MIDDLE;
    for _ in 0..3 {
        cents = cents * factor(&mut own) / 1000;
    }
    for _ in 0..3 {
        cents = cents * factor(rng) / 1000;
    }
    // Shops price in steps.
    Money(
        match rng.u8(0..10) {
            0..5 => cents - cents % 100 + 90,
            5..8 => cents - cents % 50,
            _ => cents,
        }
        .max(290),
    )
}

/// The same person each time, whichever order is looked at.
fn person(seed: u64, customer: u32, ordered_at: Timestamp) -> Person {
    const GUESTS: u32 = 12; // per cent
    let mut rng = stream(seed, 3, u64::from(customer));
    let is_guest = rng.u32(0..100) < GUESTS;
    let first = names::FIRST[rng.usize(0..names::FIRST.len())];
    let last = names::LAST[rng.usize(0..names::LAST.len())];
    let host = names::MAIL_HOSTS[rng.usize(0..names::MAIL_HOSTS.len())];
    let consent = match rng.u32(0..100) {
        0..62 => "subscribed",
        62..92 => "not_subscribed",
        _ => "unsubscribed",
    };
    Person {
        external_id: (!is_guest).then(|| (FIRST_CUSTOMER + u64::from(customer) * 64).to_string()),
        email: Some(format!("{}.{}{customer}@{host}", names::ascii(first), names::ascii(last))),
        first_name: Some(first.to_owned()),
        last_name: Some(last.to_owned()),
        consent: Some(consent.to_owned()),
        consent_at: Some(ordered_at),
        updated_at: Some(ordered_at),
        ..Person::unknown(Source::Shopify)
    }
}

/// An order as a row of the generic CSV, whose header is [`crate::config::IMPORT_COLUMNS`].
#[must_use]
pub fn csv_record(order: &Order) -> [String; 10] {
    let person = order.person.as_ref();
    let text = |field: fn(&Person) -> &Option<String>| person.and_then(|p| field(p).clone()).unwrap_or_default();
    [
        order.source_id.clone(),
        text(|p| &p.external_id),
        text(|p| &p.email),
        order.ordered_at.to_string(),
        order.gross.to_decimal(order.currency),
        order.refunded.to_decimal(order.currency),
        order.currency.to_string(),
        if order.cancelled_at.is_some() { "cancelled".to_owned() } else { order.status.to_string() },
        text(|p| &p.first_name),
        text(|p| &p.last_name),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use chrono::Datelike;

    use super::*;

    fn end() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-23T02:00:00Z").unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_shop_and_another_one_another() {
        let shop = |seed| Shop::new(seed, 300, 52, end()).collect::<Vec<_>>();
        assert_eq!(shop(7), shop(7));
        assert_ne!(shop(7), shop(8));
    }

    #[test]
    fn a_history_looks_like_a_shop() {
        let orders: Vec<_> = Shop::new(1, 5_000, 104, end()).collect();
        let begin = end().plus_millis(-104 * WEEK - Timestamp::DAY);
        let mut per_customer = HashMap::<String, u32>::new();
        let mut ids = HashSet::new();
        for pair in orders.windows(2) {
            assert!(pair[0].ordered_at <= pair[1].ordered_at);
        }
        for order in &orders {
            assert!(order.ordered_at < end() && order.ordered_at > begin, "{order:?}");
            assert!(order.updated_at <= Some(end()) && order.cancelled_at <= Some(end()), "{order:?}");
            assert!(order.gross.0 >= 290 && order.refunded <= order.gross, "{order:?}");
            assert!(ids.insert(&order.source_id));
            let email = order.person.as_ref().unwrap().email.clone().unwrap();
            assert!([".example.com", ".example.org", ".example.net"].iter().any(|end| email.ends_with(end)), "{email}");
            *per_customer.entry(email).or_default() += 1;
        }

        let share = |part: usize, whole: usize| part * 100 / whole;
        assert_eq!(per_customer.len(), 5_000);
        let repeat = per_customer.values().filter(|&&orders| orders > 1).count();
        assert!((66..=78).contains(&share(repeat, 5_000)), "{repeat} came back");
        assert!((24_000..=31_000).contains(&orders.len()), "{} orders", orders.len());
        assert!(per_customer.values().max() > Some(&30));

        let guests = orders.iter().filter(|order| order.person.as_ref().unwrap().external_id.is_none()).count();
        assert!((8..=16).contains(&share(guests, orders.len())), "{guests} guests");
        for (status, least, most) in
            [(OrderStatus::Refunded, 3, 6), (OrderStatus::PartiallyRefunded, 2, 5), (OrderStatus::Paid, 88, 95)]
        {
            let found = share(orders.iter().filter(|order| order.status == status).count(), orders.len());
            assert!((least..=most).contains(&found), "{found} % {status}");
        }
        assert!(orders.iter().any(|order| order.status == OrderStatus::Pending));

        let mut baskets: Vec<_> = orders.iter().map(|order| order.gross.0).collect();
        baskets.sort_unstable();
        let percentile = |p: usize| baskets[baskets.len() * p / 100];
        assert!((3_000..6_500).contains(&percentile(50)), "middle {}", percentile(50));
        assert!(percentile(99) > 4 * percentile(50), "99th {}", percentile(99));

        let in_month = |month| orders.iter().filter(|order| order.ordered_at.to_utc().month() == month).count();
        assert!(in_month(12) > in_month(2), "{} in December, {} in February", in_month(12), in_month(2));
    }

    #[test]
    fn small_shops_are_shops_too() {
        assert_eq!(Shop::new(3, 0, 26, end()).count(), 0);
        let one: Vec<_> = Shop::new(3, 1, 0, end()).collect();
        assert!(!one.is_empty() && one.iter().all(|order| order.ordered_at < end()));
    }
}
