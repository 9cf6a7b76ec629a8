//! An order as WooCommerce's REST API shapes it.

use serde::{Deserialize, de::IgnoredAny};

use super::{OTHER_VERSION, gmt, id};
use crate::{
    intake::{Message, Rules, json, json::Told},
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
};

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    number: Told,
    #[serde(default, deserialize_with = "json::told")]
    status: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency: Told,
    #[serde(default, deserialize_with = "json::told")]
    total: Told,
    #[serde(default, deserialize_with = "json::told")]
    date_created_gmt: Told,
    #[serde(default, deserialize_with = "json::told")]
    date_modified_gmt: Told,
    #[serde(default, deserialize_with = "json::told")]
    customer_id: Told,
    billing: Option<Billing>,
    refunds: Option<Vec<Refund>>,
    /// Bodies of the legacy API stand inside of this.
    order: Option<IgnoredAny>,
}

/// Who ordered, as typed in at the checkout.
#[derive(Deserialize)]
struct Billing {
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
}

#[derive(Deserialize)]
struct Refund {
    /// Negative.
    #[serde(default, deserialize_with = "json::told")]
    total: Told,
}

/// The payment state behind a word of WooCommerce, with or without the `wc-` that its database puts
/// in front. `paid` are those that the merchant counts, which may be words of an extension. Its
/// "processing" is paid and not sent yet, its "on-hold" waits for a bank transfer.
pub fn status(word: &str, paid: &[String]) -> Option<OrderStatus> {
    let word = word.trim().to_ascii_lowercase();
    let word = word.strip_prefix("wc-").unwrap_or(&word);
    Some(match word {
        _ if paid.iter().any(|counted| counted.strip_prefix("wc-").unwrap_or(counted) == word) => OrderStatus::Paid,
        "pending" | "on-hold" | "checkout-draft" | "auto-draft" | "draft" | "processing" | "completed" => {
            OrderStatus::Pending
        }
        "failed" => OrderStatus::Voided,
        "refunded" => OrderStatus::Refunded,
        "cancelled" | "trash" => OrderStatus::Cancelled,
        _ => return None,
    })
}

/// Reads an order; `notes` gets what the merchant may want to know about it.
pub fn read(message: &Message, rules: &Rules, notes: &mut Vec<String>) -> Result<Order, String> {
    let body: Body = json::parse(json::body(&message.body)?, "an order")?;
    if body.total.is_none() && body.order.is_some() {
        return Err(format!("the body is an order of WooCommerce's legacy API; {OTHER_VERSION}"));
    }
    if body.total.is_none() || body.status.is_none() {
        return Err("the topic is about an order, the body is not: it has no total or no status".to_owned());
    }
    let source_id = id("the order's id", &body.id)?.ok_or("the order has no id")?;
    let currency = match json::some_text(&body.currency) {
        None => rules.currency,
        Some(code) => Currency::new(&code).ok_or("its currency is not a three-letter code")?,
    };
    let gross = json::amount("total", &body.total, currency, notes)?.ok_or("the order has no total")?;
    let ordered_at = gmt("date_created_gmt", &body.date_created_gmt)?
        .ok_or_else(|| format!("the order has no date_created_gmt; {OTHER_VERSION}"))?;
    let updated_at = gmt("date_modified_gmt", &body.date_modified_gmt)?.unwrap_or(ordered_at);
    let (status, refunded) = body.state(gross, currency, rules, notes)?;
    Ok(Order {
        source: Source::WooCommerce,
        source_id,
        person: body.person(ordered_at)?,
        name: json::some_text(&body.number).map(|number| format!("#{number}")),
        status,
        is_test: false,
        currency,
        gross,
        current: None,
        outstanding: None,
        refunded,
        net_payment: None,
        ordered_at,
        created_at: Some(ordered_at),
        cancelled_at: None,
        updated_at: Some(updated_at),
        triggered_at: None,
        origin: Origin::Webhook,
        historical: false,
    })
}

impl Body {
    /// Status and refunds, which go together: a status says that an order was paid, its refunds how
    /// much of that was given back.
    fn state(
        &self,
        gross: Money,
        currency: Currency,
        rules: &Rules,
        notes: &mut Vec<String>,
    ) -> Result<(OrderStatus, Money), String> {
        let mut refunded = Money::ZERO;
        for refund in self.refunds.iter().flatten() {
            let amount = json::amount("a refund", &refund.total, currency, notes)?.unwrap_or_default();
            refunded = refunded + Money(amount.0.abs());
        }
        if refunded.0 > Money::MAX {
            return Err("its refunds add up to more than any order can be".to_owned());
        }
        let told = json::some_text(&self.status).unwrap_or_default();
        Ok(match status(&told, &rules.paid_statuses) {
            Some(OrderStatus::Paid) if refunded >= gross && refunded > Money::ZERO => (OrderStatus::Refunded, refunded),
            Some(OrderStatus::Paid) if refunded > Money::ZERO => (OrderStatus::PartiallyRefunded, refunded),
            // Set by hand, without an amount: all of it.
            Some(OrderStatus::Refunded) if refunded == Money::ZERO => (OrderStatus::Refunded, gross),
            Some(status) => (status, refunded),
            None => {
                notes.push(
                    "its status is not one of WooCommerce's own, so the order does not count; add it to paid_statuses in [orders] if it should"
                        .to_owned(),
                );
                (OrderStatus::Unknown, refunded)
            }
        })
    }

    /// The customer by id; else a guest by the e-mail; else nobody. What is told of them is as old
    /// as the checkout: a change of the order's status does not make their address newer.
    fn person(&self, ordered_at: Timestamp) -> Result<Option<Person>, String> {
        let external_id = id("customer_id", &self.customer_id)?;
        let billing = self.billing.as_ref();
        let email = billing.and_then(|billing| json::some_text(&billing.email));
        if external_id.is_none() && email.is_none() {
            return Ok(None);
        }
        Ok(Some(Person {
            external_id,
            email,
            first_name: billing.and_then(|billing| json::some_text(&billing.first_name)),
            last_name: billing.and_then(|billing| json::some_text(&billing.last_name)),
            phone: billing.and_then(|billing| json::some_text(&billing.phone)),
            updated_at: Some(ordered_at),
            ..Person::unknown(Source::WooCommerce)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        use OrderStatus::{Cancelled, Paid, Pending, Refunded, Voided};
        let paid = ["processing", "completed", "wc-shipped"].map(str::to_owned);
        for (word, expected) in [
            ("processing", Some(Paid)),
            ("completed", Some(Paid)),
            ("wc-completed", Some(Paid)),
            ("Completed", Some(Paid)),
            ("shipped", Some(Paid)),
            ("pending", Some(Pending)),
            ("on-hold", Some(Pending)),
            ("checkout-draft", Some(Pending)),
            ("failed", Some(Voided)),
            ("refunded", Some(Refunded)),
            ("cancelled", Some(Cancelled)),
            ("trash", Some(Cancelled)),
            ("quote", None),
            ("", None),
        ] {
            assert_eq!(status(word, &paid), expected, "{word:?}");
        }
        assert_eq!(status("processing", &["completed".to_owned()]), Some(Pending), "the merchant counts it later");
        assert_eq!(status("on-hold", &["on-hold".to_owned()]), Some(Paid));
    }
}
