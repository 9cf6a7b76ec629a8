//! A customer as WooCommerce's REST API shapes it: someone with an account. It knows nothing of
//! consent.

use serde::{Deserialize, de::IgnoredAny};

use super::{OTHER_VERSION, gmt, id};
use crate::{
    intake::{Message, json, json::Told},
    model::{Person, Source},
};

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    date_created_gmt: Told,
    #[serde(default, deserialize_with = "json::told")]
    date_modified_gmt: Told,
    billing: Option<Billing>,
    /// Bodies of the legacy API stand inside of this.
    customer: Option<IgnoredAny>,
    // What a customer does not have.
    total: Option<IgnoredAny>,
    line_items: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Billing {
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
}

/// Reads a customer. An account without a name says nothing of it: the checkout may have.
pub fn read(message: &Message) -> Result<Person, String> {
    let body: Body = json::parse(json::body(&message.body)?, "a customer")?;
    if body.id.is_none() && body.customer.is_some() {
        return Err(format!("the body is a customer of WooCommerce's legacy API; {OTHER_VERSION}"));
    }
    if body.total.is_some() || body.line_items.is_some() || body.email.is_none() {
        return Err("the topic is about a customer, the body is not".to_owned());
    }
    let external_id = id("the customer's id", &body.id)?.ok_or("the customer has no id")?;
    let created_at = gmt("date_created_gmt", &body.date_created_gmt)?;
    let updated_at = gmt("date_modified_gmt", &body.date_modified_gmt)?.or(created_at);
    let billing = body.billing.as_ref();
    let either = |own: &Told, billed: Option<&Told>| json::some_text(own).or_else(|| json::some_text(billed?));
    Ok(Person {
        external_id: Some(external_id),
        email: json::some_text(&body.email),
        first_name: either(&body.first_name, billing.map(|billing| &billing.first_name)),
        last_name: either(&body.last_name, billing.map(|billing| &billing.last_name)),
        phone: billing.and_then(|billing| json::some_text(&billing.phone)),
        updated_at: updated_at.or(Some(message.received_at)),
        ..Person::unknown(Source::WooCommerce)
    })
}
