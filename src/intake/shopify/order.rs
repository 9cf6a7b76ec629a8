//! An order as the REST Admin API shapes it, today's and older bodies.

use serde::Deserialize;

use super::person::Customer;
use crate::{
    intake::{Message, Rules, json, json::Told},
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
};

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    admin_graphql_api_id: Told,
    #[serde(default, deserialize_with = "json::told")]
    name: Told,
    #[serde(default, deserialize_with = "json::told")]
    test: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency: Told,
    #[serde(default, deserialize_with = "json::told")]
    financial_status: Told,
    #[serde(default, deserialize_with = "json::told")]
    total_price: Told,
    total_price_set: Option<MoneySet>,
    #[serde(default, deserialize_with = "json::told")]
    current_total_price: Told,
    current_total_price_set: Option<MoneySet>,
    #[serde(default, deserialize_with = "json::told")]
    total_outstanding: Told,
    #[serde(default, deserialize_with = "json::told")]
    processed_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    created_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    cancelled_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    updated_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    contact_email: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
    customer: Option<Customer>,
    billing_address: Option<Address>,
    refunds: Option<Vec<Refund>>,
}

/// The same amount in the shop's money and in the buyer's; only the shop's is ever read.
#[derive(Deserialize)]
struct MoneySet {
    shop_money: Option<Amount>,
}

#[derive(Deserialize)]
struct Amount {
    #[serde(default, deserialize_with = "json::told")]
    amount: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency_code: Told,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
}

#[derive(Deserialize)]
struct Refund {
    transactions: Option<Vec<Payment>>,
}

#[derive(Deserialize)]
struct Payment {
    #[serde(default, deserialize_with = "json::told")]
    kind: Told,
    #[serde(default, deserialize_with = "json::told")]
    status: Told,
    #[serde(default, deserialize_with = "json::told")]
    amount: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency: Told,
    amount_set: Option<MoneySet>,
}

/// What was paid back.
#[derive(Default)]
struct Refunded {
    total: Money,
    /// Some of it is only known in the buyer's currency, and not in `total`.
    incomplete: bool,
}

/// Reads an order; `notes` gets what the merchant may want to know about it.
pub fn read(message: &Message, rules: &Rules, notes: &mut Vec<String>) -> Result<Order, String> {
    let body: Body = json::parse(json::body(&message.body)?, "an order")?;
    if !super::is_kind(&body.admin_graphql_api_id, "Order") || body.total_price.is_none() {
        return Err("the topic is about an order, the body is not: it has no total_price".to_owned());
    }
    let source_id = json::id("the order's id", &body.id, false)?.ok_or("the order has no id")?;
    let currency = body.currency(rules)?;
    let gross = shop_money("total_price", &body.total_price, body.total_price_set.as_ref(), currency, notes)?
        .ok_or("the order has no total_price")?;
    let current = shop_money(
        "current_total_price",
        &body.current_total_price,
        body.current_total_price_set.as_ref(),
        currency,
        notes,
    )?;
    let outstanding = json::amount("total_outstanding", &body.total_outstanding, currency, notes)?;
    let refunded = body.refunded(currency, notes)?;
    if refunded.incomplete && current.is_none() {
        return Err(format!("its refunds are in another currency than {currency} and it does not say what is left"));
    }
    let status = body.status(notes);
    let created_at = json::instant("created_at", &body.created_at)?;
    let ordered_at = json::instant("processed_at", &body.processed_at)?
        .or(created_at)
        .ok_or("the order has no date: neither processed_at nor created_at")?;
    let updated_at = json::instant("updated_at", &body.updated_at)?.unwrap_or(ordered_at);
    Ok(Order {
        source: Source::Shopify,
        source_id,
        person: body.person(updated_at, message.triggered_at)?,
        name: json::some_text(&body.name),
        status,
        is_test: json::flag(&body.test),
        currency,
        gross,
        current,
        outstanding,
        refunded: refunded.total,
        net_payment: None,
        ordered_at,
        created_at,
        cancelled_at: json::instant("cancelled_at", &body.cancelled_at)?,
        updated_at: Some(updated_at),
        triggered_at: message.triggered_at,
        origin: Origin::Webhook,
        historical: false,
    })
}

