//! An order or a customer as the GraphQL Admin API shapes it: a node of a page, or a line of a bulk
//! operation's file.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    intake::{Rules, json, json::Told},
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
};

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Order {
        order: Box<Order>,
        /// An amount had more digits than its currency and was rounded.
        rounded: bool,
    },
    Person(Box<Person>),
    /// Part of another line's object, and nothing to store by itself: a line item, an address.
    Part,
}

/// A line that is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The shop's id of the object, where it can be read.
    pub id: Option<String>,
    /// For the merchant; repeats no personal data.
    pub reason: String,
}

/// Orders placed before an instant are history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// All are.
    All,
    Before(Timestamp),
}

/// What tells objects apart. Bulk operations write children on lines of their own, which name their
/// parent and need not follow it.
#[derive(Deserialize)]
struct Head {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, rename = "__parentId", deserialize_with = "json::told")]
    parent: Told,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderNode {
    #[serde(default, deserialize_with = "json::told")]
    name: Told,
    #[serde(default, deserialize_with = "json::told")]
    test: Told,
    #[serde(default, deserialize_with = "json::told")]
    created_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    processed_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    updated_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    cancelled_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    display_financial_status: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency_code: Told,
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
    total_price_set: Option<MoneyBag>,
    current_total_price_set: Option<MoneyBag>,
    total_outstanding_set: Option<MoneyBag>,
    total_refunded_set: Option<MoneyBag>,
    net_payment_set: Option<MoneyBag>,
    customer: Option<CustomerNode>,
}

