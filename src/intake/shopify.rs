//! Shopify's webhooks: what each topic says.

pub mod node;
mod order;
mod person;

use serde::{Deserialize, de::IgnoredAny};

use super::{Event, Message, Reading, Rules, json, json::Told};
use crate::{
    ledger::{Who, can_be},
    model::{Person, Source, Timestamp, email_key, phone_key},
};

/// Reads a body by its topic. The signature does not cover the topic, so the body must also have
/// the shape of it: an order sent again as "orders/delete" deletes nothing.
pub fn read(message: &Message, rules: &Rules) -> Reading {
    let event = match message.topic.as_str() {
        "orders/create" | "orders/updated" | "orders/paid" | "orders/cancelled" => return order(message, rules),
        "orders/delete" => deleted_order(message),
        "customers/create" | "customers/update" => customer(message),
        "customers/delete" => deleted_customer(message),
        "customers/merge" => return merge(message),
        "customers_email_marketing_consent/update" => consent(message),
        "refunds/create" => return noted(message, "kept as a hint; the order's own message brings the new amounts"),
        "bulk_operations/finish" => return noted(message, "kept; the pull from the shop asks for its result"),
        "app/uninstalled" => {
            return of_shop(message, rules, "stored; the shop has removed the app, so its webhooks end");
        }
        "customers/data_request" => {
            return privacy(message, rules, Event::DataRequest, "a file with this customer's data is being written");
        }
        "customers/redact" => return privacy(message, rules, Event::Erasure, "the customer was forgotten"),
        "shop/redact" => return of_shop(message, rules, "stored; to act on: the shop is gone, forget its customers"),
        topic => return Reading::Ignored(format!("nothing here acts on the topic {topic}")),
    };
    match event {
        Ok(event) => Reading::Event { event: Box::new(event), note: None },
        Err(reason) => Reading::Unreadable(reason),
    }
}

/// Kept, changes nothing; it must still be JSON, so that later readers can rely on it.
fn noted(message: &Message, note: &'static str) -> Reading {
    match json::body(&message.body).and_then(|text| json::parse::<IgnoredAny>(text, "JSON")) {
        Ok(_) => Reading::Noted(note),
        Err(reason) => Reading::Unreadable(reason),
    }
}

/// What the shop says of itself: its id and domain when it asks to be forgotten, all of it when it removes the app.
#[derive(Deserialize)]
struct OfShop {
    #[serde(default, deserialize_with = "json::told")]
    shop_id: Told,
    #[serde(default, deserialize_with = "json::told")]
    shop_domain: Told,
    #[serde(default, deserialize_with = "json::told")]
    myshopify_domain: Told,
    customer: Option<IgnoredAny>,
    orders_to_redact: Option<IgnoredAny>,
    orders_requested: Option<IgnoredAny>,
    data_request: Option<IgnoredAny>,
}

impl OfShop {
    /// Why the body has not the shape of its topic: no order, customer or request for data that comes again under
    /// one of these makes the merchant believe that the shop is gone.
    fn fault(&self, topic: &str, rules: &Rules) -> Option<&'static str> {
        let about_people = [&self.customer, &self.orders_to_redact, &self.orders_requested, &self.data_request];
        let (domain, has_shape) = match topic {
            "shop/redact" => {
                (&self.shop_domain, self.shop_id.is_some() && about_people.iter().all(|field| field.is_none()))
            }
            _ => (&self.myshopify_domain, self.myshopify_domain.is_some()),
        };
        if !has_shape {
            return Some("the topic is about the shop, the body is not");
        }
        // Shopify's own tools leave it empty.
        let is_sample = topic == "app/uninstalled" && *domain == Some(serde_json::Value::Null);
        (!is_sample && !is_ours(domain, rules)).then_some(OTHER_SHOP)
    }
}

fn of_shop(message: &Message, rules: &Rules, note: &'static str) -> Reading {
    let body = json::body(&message.body).and_then(|text| json::parse::<OfShop>(text, "about the shop"));
    match body.map(|body| body.fault(&message.topic, rules)) {
        Ok(None) => Reading::Noted(note),
        Ok(Some(fault)) => Reading::Unreadable(fault.to_owned()),
        Err(reason) => Reading::Unreadable(reason),
    }
}

/// What stands for the shop in the messages that Shopify's own tools send to try an address out.
const SAMPLE: &str = "{shop}.myshopify.com";

const OTHER_SHOP: &str = "the body is about another shop than [shop] id";

