//! What is wrong is said in words that name what to change, and no secret is repeated.

use quintile::{
    config::Secret,
    sync::{ApiError, Busy, log::Trigger},
};

use super::{
    admin::{CLIENT_SECRET, Fault, TOKEN},
    home::Home,
};

async fn home() -> Home {
    let home = Home::at("2026-11-23T12:00:00Z").await;
    home.admin.fill(3, "2026-11-22T00:00:00Z");
    home
}

#[tokio::test]
async fn wrong_credentials_say_which_key_to_correct() {
    let mut home = home().await;
    home.config.shopify.client_secret = Secret::new("shpss_mistyped");
    let (entry, told) = home.fail().await;
    assert!(told.starts_with("the shop gives no token (invalid_client:"), "{told}");
    assert!(
        told.ends_with("check [shopify] client_id and client_secret, and that the app is installed in this shop"),
        "{told}"
    );
    assert!(!told.contains("shpss_mistyped") && !told.contains(CLIENT_SECRET), "{told}");
    assert_eq!(entry.counts.orders.read, 0);
}

#[tokio::test]
async fn a_token_of_old_works_and_a_wrong_one_is_not_repeated() {
    let mut home = home().await;
    home.config.shopify.client_id = Secret::default();
    home.config.shopify.client_secret = Secret::default();
    home.config.shopify.token = Secret::new("shpat_mistyped");
    let (_, told) = home.fail().await;
    assert!(told.starts_with("the shop does not accept [shopify] token (401)"), "{told}");
    assert!(!told.contains("shpat_mistyped"), "{told}");
    home.config.shopify.token = Secret::new(TOKEN);
    assert_eq!(home.pull().await.counts.orders.read, 6);
    assert_eq!(home.admin.shop().exchanges, 0);
}

#[tokio::test]
async fn without_credentials_there_is_nothing_to_ask_with() {
    let mut home = home().await;
    home.config.shopify.client_id = Secret::default();
    home.config.shopify.client_secret = Secret::default();
    let refused = quintile::sync::Sync::new(&home.config, home.database.clone(), home.clock(), home.timer());
    let error = refused.err().expect("there are none");
    assert!(matches!(error.downcast_ref(), Some(ApiError::Refused(told)) if told.contains("client_id")), "{error}");
}

#[tokio::test]
async fn another_shop_and_another_currency_are_refused_before_anything_is_stored() {
    let mut home = home().await;
    home.admin.shop().currency = "USD";
    let (_, told) = home.fail().await;
    assert_eq!(told, "the shop's currency is USD, and [shop] currency is EUR; correct it");
    home.config.shop.id = "pears.myshopify.com".to_owned();
    let (_, told) = home.fail().await;
    assert!(told.starts_with("the credentials are those of apples.myshopify.com, and [shop] id is pears"), "{told}");
    assert_eq!(home.row("SELECT count(*) FROM orders"), "0");
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let home = home().await;
    home.admin.shop().faults.push_back(Fault::Error("ACCESS_DENIED"));
    let (_, told) = home.fail().await;
    assert!(told.contains("the app may not read this") && told.contains("read_all_orders"), "{told}");
}

#[tokio::test]
async fn odd_answers_are_told_and_not_believed() {
    let home = home().await;
    home.admin.shop().faults.push_back(Fault::Junk);
    let (_, told) = home.fail().await;
    assert_eq!(told, "the shop's answer is not JSON");
    for (status, expected) in [(404, "[shop] id and [shopify] api_version"), (402, "not paid"), (423, "locked")] {
        home.admin.shop().faults.push_back(Fault::Status(status, None));
        let (_, told) = home.fail().await;
        assert!(told.contains(expected), "{status}: {told}");
    }
    assert_eq!(home.pull().await.counts.orders.read, 6);
}

#[tokio::test]
async fn an_address_of_this_machine_needs_permission() {
    let mut home = home().await;
    home.config.forwarder.allow_private.clear();
    let (_, told) = home.fail().await;
    assert!(told.contains("127.0.0.1 is not a public address"), "{told}");
}

#[tokio::test]
async fn only_one_pull_runs_at_a_time() {
    let home = home().await;
    let (first, second) = (home.syncer(), home.syncer());
    let run = first.run(Trigger::Manual, false);
    let other = async {
        while home.admin.shop().count("RunBulk") == 0 {
            tokio::task::yield_now().await;
        }
        second.run(Trigger::Manual, false).await.unwrap_err()
    };
    let (ended, error) = tokio::join!(run, other);
    assert!(error.is::<Busy>(), "{error}");
    super::home::done(ended.unwrap());
    assert_eq!(home.log().len(), 1);
}
