//! A customer, in a message of its own or inside an order.

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    intake::{json, json::Told},
    model::{Person, Source, Timestamp},
};

#[derive(Deserialize)]
pub struct Customer {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    admin_graphql_api_id: Told,
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
    #[serde(default, deserialize_with = "json::told")]
    tags: Told,
    email_marketing_consent: Option<Consent>,
    /// Before `email_marketing_consent` there was this.
    #[serde(default, deserialize_with = "json::told")]
    accepts_marketing: Told,
    #[serde(default, deserialize_with = "json::told")]
    accepts_marketing_updated_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    updated_at: Told,
    // What a customer does not have.
    total_price: Option<IgnoredAny>,
    line_items: Option<IgnoredAny>,
    order_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub struct Consent {
    #[serde(default, deserialize_with = "json::told")]
    state: Told,
    #[serde(default, deserialize_with = "json::told")]
    consent_updated_at: Told,
}

impl Consent {
    /// The state and since when, where the shop says.
    pub fn read(&self) -> Result<(Option<String>, Option<Timestamp>), String> {
        Ok((
            json::some_text(&self.state).map(|state| state.to_lowercase()),
            json::instant("consent_updated_at", &self.consent_updated_at)?,
        ))
    }
}

impl Customer {
    pub fn looks_like_an_order(&self) -> bool {
        self.total_price.is_some()
            || self.line_items.is_some()
            || self.order_id.is_some()
            || !super::is_kind(&self.admin_graphql_api_id, "Customer")
    }

    /// `None` without an id.
    pub fn read(&self, triggered_at: Option<Timestamp>) -> Result<Option<Person>, String> {
        let Some(external_id) = json::id("the customer's id", &self.id, false)? else { return Ok(None) };
        let (consent, consent_at) = self.consent()?;
        Ok(Some(Person {
            source: Source::Shopify,
            external_id: Some(external_id),
            email: json::text(&self.email),
            first_name: json::text(&self.first_name),
            last_name: json::text(&self.last_name),
            phone: json::text(&self.phone),
            contact_email: None,
            consent,
            consent_at,
            tags: json::text(&self.tags),
            updated_at: json::instant("the customer's updated_at", &self.updated_at)?,
            triggered_at,
        }))
    }

    /// A null consent says nothing: plans without access to it send that too.
    fn consent(&self) -> Result<(Option<String>, Option<Timestamp>), String> {
        if let Some(consent) = &self.email_marketing_consent {
            return consent.read();
        }
        let Some(serde_json::Value::Bool(accepts)) = self.accepts_marketing else { return Ok((None, None)) };
        let state = if accepts { "subscribed" } else { "not_subscribed" };
        let since = json::instant("accepts_marketing_updated_at", &self.accepts_marketing_updated_at)?;
        Ok((Some(state.to_owned()), since))
    }
}