/// Whether a body names the shop whose messages are taken here: the signature covers no header, and an app may be
/// in many shops.
fn is_ours(domain: &Told, rules: &Rules) -> bool {
    let told = json::some_text(domain);
    told.is_some_and(|told| told.trim().eq_ignore_ascii_case(&rules.shop) || told == SAMPLE)
}

/// `{"shop_domain", "customer": {"id", "email", "phone"}, "orders_to_redact": []}`; each of them may be missing. A
/// request for data has `orders_requested` and `data_request` instead of the orders to redact, an order a customer
/// and much more.
#[derive(Deserialize)]
struct Privacy {
    #[serde(default, deserialize_with = "json::told")]
    shop_domain: Told,
    customer: Option<Customer>,
    orders_to_redact: Option<Vec<serde_json::Value>>,
    orders_requested: Option<Vec<serde_json::Value>>,
    data_request: Option<IgnoredAny>,
    total_price: Option<IgnoredAny>,
    line_items: Option<IgnoredAny>,
    updated_at: Option<IgnoredAny>,
}

impl Privacy {
    /// Whether the body has the shape of its topic: nobody is forgotten by an order or by a request for data
    /// that comes again as a request to forget, nor told of by one to forget.
    fn is_of(&self, topic: &str) -> bool {
        let is_order = [&self.total_price, &self.line_items, &self.updated_at].iter().any(|field| field.is_some());
        let is_other = match topic {
            "customers/redact" => self.orders_requested.is_some() || self.data_request.is_some(),
            _ => self.orders_to_redact.is_some(),
        };
        !is_order && !is_other
    }
}

#[derive(Deserialize)]
struct Customer {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
}

fn privacy(message: &Message, rules: &Rules, event: fn(Who) -> Event, note: &'static str) -> Reading {
    match whom(message, rules) {
        Ok(who) => Reading::Event { event: Box::new(event(who)), note: Some(note.to_owned()) },
        Err(reason) => Reading::Unreadable(reason),
    }
}

fn whom(message: &Message, rules: &Rules) -> Result<Who, String> {
    let body: Privacy = json::parse(json::body(&message.body)?, "a request about a customer's data")?;
    if !body.is_of(&message.topic) {
        return Err("the topic is about a customer's data, the body is not".to_owned());
    }
    if !matches!(body.shop_domain, None | Some(serde_json::Value::Null)) && !is_ours(&body.shop_domain, rules) {
        return Err(OTHER_SHOP.to_owned());
    }
    let mut who = Who::default();
    if let Some(customer) = &body.customer {
        who.external_id = json::id("the customer's id", &customer.id, false)?.map(|id| (Source::Shopify, id));
        who.email = json::some_text(&customer.email).filter(|email| email_key(email).is_some());
        who.phone = json::some_text(&customer.phone).filter(|phone| phone_key(phone).is_some());
    }
    for order in body.orders_to_redact.into_iter().chain(body.orders_requested).flatten() {
        who.orders.extend(json::id("an order's id", &Some(order), false)?.map(|id| (Source::Shopify, id)));
    }
    if who == Who::default() {
        return Err("it does not say whose data it is about: there is no id, e-mail, phone or order".to_owned());
    }
    Ok(who)
}

fn order(message: &Message, rules: &Rules) -> Reading {
    let mut notes = Vec::new();
    match order::read(message, rules, &mut notes) {
        Ok(order) => {
            Reading::Event { event: Box::new(Event::Order(order)), note: (!notes.is_empty()).then(|| notes.join("; ")) }
        }
        Err(reason) => Reading::Unreadable(reason),
    }
}

fn customer(message: &Message) -> Result<Event, String> {
    let body: person::Customer = json::parse(json::body(&message.body)?, "a customer")?;
    if body.looks_like_an_order() {
        return Err("the topic is about a customer, the body is not".to_owned());
    }
    let mut person = body.read(message.triggered_at)?.ok_or("the customer has no id")?;
    if person.updated_at.is_some() {
        return Ok(Event::Person(person));
    }
    person.updated_at = message.triggered_at.or(Some(message.received_at));
    Ok(Event::UndatedPerson(person))
}

/// `{"id": 1}`, and nothing that a living order or customer has.
#[derive(Deserialize)]
struct Deleted {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    admin_graphql_api_id: Told,
    total_price: Option<IgnoredAny>,
    line_items: Option<IgnoredAny>,
    order_id: Option<IgnoredAny>,
    updated_at: Option<IgnoredAny>,
    addresses: Option<IgnoredAny>,
    first_name: Option<IgnoredAny>,
}

