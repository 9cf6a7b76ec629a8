//! Klaviyo, which takes many events in one request.

use std::time::Duration;

use quintile::outbox::{self, Disposition, Ids, Lapse, Route, Slice, State};
use serde_json::{Value, json};

use super::fixture::Shop;
use crate::support::receiver::{Received, Receiver};

const MINUTE: Duration = Duration::from_secs(60);

/// The events of a request to Klaviyo: e-mail, metric, the whole.
fn klaviyo(request: &Received) -> Vec<(String, String, Value)> {
    let jobs = request.json()["data"]["attributes"]["events-bulk-create"]["data"].take();
    let read = |job: &Value| {
        let job = &job["attributes"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let metric = &job["events"]["data"][0]["attributes"]["metric"]["data"]["attributes"]["name"];
        (text(&job["profile"]["data"]["attributes"]["email"]), text(metric), job.clone())
    };
    jobs.as_array().unwrap().iter().map(read).collect()
}

#[tokio::test]
async fn klaviyo_gets_batches_and_a_refused_one_is_split() {
    let tool = Receiver::start().await;
    let has_13 = |request: &Received| klaviyo(request).iter().any(|(email, ..)| email == "customer13@example.com");
    tool.decides(move |request| if has_13(request) { 400.into() } else { 202.into() });
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 10;
    shop.moves(&(1..=25).collect::<Vec<_>>(), "lost");
    for _ in 0..5 {
        shop.deliver().await;
        shop.pass(MINUTE);
    }
    let sizes: Vec<_> = tool.received().iter().map(|request| klaviyo(request).len()).collect();
    assert_eq!(sizes[..3], [10, 10, 5], "{sizes:?}");
    let accepted = tool.received().into_iter().filter(|request| !has_13(request));
    let mut told: Vec<String> = accepted.flat_map(|request| klaviyo(&request)).map(|(email, ..)| email).collect();
    let mut expected: Vec<String> =
        (1..=25).filter(|id| *id != 13).map(|id| format!("customer{id}@example.com")).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected, "each once");
    let alone = tool.received().iter().filter(|request| has_13(request) && klaviyo(request).len() == 1).count();
    assert_eq!(alone, 3);
    let dead: Vec<_> = shop.deliveries().into_iter().filter(|delivery| delivery.state != State::Delivered).collect();
    assert_eq!(dead.iter().map(|delivery| (delivery.state, delivery.events)).collect::<Vec<_>>(), [(State::Dead, 1)]);
}

#[tokio::test]
async fn first_orders_and_lapses_are_metrics_of_their_own() {
    let tool = Receiver::start().await;
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 10;
    let (now, routes) = (shop.now(), Route::from_config(&shop.config).unwrap());
    shop.write(move |tx| {
        for customer in [1, 2, 1] {
            outbox::enqueue_first_order(tx, customer, now, &mut Ids::random(now))?;
        }
        Ok(())
    });
    assert_eq!(shop.deliver().await.delivered, 1, "the forwarder makes the deliveries itself");
    shop.moves(&[3], "lost");
    shop.write(move |tx| {
        let lapse = Lapse { customer_id: 3, days: 90 };
        let range = outbox::enqueue_lapsed(tx, 1, now, &mut Ids::random(now), [lapse])?;
        let (first, last) = range.expect("somebody lapsed");
        let slice = Slice { after: first - 1, last, limit: 10, disposition: Disposition::Send };
        outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?;
        Ok(())
    });
    shop.deliver().await;
    let events: Vec<_> = tool.received().iter().map(klaviyo).collect();
    let metrics: Vec<Vec<&str>> =
        events.iter().map(|events| events.iter().map(|(_, metric, _)| metric.as_str()).collect()).collect();
    assert_eq!(
        metrics,
        [vec!["First Order"; 2], vec!["RFM Segment Changed"], vec!["Customer Lapsed"]],
        "kinds do not mix"
    );
    let (email, _, first) = &events[0][0];
    assert_eq!(email, "customer1@example.com");
    let profile = &first["profile"]["data"]["attributes"]["properties"];
    assert_eq!(
        (profile.get("rfm_segment"), &profile["order_count"]),
        (None, &json!(3)),
        "the segment stays what it is"
    );
    let lapsed = &events[2][0].2["events"]["data"][0]["attributes"]["properties"];
    assert_eq!(lapsed["lapsed_days"], 90);
}

#[tokio::test]
async fn a_thousand_events_fit_into_one_request_also_with_names() {
    let tool = Receiver::start().await;
    tool.answers(202);
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 1000;
    shop.config.destination[0].fields = ["rfm", "counters", "email", "name"].map(str::to_owned).to_vec();
    shop.write(|tx| {
        tx.execute(
            "WITH n (id) AS (SELECT 401 UNION ALL SELECT id + 1 FROM n LIMIT 1700)
             INSERT INTO customers (id, source, external_id, email, first_name, last_name, consent, order_count, total_spent,
               last_order_at, created_at)
             SELECT id, 'shopify', '70' || id, 'a.customer.with.a.rather.long.address' || id || '@mail.example.com',
               'Maria Magdalena', 'Müller-Lüdenscheidt', 'subscribed', 3, 4990, 0, 0 FROM n",
            [],
        )?;
        Ok(())
    });
    shop.moves(&(101..=2100).collect::<Vec<_>>(), "lost");
    assert_eq!(shop.deliver().await.delivered, 2, "requests");
    let received = tool.received();
    let sizes: Vec<(usize, bool)> =
        received.iter().map(|request| (klaviyo(request).len(), request.body.len() < 4_000_000)).collect();
    assert_eq!(sizes, [(1000, true), (1000, true)]);
    // Put together at the claim it comes to the same.
    shop.config.destination[0].batch = 1;
    shop.moves(&(101..=1100).collect::<Vec<_>>(), "loyal");
    shop.config.destination[0].batch = 1000;
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(klaviyo(&tool.received()[2]).len(), 1000);
}
