//! The webhooks that the shop should send: those that are missing are made. Shopify deletes one that
//! was not answered often enough, without a word.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::quote,
    api::{Api, ApiError},
    queries::{SUBSCRIBE, SUBSCRIPTIONS},
};

/// The topics that intake reads, in GraphQL's words. Those of the privacy law are set in the app.
pub const TOPICS: [&str; 13] = [
    "ORDERS_CREATE",
    "ORDERS_UPDATED",
    "ORDERS_PAID",
    "ORDERS_CANCELLED",
    "ORDERS_DELETE",
    "REFUNDS_CREATE",
    "CUSTOMERS_CREATE",
    "CUSTOMERS_UPDATE",
    "CUSTOMERS_DELETE",
    "CUSTOMERS_MERGE",
    "CUSTOMERS_EMAIL_MARKETING_CONSENT_UPDATE",
    "BULK_OPERATIONS_FINISH",
    "APP_UNINSTALLED",
];
/// Pages of 50; a shop allows no more subscriptions than that.
const PAGES: usize = 40;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ensured {
    pub made: u64,
    /// Why some could not be made, a sentence each.
    pub refused: Vec<String>,
}

/// Makes the subscriptions of `address` that are missing; those of others are left alone.
///
/// # Errors
/// The shop cannot be asked.
pub(super) async fn ensure(api: &Api, address: &str) -> Result<Ensured, ApiError> {
    let known = known(api, address).await?;
    let mut ensured = Ensured::default();
    for topic in TOPICS.iter().filter(|topic| !known.contains(**topic)) {
        match make(api, topic, address).await {
            Ok(None) => ensured.made += 1,
            Ok(Some(reason)) => ensured.refused.push(format!("the webhook {topic} was not made: {reason}")),
            // A scope that is missing costs this topic, not the others.
            Err(ApiError::Refused(reason) | ApiError::Wrong(reason)) => {
                ensured.refused.push(format!("the webhook {topic} was not made: {reason}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ensured)
}

/// The topics that are sent to `address`.
async fn known(api: &Api, address: &str) -> Result<BTreeSet<String>, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        webhook_subscriptions: Page,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        page_info: super::pages::PageInfo,
        nodes: Vec<Subscription>,
    }
    #[derive(Deserialize)]
    struct Subscription {
        topic: String,
        uri: String,
    }
    let mut known = BTreeSet::new();
    let mut after = Value::Null;
    for _ in 0..PAGES {
        let Answer { webhook_subscriptions: page } =
            api.ask(&SUBSCRIPTIONS, &json!({ "after": after }), &mut 0.0).await?;
        known.extend(page.nodes.into_iter().filter(|node| node.uri == address).map(|node| node.topic));
        match page.page_info.next() {
            Some(next) => after = next.into(),
            None => break,
        }
    }
    Ok(known)
}

/// `None`: made, or there already; else why not.
async fn make(api: &Api, topic: &str, address: &str) -> Result<Option<String>, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        webhook_subscription_create: Option<Payload>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payload {
        user_errors: Vec<UserError>,
    }
    #[derive(Deserialize)]
    struct UserError {
        message: String,
    }
    let variables = json!({ "topic": topic, "webhook": { "uri": address, "format": "JSON" } });
    let answer: Answer = api.ask(&SUBSCRIBE, &variables, &mut 0.0).await?;
    let errors = answer.webhook_subscription_create.map(|payload| payload.user_errors).unwrap_or_default();
    let taken = |error: &UserError| error.message.contains("already been taken");
    Ok(errors.iter().find(|error| !taken(error)).map(|error| quote(&error.message)))
}