impl Body {
    /// The shop's currency: `currency`, or that of the money sets.
    fn currency(&self, rules: &Rules) -> Result<Currency, String> {
        let sets = [&self.current_total_price_set, &self.total_price_set];
        let code = json::some_text(&self.currency).or_else(|| {
            sets.into_iter().flatten().find_map(|set| json::some_text(&set.shop_money.as_ref()?.currency_code))
        });
        match code {
            None => Ok(rules.currency),
            Some(code) => Currency::new(&code).ok_or_else(|| "its currency is not a three-letter code".to_owned()),
        }
    }

    fn status(&self, notes: &mut Vec<String>) -> OrderStatus {
        let told = json::some_text(&self.financial_status).map(|status| status.to_lowercase());
        let status = told.as_deref().and_then(OrderStatus::parse).unwrap_or(OrderStatus::Unknown);
        if status == OrderStatus::Unknown {
            notes.push("its financial_status is not one this version knows, so the order does not count".to_owned());
        }
        status
    }

    /// Successful refunds alone: a transaction may also be a sale, pending or failed.
    fn refunded(&self, currency: Currency, notes: &mut Vec<String>) -> Result<Refunded, String> {
        let mut refunded = Refunded::default();
        let payments = self.refunds.iter().flatten().flat_map(|refund| refund.transactions.iter().flatten());
        for payment in payments {
            let is = |value, expected| json::some_text(value).is_some_and(|text| text.eq_ignore_ascii_case(expected));
            if !is(&payment.kind, "refund") || !is(&payment.status, "success") {
                continue;
            }
            let in_shop_money = payment.amount_set.as_ref().and_then(|set| set.in_currency(currency));
            let same_currency =
                json::some_text(&payment.currency).is_none_or(|code| code.eq_ignore_ascii_case(currency.code()));
            let told = match in_shop_money {
                Some(amount) => amount,
                None if same_currency => &payment.amount,
                None => {
                    refunded.incomplete = true;
                    continue;
                }
            };
            let amount = json::amount("a refund", told, currency, notes)?.unwrap_or_default();
            refunded.total = refunded.total + amount;
        }
        if refunded.total.0 > Money::MAX {
            return Err("its refunds add up to more than any order can be".to_owned());
        }
        Ok(refunded)
    }

    fn contact(&self) -> Option<String> {
        json::some_text(&self.email).or_else(|| json::some_text(&self.contact_email))
    }

    /// The customer by id; else a guest by the order's e-mail; else nobody.
    fn person(&self, updated_at: Timestamp, triggered_at: Option<Timestamp>) -> Result<Option<Person>, String> {
        if let Some(customer) = &self.customer
            && let Some(mut person) = customer.read(triggered_at)?
        {
            person.updated_at = person.updated_at.or(Some(updated_at));
            if person.email.as_deref().is_none_or(|email| email.trim().is_empty()) {
                person.contact_email = self.contact();
            }
            return Ok(Some(person));
        }
        let Some(email) = self.contact() else { return Ok(None) };
        let address = self.billing_address.as_ref();
        Ok(Some(Person {
            email: Some(email),
            first_name: address.and_then(|address| json::text(&address.first_name)),
            last_name: address.and_then(|address| json::text(&address.last_name)),
            phone: json::some_text(&self.phone).or_else(|| address.and_then(|address| json::text(&address.phone))),
            updated_at: Some(updated_at),
            triggered_at,
            ..Person::unknown(Source::Shopify)
        }))
    }
}

impl MoneySet {
    /// The amount in the shop's money, if that is in `currency`.
    fn in_currency(&self, currency: Currency) -> Option<&Told> {
        let money = self.shop_money.as_ref()?;
        let same = json::some_text(&money.currency_code).is_none_or(|code| code.eq_ignore_ascii_case(currency.code()));
        (same && json::some_text(&money.amount).is_some()).then_some(&money.amount)
    }
}

/// An amount in shop money: from its set, else the plain field, which is in the shop's currency too.
fn shop_money(
    what: &str,
    plain: &Told,
    set: Option<&MoneySet>,
    currency: Currency,
    notes: &mut Vec<String>,
) -> Result<Option<Money>, String> {
    json::amount(what, set.and_then(|set| set.in_currency(currency)).unwrap_or(plain), currency, notes)
}
