//! The webhooks that the shop should send.

use quintile::sync::TOPICS;

use super::home::Home;

const ADDRESS: &str = "https://shop.example/webhooks/shopify";

async fn home() -> Home {
    let mut home = Home::at("2026-11-23T12:00:00Z").await;
    ADDRESS.clone_into(&mut home.config.sync.webhook_address);
    home
}

#[tokio::test]
async fn they_are_made_once_and_again_when_the_shop_drops_one() {
    let home = home().await;
    // More of somebody else's than fit a page.
    let others = (0..70).map(|number| ("ORDERS_CREATE".to_owned(), format!("https://other.example/{number}")));
    home.admin.shop().subscriptions.extend(others);
    assert_eq!(home.pull().await.subscribed, 13);
    let ours = |home: &Home| {
        let shop = home.admin.shop();
        let mut topics: Vec<String> =
            shop.subscriptions.iter().filter(|(_, uri)| uri == ADDRESS).map(|(topic, _)| topic.clone()).collect();
        topics.sort();
        topics
    };
    let mut expected = TOPICS.to_vec();
    expected.sort_unstable();
    assert_eq!(ours(&home), expected);

    home.later(6);
    assert_eq!(home.pull().await.subscribed, 0);
    home.admin.shop().subscriptions.retain(|(topic, uri)| topic != "ORDERS_PAID" || uri != ADDRESS);
    home.later(6);
    assert_eq!(home.pull().await.subscribed, 1);
    assert_eq!(ours(&home), expected);
    // Those of others are left alone.
    assert_eq!(home.admin.shop().subscriptions.len(), 70 + 13);
}

#[tokio::test]
async fn one_that_is_not_allowed_is_noted_and_stops_nothing() {
    let home = home().await;
    home.admin.fill(3, "2026-11-22T00:00:00Z");
    home.admin.shop().forbidden_topics.push("CUSTOMERS_MERGE");
    let entry = home.pull().await;
    assert_eq!((entry.subscribed, entry.counts.orders.read), (12, 6));
    assert_eq!(
        entry.notes,
        [
            "the webhook CUSTOMERS_MERGE was not made: You do not have permission to create or update webhooks with this topic."
        ]
    );
}

#[tokio::test]
async fn without_an_address_nothing_is_asked() {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.pull().await;
    assert_eq!(home.admin.shop().count("Subscriptions"), 0);
}
