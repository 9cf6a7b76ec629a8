//! Reading messages again.

use quintile::{
    intake::{
        Rules,
        inbox::{Expired, Filter, KEPT_DAYS, Replayable, Replayed, State, count_replayable, forget, replay},
        privacy,
    },
    ledger::Who,
    model::{Currency, Source, Timestamp},
};
use serde_json::json;

use super::{ANNA, holds, invariants_hold, redact};
use crate::support::shop::{Shop, Webhook, customer, order};

/// Reads again, one message to a transaction.
async fn again(shop: &Shop, filter: &Filter) -> Replayed {
    let rules = Rules::from_config(&shop.config);
    let (mut replayed, mut after) = (Replayed::default(), Some(0));
    while let Some(last) = after {
        let (rules, filter, now) = (rules.clone(), filter.clone(), Timestamp::from_millis(shop.now()));
        (replayed, after) = shop
            .database
            .writer()
            .write(move |tx| {
                let mut replayed = replayed;
                let after = replay(tx, &rules, &filter, last, 1, now, &mut replayed)?;
                Ok((replayed, after))
            })
            .await
            .unwrap();
    }
    replayed
}

fn counted(shop: &Shop, filter: &Filter) -> Replayable {
    count_replayable(&shop.database.readers().get().unwrap(), filter).unwrap()
}

fn matching(shop: &Shop, filter: &Filter) -> i64 {
    counted(shop, filter).kept
}

/// Forgets what is not kept any more; returns how many messages that was.
async fn sweep(shop: &Shop) -> usize {
    let (mut expired, mut forgotten) = (Expired::default(), 0);
    let now = Timestamp::from_millis(shop.now());
    loop {
        let ids = expired.next(&shop.database.readers().get().unwrap(), now, 100).unwrap();
        let Some(ids) = ids else { return forgotten };
        forgotten += shop.database.writer().write(move |tx| Ok(forget(tx, &ids)?)).await.unwrap();
    }
}

/// A shop whose currency was set wrongly at first: three orders are in quarantine.
async fn quarantined() -> Shop {
    let mut shop = Shop::open_with(|config| config.shop.currency = Currency::new("USD").unwrap());
    let anna = customer(7001, ANNA);
    let newest = order(1).by(&anna).current("9.90").status("partially_refunded").updated("2026-11-02T10:00:00Z");
    let webhook = |shop: &Shop, body: String, at| Webhook::triggered(shop.webhook("orders/updated", body), at);
    shop.deliver(webhook(&shop, newest.json().to_string(), "2026-11-02T10:00:05Z")).await;
    shop.deliver(webhook(&shop, order(1).by(&anna).json().to_string(), "2026-11-01T10:00:05Z")).await;
    let till = json!({ "id": "p1", "customer": { "email": "bert@example.com" }, "currency": "EUR",
        "orderedAt": "2026-11-20T10:00:00Z", "total": "5.00", "status": "paid" });
    shop.post_orders("m1", &till.to_string()).await;
    shop.tell("products/update", &json!({ "id": 1 })).await;
    assert_eq!(
        shop.rows("SELECT state FROM inbox ORDER BY id"),
        ["quarantined", "quarantined", "quarantined", "ignored"]
    );
    shop.config.shop.currency = Currency::EUR;
    shop.later(40 * Timestamp::DAY);
    shop
}

#[tokio::test]
async fn what_could_not_be_used_takes_its_place_by_its_version() {
    let shop = quarantined().await;
    assert_eq!(matching(&shop, &Filter::default()), 4);
    let replayed = again(&shop, &Filter::default()).await;
    assert_eq!(replayed, Replayed { done: 2, stale: 1, ignored: 1, quarantined: 0 });
    assert_eq!(shop.rows("SELECT state FROM inbox ORDER BY id"), ["done", "stale", "done", "ignored"]);
    assert_eq!(shop.counters(), ["guest:bert@example.com | 1 | 500", "shopify:7001 | 1 | 990"]);
    assert_eq!(
        shop.row("SELECT triggered_at FROM orders WHERE source_id = '1'"),
        Timestamp::parse_rfc3339("2026-11-02T10:00:05Z").unwrap().millis().to_string()
    );
    assert_eq!(shop.row("SELECT count(*) FROM outbox"), "0", "orders of weeks ago are no news");

    assert_eq!(matching(&shop, &Filter::default()), 1, "what was used is not read again");
    assert_eq!(again(&shop, &Filter::default()).await, Replayed { ignored: 1, ..Replayed::default() });
    assert_eq!(shop.counters(), ["guest:bert@example.com | 1 | 500", "shopify:7001 | 1 | 990"]);
}

#[tokio::test]
async fn only_what_is_meant_is_read_again() {
    let shop = quarantined().await;
    let with = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    for (count, filter) in [
        (3, with(|filter| filter.state = Some(State::Quarantined))),
        (1, with(|filter| filter.state = Some(State::Ignored))),
        (0, with(|filter| filter.state = Some(State::Done))),
        (1, with(|filter| filter.id = Some(2))),
        (2, with(|filter| filter.topic = Some("orders/updated".into()))),
        (1, with(|filter| filter.source = Some(Source::Api))),
        (0, with(|filter| filter.since = Some(Timestamp::from_millis(i64::MAX)))),
        (0, with(|filter| filter.until = Some(Timestamp::from_millis(0)))),
    ] {
        assert_eq!(matching(&shop, &filter), count, "{filter:?}");
    }
    again(&shop, &with(|filter| filter.id = Some(2))).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 1 | 4990"]);
}