impl Deleted {
    fn read(message: &Message, kind: &str) -> Result<(Self, String), String> {
        let body: Self = json::parse(json::body(&message.body)?, "a deletion")?;
        let alive = [&body.total_price, &body.line_items, &body.order_id, &body.updated_at];
        if alive.iter().any(|field| field.is_some()) || !is_kind(&body.admin_graphql_api_id, kind) {
            return Err("the topic is a deletion, the body is not".to_owned());
        }
        let id = json::id("the id", &body.id, false)?.ok_or("the body does not say what was deleted: it has no id")?;
        Ok((body, id))
    }
}

fn deleted_order(message: &Message) -> Result<Event, String> {
    let (body, source_id) = Deleted::read(message, "Order")?;
    if body.addresses.is_some() || body.first_name.is_some() {
        return Err("the topic is about an order, the body is not".to_owned());
    }
    Ok(Event::OrderDeleted { source_id, at: deleted_at(message.triggered_at, message.received_at) })
}

fn deleted_customer(message: &Message) -> Result<Event, String> {
    let (_, external_id) = Deleted::read(message, "Customer")?;
    Ok(Event::CustomerDeleted { external_id, at: deleted_at(message.triggered_at, message.received_at) })
}

/// When something was deleted: when the message says that it was sent, which nobody signs, if that can be.
fn deleted_at(sent: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    sent.filter(|at| can_be(*at, received_at)).unwrap_or(received_at)
}

/// Whether a global id (`gid://shopify/Order/1`), where there is one, is of this kind.
fn is_kind(global_id: &Told, kind: &str) -> bool {
    match json::some_text(global_id) {
        None => true,
        Some(text) => text
            .strip_prefix("gid://shopify/")
            .and_then(|rest| rest.strip_prefix(kind))
            .is_some_and(|rest| rest.starts_with('/')),
    }
}

#[derive(Deserialize)]
struct Merge {
    #[serde(default, deserialize_with = "json::told")]
    admin_graphql_api_customer_kept_id: Told,
    #[serde(default, deserialize_with = "json::told")]
    admin_graphql_api_customer_deleted_id: Told,
    #[serde(default, deserialize_with = "json::told")]
    status: Told,
}

fn merge(message: &Message) -> Reading {
    let body = json::body(&message.body).and_then(|text| json::parse::<Merge>(text, "a merge of customers"));
    let body = match body {
        Ok(body) => body,
        Err(reason) => return Reading::Unreadable(reason),
    };
    // Shopify also tells of merges that are under way or did not work.
    if let Some(status) = json::some_text(&body.status).filter(|status| status != "completed") {
        return Reading::Ignored(format!("the shop says the merge is {status}; only a completed one changes anything"));
    }
    let id = |value| {
        json::some_text(value)
            .as_deref()
            .and_then(|text| text.strip_prefix("gid://shopify/Customer/"))
            .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
            .map(str::to_owned)
    };
    match (id(&body.admin_graphql_api_customer_deleted_id), id(&body.admin_graphql_api_customer_kept_id)) {
        (Some(deleted_id), Some(kept_id)) => {
            Reading::Event { event: Box::new(Event::CustomersMerged { deleted_id, kept_id }), note: None }
        }
        _ => Reading::Unreadable("the message does not say which customers were merged".to_owned()),
    }
}

#[derive(Deserialize)]
struct ConsentChange {
    #[serde(default, deserialize_with = "json::told")]
    customer_id: Told,
    email_marketing_consent: Option<person::Consent>,
}

fn consent(message: &Message) -> Result<Event, String> {
    let body: ConsentChange = json::parse(json::body(&message.body)?, "a change of consent")?;
    let external_id = json::id("customer_id", &body.customer_id, false)?.ok_or("it has no customer_id")?;
    let (consent, consent_at) = body.email_marketing_consent.ok_or("it has no email_marketing_consent")?.read()?;
    let consent = consent.ok_or("its email_marketing_consent has no state")?;
    // A consent is not given again by bytes that came before. One that is taken back is, whoever sends it: better a
    // mail too few than one too many.
    let is_undated = consent_at.is_none() && consent == "subscribed";
    let person = Person {
        external_id: Some(external_id),
        consent: Some(consent),
        consent_at,
        updated_at: message.triggered_at.or(Some(message.received_at)),
        triggered_at: message.triggered_at,
        ..Person::unknown(Source::Shopify)
    };
    Ok(if is_undated { Event::UndatedPerson(person) } else { Event::Person(person) })
}
