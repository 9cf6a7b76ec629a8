//! What the shop asks of the merchant, and customers who share an e-mail.

use quintile::model::Timestamp;

use crate::support::pages::{NOW, Shop};

/// A message of the shop, received so many days ago.
fn message(shop: &Shop, topic: &'static str, body: &'static str, state: &'static str, days: i64) {
    shop.write(move |tx| {
        tx.execute(
            "INSERT INTO inbox (source, topic, body_hash, headers, body, state, reason, received_at)
             VALUES ('shopify', ?1, x'', '{}', ?2, ?3, 'data-request-1.json, beside the database, holds it', ?4)",
            (topic, body.as_bytes(), state, NOW - days * Timestamp::DAY),
        )
        .map(drop)
    });
}

fn notices(shop: &Shop) -> Vec<String> {
    shop.get("/").texts(".notice")
}

#[test]
fn a_removed_app_is_said_until_the_shop_speaks_again() {
    let shop = Shop::scored(300);
    assert_eq!(notices(&shop), Vec::<String>::new());
    message(&shop, "app/uninstalled", "{}", "done", 3);
    let [said] = notices(&shop).try_into().unwrap();
    assert!(said.starts_with("App removed") && said.contains("sends no more webhooks"), "{said}");
    message(&shop, "shop/redact", "{}", "done", 1);
    let [said] = notices(&shop).try_into().unwrap();
    assert!(said.starts_with("The shop asks to be forgotten") && said.contains("22 Dec"), "{said}");
    assert!(said.contains("quintile.db"), "{said}");
    message(&shop, "orders/create", "{}", "done", 0);
    assert_eq!(notices(&shop), Vec::<String>::new());
}

#[test]
fn requests_are_said_until_their_time_is_over() {
    let shop = Shop::scored(300);
    message(&shop, "customers/data_request", r#"{"customer":{"id":7001}}"#, "done", 40);
    assert_eq!(notices(&shop), Vec::<String>::new());
    message(&shop, "customers/data_request", r#"{"customer":{"id":7002}}"#, "done", 1);
    let [said] = notices(&shop).try_into().unwrap();
    assert!(said.starts_with("Data requested") && said.contains("Customer 7002 of the shop"), "{said}");
    assert!(
        said.contains("Data-request-1.json, beside the database") || said.contains("data-request-1.json"),
        "{said}"
    );
    message(&shop, "customers/redact", "", "done", 1);
    assert_eq!(notices(&shop).len(), 1, "every tool is told");
}

#[test]
fn a_tool_that_cannot_be_told_is_named() {
    let mut shop = Shop::scored(300);
    shop.config.destination[0].kind = "klaviyo".to_owned();
    message(&shop, "customers/redact", r#"{"customer":{"id":7001}}"#, "done", 1);
    let [said] = notices(&shop).try_into().unwrap();
    assert!(said.contains("Customer 7001 of the shop was erased here yesterday"), "{said}");
    assert!(said.contains("by hand in klaviyo, which cannot be told"), "{said}");
}

#[test]
fn what_could_not_be_used_is_counted() {
    let shop = Shop::scored(300);
    message(&shop, "orders/create", "{", "quarantined", 1);
    message(&shop, "orders/create", "{", "quarantined", 1);
    let [said] = notices(&shop).try_into().unwrap();
    assert!(said.starts_with("2 messages not used") && said.contains("quintile inbox replay"), "{said}");
    shop.execute("INSERT INTO privacy_tasks (kind, keys, position, last, begun_at) VALUES ('erase', '{}', 0, 0, 1)");
    assert!(notices(&shop)[0].starts_with("Request not done"));
}

#[test]
fn what_a_program_of_the_merchant_was_refused_is_said_for_a_week() {
    let shop = Shop::scored(300);
    for days in [9, 2, 1] {
        message(&shop, "orders", "{}", "quarantined", days);
    }
    shop.execute("UPDATE inbox SET source = 'api'");
    let [said] = notices(&shop).try_into().unwrap();
    assert!(said.starts_with("2 messages refused") && said.contains("the last time yesterday"), "{said}");
    assert!(said.contains("quintile inbox --source api --state quarantined"), "{said}");
    message(&shop, "orders/create", "{", "quarantined", 9);
    let [of_shop, _] = notices(&shop).try_into().unwrap();
    assert!(of_shop.starts_with("1 message not used"), "{of_shop}");
    shop.execute("DELETE FROM inbox WHERE source = 'shopify'");
    shop.pass(7 * Timestamp::DAY);
    assert_eq!(notices(&shop), Vec::<String>::new());
}

#[test]
fn customers_who_share_an_email_are_listed_together() {
    let shop = Shop::with_customers(60);
    let page = shop.get("/customers?same_email=1");
    assert_eq!(
        (page.text(".head .sub"), page.text(".empty h2")),
        ("0 customers".to_owned(), "No two customers share an e-mail".to_owned())
    );
    shop.execute(
        "UPDATE customers SET external_id = 'x' || id, merged_into = NULL, deleted_at = NULL WHERE id IN (10, 20, 30, 40, 50);
         UPDATE customers SET email = 'A@x.example', email_key = 'a@x.example' WHERE id IN (10, 40);
         UPDATE customers SET email = 'b@x.example', email_key = 'b@x.example' WHERE id IN (20, 50);
         UPDATE customers SET deleted_at = 1 WHERE id = 50;",
    );
    let page = shop.get("/customers?same_email=1");
    assert_eq!(page.text(".head .sub"), "2 customers");
    assert_eq!(
        page.attributes(".rows tbody th a", "href"),
        ["/customers/10", "/customers/40"],
        "the deleted one shares nothing"
    );
    assert!(page.text(".about").contains("merge them in the shop"));
    assert_eq!(page.attributes("input[name=same_email][checked]", "value"), ["1"]);
    assert!(shop.get("/customers.csv?same_email=1").body.lines().count() == 3);
    assert_eq!(shop.get("/customers").attributes("input[name=same_email][checked]", "value").len(), 0);
}