#[tokio::test]
async fn what_is_still_wrong_stays_with_todays_reason() {
    let mut shop = quarantined().await;
    shop.config.shop.currency = Currency::new("JPY").unwrap();
    assert_eq!(again(&shop, &Filter::default()).await, Replayed { ignored: 1, quarantined: 3, ..Replayed::default() });
    let reason = shop.row("SELECT reason FROM inbox WHERE id = 1");
    assert!(reason.contains("this shop's currency is JPY"), "{reason}");
    assert_eq!(shop.counters(), Vec::<String>::new());
}

#[tokio::test]
async fn an_order_of_somebody_erased_meanwhile_counts_without_a_name() {
    let shop = quarantined().await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert!(!holds(&shop, ANNA));
    let replayed = again(&shop, &Filter::default()).await;
    assert_eq!(replayed, Replayed { done: 2, stale: 1, ignored: 1, quarantined: 0 });
    assert_eq!(shop.counters(), ["guest:bert@example.com | 1 | 500", "shopify:7001 | 1 | 990"]);
    assert!(!holds(&shop, ANNA));
}

#[tokio::test]
async fn a_body_is_kept_while_a_copy_waits_for_it() {
    let mut shop = Shop::open_with(|config| config.shop.currency = Currency::new("USD").unwrap());
    let order = order(1).by(&customer(7001, ANNA)).json();
    for _ in 0..2 {
        shop.tell("orders/create", &order).await;
    }
    let bodies = "SELECT state, length(body) > 0 FROM inbox ORDER BY id";
    assert_eq!(shop.rows(bodies), ["quarantined | 1", "quarantined | 0"]);
    shop.config.shop.currency = Currency::EUR;
    let only = |id| Filter { id: Some(id), ..Filter::default() };
    assert_eq!(again(&shop, &only(1)).await.done, 1);
    shop.later((KEPT_DAYS + 1) * Timestamp::DAY);
    assert_eq!(sweep(&shop).await, 0);
    assert_eq!(shop.rows(bodies), ["done | 1", "quarantined | 0"]);
    assert_eq!(again(&shop, &only(2)).await.done, 1);
    assert_eq!(sweep(&shop).await, 1);
    assert_eq!(shop.rows(bodies), ["done | 0", "done | 0"]);
}

#[tokio::test]
async fn what_is_forgotten_is_still_known_to_have_come() {
    let mut shop = quarantined().await;
    let order = order(2).by(&customer(7002, "berta@example.com")).set("currency", "USD").json().to_string();
    let known = shop.webhook("orders/create", order.clone());
    shop.deliver(known.clone()).await;
    let till = json!({ "id": "p2", "customer": { "email": "berta@example.com" }, "currency": "JPY",
        "orderedAt": "2026-11-20T10:00:00Z", "total": "5", "status": "paid" });
    shop.post_orders("m2", &till.to_string()).await;
    shop.later(KEPT_DAYS * Timestamp::DAY);
    assert_eq!(sweep(&shop).await, 2, "the order and what was ignored");
    assert!(!holds(&shop, &order[..60]), "nothing of it is left in the files");
    let bodies = "SELECT state, length(body) > 0 FROM inbox ORDER BY id";
    let kept = ["quarantined | 1", "quarantined | 1", "quarantined | 1", "ignored | 0", "done | 0", "quarantined | 1"];
    assert_eq!(shop.rows(bodies), kept);

    // A copy is answered as before, and changes nothing.
    let counters = shop.counters();
    shop.deliver(known).await;
    assert_eq!(shop.row("SELECT count(*), max(duplicates) FROM inbox"), "6 | 1");
    assert_eq!(shop.counters(), counters);

    // What was ignored cannot be read again, and that is said; what is quarantined can.
    let ignored = Filter { state: Some(State::Ignored), ..Filter::default() };
    assert_eq!(counted(&shop, &ignored), Replayable { kept: 0, forgotten: 1 });
    assert_eq!(counted(&shop, &Filter::default()), Replayable { kept: 4, forgotten: 1 });
    assert_eq!(again(&shop, &ignored).await, Replayed::default());
    shop.config.shop.currency = Currency::EUR;
    assert_eq!(
        again(&shop, &Filter::default()).await,
        Replayed { done: 2, stale: 1, quarantined: 1, ..Replayed::default() }
    );
    assert_eq!((sweep(&shop).await, sweep(&shop).await), (3, 0), "it became something, long after it came");

    // Of whom only the ledger knows, no message is looked for in vain.
    let who = Who { external_id: Some((Source::Shopify, "7002".to_owned())), ..Who::default() };
    let now = Timestamp::from_millis(shop.now());
    let erased = shop.database.writer().write(move |tx| Ok(privacy::erase(tx, &who, now)?)).await.unwrap();
    assert_eq!((erased.erased.customers.len(), erased.messages, erased.goes_on), (1, 1, false), "the till's alone");
    assert!(!holds(&shop, "berta@example.com"));
    invariants_hold(&shop);
}