/// The same amount in the shop's money and in the buyer's; only the shop's is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MoneyBag {
    shop_money: Option<Amount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Amount {
    #[serde(default, deserialize_with = "json::told")]
    amount: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency_code: Told,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CustomerNode {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    updated_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    /// A list of texts.
    #[serde(default, deserialize_with = "json::told")]
    tags: Told,
    #[serde(default, deserialize_with = "json::told")]
    default_email_address: Told,
    #[serde(default, deserialize_with = "json::told")]
    default_phone_number: Told,
    /// Before `defaultEmailAddress` and `defaultPhoneNumber` there were these.
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
}

/// Reads one JSON object.
///
/// # Errors
/// It is neither an order nor a customer, nor part of one; or something in it cannot be used.
pub fn read(bytes: &[u8], rules: &Rules, history: History) -> Result<Node, Refused> {
    let anonymous = |reason| Refused { id: None, reason };
    let text = json::body(bytes).map_err(anonymous)?;
    let head: Head = json::parse(text, "an order or a customer").map_err(anonymous)?;
    let parent = json::some_text(&head.parent);
    match json::some_text(&head.id).as_deref().and_then(kind_and_number) {
        Some(("Order", number)) => read_order(text, number, parent.as_deref(), rules, history)
            .map_err(|reason| Refused { id: Some(number.to_owned()), reason }),
        Some(("Customer", number)) => json::parse::<CustomerNode>(text, "a customer")
            .and_then(|customer| customer.read(number))
            .map(|person| Node::Person(Box::new(person)))
            .map_err(|reason| Refused { id: Some(number.to_owned()), reason }),
        _ if parent.is_some() => Ok(Node::Part),
        _ => Err(anonymous(
            "it is neither an order nor a customer: its id is not like \"gid://shopify/Order/1\"".to_owned(),
        )),
    }
}

/// `gid://shopify/Order/1001` → ("Order", "1001"). Older ids end in a query, which says nothing.
pub fn kind_and_number(global_id: &str) -> Option<(&str, &str)> {
    let (kind, rest) = global_id.strip_prefix("gid://shopify/")?.split_once('/')?;
    let number = rest.split('?').next().unwrap_or_default();
    let is_number = (1..=30).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((kind, number))
}

fn read_order(text: &str, number: &str, parent: Option<&str>, rules: &Rules, history: History) -> Result<Node, String> {
    let node: OrderNode = json::parse(text, "an order")?;
    let mut notes = Vec::new();
    let currency = node.currency(rules)?;
    let mut money = |what, bag: &Option<MoneyBag>| shop_money(what, bag.as_ref(), currency, &mut notes);
    let gross = money("totalPriceSet", &node.total_price_set)?.ok_or("the order has no totalPriceSet")?;
    let current = money("currentTotalPriceSet", &node.current_total_price_set)?;
    let outstanding = money("totalOutstandingSet", &node.total_outstanding_set)?;
    let refunded = money("totalRefundedSet", &node.total_refunded_set)?.unwrap_or_default();
    let net_payment = money("netPaymentSet", &node.net_payment_set)?;
    let rounded = !notes.is_empty();
    let created_at = json::instant("createdAt", &node.created_at)?;
    let ordered_at = json::instant("processedAt", &node.processed_at)?
        .or(created_at)
        .ok_or("the order has no date: neither processedAt nor createdAt")?;
    let updated_at = json::instant("updatedAt", &node.updated_at)?;
    let historical = match history {
        History::All => true,
        History::Before(first) => created_at.unwrap_or(ordered_at) < first,
    };
    let order = Order {
        source: Source::Shopify,
        source_id: number.to_owned(),
        person: node.person(parent, updated_at)?,
        name: json::some_text(&node.name),
        status: node.status(),
        is_test: json::flag(&node.test),
        currency,
        gross,
        current,
        outstanding,
        refunded,
        net_payment,
        ordered_at,
        created_at,
        cancelled_at: json::instant("cancelledAt", &node.cancelled_at)?,
        updated_at,
        triggered_at: None,
        // Without a version it is a file like any other.
        origin: if updated_at.is_some() { Origin::Sync } else { Origin::Csv },
        historical,
    };
    Ok(Node::Order { order: Box::new(order), rounded })
}

impl OrderNode {
    /// The shop's currency: that of the amounts, which are read in shop money, else `currencyCode`.
    fn currency(&self, rules: &Rules) -> Result<Currency, String> {
        let bags = [&self.total_price_set, &self.current_total_price_set];
        let code = bags
            .into_iter()
            .flatten()
            .find_map(|bag| json::some_text(&bag.shop_money.as_ref()?.currency_code))
            .or_else(|| json::some_text(&self.currency_code));
        match code {
            None => Ok(rules.currency),
            Some(code) => Currency::new(&code).ok_or_else(|| "its currency is not a three-letter code".to_owned()),
        }
    }

    fn status(&self) -> OrderStatus {
        let told = json::some_text(&self.display_financial_status).map(|status| status.to_lowercase());
        told.as_deref().and_then(OrderStatus::parse).unwrap_or(OrderStatus::Unknown)
    }

    /// The customer by id, who may be the line's parent; else a guest by the order's e-mail; else
    /// nobody.
    fn person(&self, parent: Option<&str>, updated_at: Option<Timestamp>) -> Result<Option<Person>, String> {
        let global_id = self.customer.as_ref().and_then(|customer| json::some_text(&customer.id));
        let customer = global_id.as_deref().or(parent).and_then(kind_and_number);
        if let Some(("Customer", number)) = customer {
            let mut person = match &self.customer {
                Some(customer) => customer.read(number)?,
                None => Person { external_id: Some(number.to_owned()), ..Person::unknown(Source::Shopify) },
            };
            person.updated_at = person.updated_at.or(updated_at);
            if person.email.as_deref().is_none_or(|email| email.trim().is_empty()) {
                person.contact_email = json::some_text(&self.email);
            }
            return Ok(Some(person));
        }
        if global_id.is_some() {
            return Err("its customer's id is not like \"gid://shopify/Customer/1\"".to_owned());
        }
        Ok(json::some_text(&self.email).map(|email| Person {
            email: Some(email),
            phone: json::some_text(&self.phone),
            updated_at,
            ..Person::unknown(Source::Shopify)
        }))
    }
}

impl CustomerNode {
    fn read(&self, number: &str) -> Result<Person, String> {
        let address = &self.default_email_address;
        let email = member(address, "emailAddress").or_else(|| self.email.clone());
        let phone = member(&self.default_phone_number, "phoneNumber").or_else(|| self.phone.clone());
        // A shop whose plan or app may not see personal data sends null for all of it. That says
        // nothing; beside a name, a null e-mail says that there is none.
        let personal = [&email, &self.first_name, &self.last_name, &phone];
        let may_see = personal.iter().any(|value| json::some_text(value).is_some());
        let text = |value: &Told| if may_see { json::text(value) } else { None };
        Ok(Person {
            external_id: Some(number.to_owned()),
            email: text(&email),
            first_name: text(&self.first_name),
            last_name: text(&self.last_name),
            phone: text(&phone),
            consent: json::some_text(&member(address, "marketingState")).map(|state| state.to_lowercase()),
            consent_at: json::instant("marketingUpdatedAt", &member(address, "marketingUpdatedAt"))?,
            tags: self.tags(),
            updated_at: json::instant("the customer's updatedAt", &self.updated_at)?,
            ..Person::unknown(Source::Shopify)
        })
    }

    /// A list, told with commas as the webhooks do.
    fn tags(&self) -> Option<String> {
        match &self.tags {
            Some(Value::Array(tags)) => {
                let tags: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
                json::text(&Some(tags.join(", ").into()))
            }
            other => json::text(other),
        }
    }
}

/// What an object says of a member: nothing, when it is not there itself; null, when it is null.
fn member(object: &Told, name: &str) -> Told {
    match object {
        Some(Value::Object(members)) => members.get(name).cloned(),
        Some(Value::Null) => Some(Value::Null),
        _ => None,
    }
}

/// An amount in the shop's money.
fn shop_money(
    what: &str,
    bag: Option<&MoneyBag>,
    currency: Currency,
    notes: &mut Vec<String>,
) -> Result<Option<Money>, String> {
    let Some(amount) = bag.and_then(|bag| bag.shop_money.as_ref()) else { return Ok(None) };
    if json::some_text(&amount.currency_code).is_some_and(|code| !code.eq_ignore_ascii_case(currency.code())) {
        return Err(format!("{what} is in another currency than the order's {currency}"));
    }
    json::amount(what, &amount.amount, currency, notes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bag(amount: &str) -> Value {
        json!({ "shopMoney": { "amount": amount, "currencyCode": "EUR" },
            "presentmentMoney": { "amount": "777.77", "currencyCode": "USD" } })
    }

    fn order() -> Value {
        json!({
            "id": "gid://shopify/Order/1001", "name": "#1001", "test": false, "createdAt": "2026-11-01T10:00:00Z",
            "processedAt": "2026-11-01T09:00:00Z", "updatedAt": "2026-11-20T10:00:00Z", "cancelledAt": null,
            "displayFinancialStatus": "PARTIALLY_REFUNDED", "currencyCode": "EUR", "presentmentCurrencyCode": "USD",
            "email": "anna@example.com", "phone": null, "totalPriceSet": bag("50.00"), "currentTotalPriceSet": bag("40.00"),
            "totalOutstandingSet": bag("0.0"), "totalRefundedSet": bag("10.00"), "netPaymentSet": bag("39.5"),
            "customer": { "id": "gid://shopify/Customer/7" },
        })
    }

    fn with(mut object: Value, key: &str, value: Value) -> Value {
        object[key] = value;
        object
    }

    fn read_json(value: &Value, history: History) -> Result<Node, Refused> {
        read(value.to_string().as_bytes(), &Rules::default(), history)
    }

    fn an_order(value: &Value) -> Order {
        match read_json(value, History::All) {
            Ok(Node::Order { order, .. }) => *order,
            other => panic!("{other:?}"),
        }
    }

    fn a_person(value: &Value) -> Person {
        match read_json(value, History::All) {
            Ok(Node::Person(person)) => *person,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_order_in_shop_money_with_its_net_payment() {
        let read = an_order(&order());
        assert_eq!(read.source_id, "1001");
        assert_eq!((read.gross, read.current, read.net_payment), (Money(5000), Some(Money(4000)), Some(Money(3950))));
        assert_eq!((read.refunded, read.outstanding), (Money(1000), Some(Money(0))));
        assert_eq!((read.status, read.origin), (OrderStatus::PartiallyRefunded, Origin::Sync));
        assert_eq!(read.ordered_at.to_string(), "2026-11-01T09:00:00Z");
        let person = read.person.unwrap();
        assert_eq!((person.external_id.as_deref(), person.email), (Some("7"), None));
        assert_eq!(person.updated_at.unwrap().to_string(), "2026-11-20T10:00:00Z");
    }

    #[test]
    fn who_ordered_may_be_a_guest_the_parent_or_nobody() {
        let guest = an_order(&with(order(), "customer", Value::Null)).person.unwrap();
        assert_eq!((guest.external_id, guest.email.as_deref()), (None, Some("anna@example.com")));
        let nobody = with(with(order(), "customer", Value::Null), "email", Value::Null);
        assert_eq!(an_order(&nobody).person, None);
        let child = with(with(order(), "customer", Value::Null), "__parentId", json!("gid://shopify/Customer/9"));
        assert_eq!(an_order(&child).person.unwrap().external_id.as_deref(), Some("9"));
    }

    #[test]
    fn history_is_what_was_placed_before() {
        for (history, expected) in [
            (History::All, true),
            (History::Before(Timestamp::parse_rfc3339("2026-11-01T10:00:00Z").unwrap()), false),
            (History::Before(Timestamp::parse_rfc3339("2026-11-01T10:00:01Z").unwrap()), true),
        ] {
            let Ok(Node::Order { order, .. }) = read_json(&order(), history) else { panic!() };
            assert_eq!(order.historical, expected);
        }
    }

    #[test]
    fn a_null_clears_only_where_something_else_is_seen() {
        let customer = |more: Value| {
            let mut customer = json!({ "id": "gid://shopify/Customer/7", "updatedAt": "2026-11-20T10:00:00Z",
                "firstName": null, "lastName": null, "tags": ["vip", "b2b"], "defaultEmailAddress": null, "defaultPhoneNumber": null });
            customer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            a_person(&customer)
        };
        let unseen = customer(json!({}));
        assert_eq!((unseen.email, unseen.first_name, unseen.phone, unseen.consent), (None, None, None, None));
        assert_eq!(unseen.tags.as_deref(), Some("vip, b2b"));
        let named = customer(json!({ "firstName": "Anna", "tags": [] }));
        assert_eq!((named.email.as_deref(), named.first_name.as_deref()), (Some(""), Some("Anna")));
        assert_eq!((named.last_name.as_deref(), named.tags.as_deref()), (Some(""), Some("")));
        let consent = customer(json!({ "defaultEmailAddress": { "emailAddress": "Anna@example.com",
            "marketingState": "SUBSCRIBED", "marketingUpdatedAt": "2026-11-02T10:00:00Z" } }));
        assert_eq!(
            (consent.email.as_deref(), consent.consent.as_deref()),
            (Some("Anna@example.com"), Some("subscribed"))
        );
        assert_eq!(consent.consent_at.unwrap().to_string(), "2026-11-02T10:00:00Z");
    }

    #[test]
    fn what_cannot_be_used_says_why_and_which() {
        for (value, reason) in [
            (json!({ "id": "gid://shopify/Product/1" }), "neither an order nor a customer"),
            (json!({ "id": 5 }), "neither an order nor a customer"),
            (json!(5), "the body is not an order or a customer"),
            (with(order(), "totalPriceSet", Value::Null), "no totalPriceSet"),
            (with(order(), "totalPriceSet", bag("-")), "totalPriceSet is not usable"),
            (with(order(), "updatedAt", json!("yesterday")), "updatedAt is not usable"),
            (with(order(), "customer", json!({ "id": "7" })), "its customer's id"),
            (
                with(order(), "netPaymentSet", json!({ "shopMoney": { "amount": "1", "currencyCode": "USD" } })),
                "another currency",
            ),
        ] {
            let refused = read_json(&value, History::All).unwrap_err();
            assert!(refused.reason.contains(reason), "{refused:?}");
        }
        assert_eq!(
            read_json(&with(order(), "updatedAt", json!(5)), History::All).unwrap_err().id.as_deref(),
            Some("1001")
        );
        assert_eq!(read(b"{\"id\":\"gid", &Rules::default(), History::All).unwrap_err().id, None);
        let deep = vec![b'['; 10_000];
        assert!(read(&deep, &Rules::default(), History::All).unwrap_err().reason.contains("64 levels"));
    }

    #[test]
    fn parts_of_objects_are_passed_over() {
        let item = json!({ "id": "gid://shopify/LineItem/1", "__parentId": "gid://shopify/Order/1001" });
        assert_eq!(read_json(&item, History::All), Ok(Node::Part));
        let nameless = json!({ "quantity": 1, "__parentId": "gid://shopify/Order/1001" });
        assert_eq!(read_json(&nameless, History::All), Ok(Node::Part));
    }

    #[test]
    fn global_ids() {
        assert_eq!(
            kind_and_number("gid://shopify/Order/12345678901234567890"),
            Some(("Order", "12345678901234567890"))
        );
        assert_eq!(kind_and_number("gid://shopify/Order/1?x=y"), Some(("Order", "1")));
        for wrong in
            ["", "1", "gid://shopify/Order/", "gid://shopify/Order/a", "gid://other/Order/1", "gid://shopify/Order"]
        {
            assert_eq!(kind_and_number(wrong), None, "{wrong}");
        }
    }
}
