//! What may stay of a message about an erased person: what its order is worth, so that it can still be
//! read again, and ids. Pure.

use serde_json::{Map, Value};

use super::traces::{Traces, emails_in};

/// Members of an order that say nothing of who placed it, in the words of all sources.
const KEPT: &[&str] = &[
    "id",
    "admin_graphql_api_id",
    "admin_graphql_api_customer_kept_id",
    "admin_graphql_api_customer_deleted_id",
    "customer_id",
    "order_id",
    "shop_id",
    "shop_domain",
    "currency",
    "currency_code",
    "presentment_currency",
    "financial_status",
    "status",
    "kind",
    "test",
    "historical",
    "amount",
    "total",
    "total_price",
    "current_total_price",
    "total_outstanding",
    "refunded",
    "created_at",
    "processed_at",
    "updated_at",
    "cancelled_at",
    "date_created",
    "date_created_gmt",
    "date_modified",
    "date_modified_gmt",
    "date_paid_gmt",
    "orderedAt",
    "updatedAt",
];
/// Members whose own members are looked at.
const ENTERED: &[&str] = &[
    "refunds",
    "transactions",
    "total_price_set",
    "current_total_price_set",
    "amount_set",
    "shop_money",
    "presentment_money",
];

/// The body without what `is_meant` names; `None`: it names nobody in it. Of many orders in one body
/// the others stay as they are.
pub fn strip(
    topic: &str,
    body: &[u8],
    is_meant: &mut dyn FnMut(&Traces) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        let meant = is_meant(&Traces::of_text(&String::from_utf8_lossy(body)))?;
        return Ok((meant && !body.is_empty()).then(Vec::new));
    };
    let mut changed = false;
    if let Some(parts) = parts(&mut value) {
        let mut hidden = Traces::of_text(&String::from_utf8_lossy(body));
        for part in parts {
            let traces = Traces::of("orders", part);
            for email in &traces.emails {
                hidden.emails.remove(email);
            }
            if is_meant(&traces)? {
                let kept = kept(topic, part);
                changed |= *part != kept;
                *part = kept;
            }
        }
        if let Some(beside) = beside(&value)
            && is_meant(&Traces::of("", &beside))?
        {
            drop_beside(&mut value);
            changed = true;
        }
        // Of a member that stands there twice the parsed body has one alone: written anew, it has lost the other.
        changed |= !hidden.emails.is_empty() && is_meant(&hidden)?;
    } else {
        let mut traces = Traces::of(topic, &value);
        // Of a member that stands there twice the parsed body has one alone.
        traces.emails.extend(emails_in(&String::from_utf8_lossy(body)));
        if is_meant(&traces)? {
            let kept = kept(topic, &value);
            changed = value != kept;
            value = kept;
        }
    }
    Ok(changed.then(|| value.to_string().into_bytes()))
}

/// The orders of a body that holds many.
pub fn parts(value: &mut Value) -> Option<&mut Vec<Value>> {
    match value {
        Value::Array(parts) => Some(parts),
        Value::Object(members) => members.get_mut("orders").and_then(Value::as_array_mut),
        _ => None,
    }
}

/// What stands beside them.
pub fn beside(value: &Value) -> Option<Value> {
    let others = value.as_object()?.iter().filter(|(key, _)| *key != "orders");
    let others: Map<String, Value> = others.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!others.is_empty()).then(|| others.into())
}

/// Leaves the orders alone of a body that holds many.
pub fn drop_beside(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        members.retain(|key, _| key == "orders");
    }
}

fn kept(topic: &str, value: &Value) -> Value {
    let Value::Object(members) = value else { return Value::Null };
    let mut kept = numbers(members);
    if let Some(id) = members.get("customer").and_then(|customer| customer.get("id")) {
        kept.insert("customer".to_owned(), Value::Object([("id".to_owned(), id.clone())].into_iter().collect()));
    }
    // Of an order it is its number; of anything else it may be a person's.
    if topic.starts_with("orders/")
        && let Some(name @ Value::String(_)) = members.get("name")
    {
        kept.insert("name".to_owned(), name.clone());
    }
    kept.into()
}

fn numbers(members: &Map<String, Value>) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in members {
        let value = match value {
            Value::Object(inner) if ENTERED.contains(&key.as_str()) => Value::Object(numbers(inner)),
            Value::Array(items) if ENTERED.contains(&key.as_str()) => {
                items.iter().filter_map(Value::as_object).map(|item| Value::Object(numbers(item))).collect()
            }
            Value::Object(_) | Value::Array(_) => continue,
            scalar if KEPT.contains(&key.as_str()) && !names_somebody(scalar) => scalar.clone(),
            _ => continue,
        };
        kept.insert(key.clone(), value);
    }
    kept
}

/// Whether an e-mail stands where it does not belong, such as for a time.
fn names_somebody(value: &Value) -> bool {
    value.as_str().is_some_and(|text| emails_in(text).next().is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn without_anna(topic: &str, body: &[u8]) -> Option<String> {
        let stripped = strip(topic, body, &mut |traces| Ok(traces.emails.contains("anna@example.com"))).unwrap();
        stripped.map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn an_order_keeps_what_it_is_worth() {
        let body = json!({
            "id": 1001, "name": "#1001", "email": "anna@example.com", "currency": "EUR", "total_price": "49.90",
            "total_price_set": { "shop_money": { "amount": "49.90", "currency_code": "EUR" } },
            "refunds": [{ "id": 1, "note": "Anna", "transactions": [{ "kind": "refund", "status": "success", "amount": "9.90", "receipt": {} }] }],
            "customer": { "id": 7001, "first_name": "Anna" }, "billing_address": { "name": "Anna" }, "browser_ip": "192.0.2.1",
        });
        let stripped = without_anna("orders/create", body.to_string().as_bytes()).unwrap();
        let expected = json!({
            "id": 1001, "name": "#1001", "currency": "EUR", "total_price": "49.90",
            "total_price_set": { "shop_money": { "amount": "49.90", "currency_code": "EUR" } },
            "refunds": [{ "id": 1, "transactions": [{ "kind": "refund", "status": "success", "amount": "9.90" }] }],
            "customer": { "id": 7001 },
        });
        assert_eq!(serde_json::from_str::<Value>(&stripped).unwrap(), expected);
        assert_eq!(without_anna("orders/create", stripped.as_bytes()), None, "once is enough");
        let odd = br#"{"id":1,"updated_at":"anna@example.com","total_price":"<anna@example.com>"}"#;
        assert_eq!(without_anna("orders/create", odd).as_deref(), Some(r#"{"id":1}"#));
        let all = |body: &[u8]| strip("orders/create", body, &mut |_| Ok(true)).unwrap();
        assert_eq!(all(stripped.as_bytes()), None);
    }

    #[test]
    fn others_in_the_same_body_stay() {
        let bert = json!({ "id": "2", "customer": { "email": "bert@example.com" }, "total": "1.00" });
        let anna = json!({ "id": "1", "customer": { "id": "c1", "email": "ANNA@example.com" }, "total": "2.00" });
        let body = json!({ "orders": [anna, bert] });
        let stripped: Value =
            serde_json::from_str(&without_anna("orders", body.to_string().as_bytes()).unwrap()).unwrap();
        let nameless = json!({ "id": "1", "customer": { "id": "c1" }, "total": "2.00" });
        assert_eq!(stripped, json!({ "orders": [nameless, bert] }));
        assert_eq!(without_anna("orders", json!([bert]).to_string().as_bytes()), None);
    }

    #[test]
    fn what_cannot_be_read_is_emptied() {
        let bodies: [&[u8]; 3] = [
            b"{\"email\":\"anna@example.com\"",
            b"{\"email\":\"anna@example.com\",\"a\":\"\xff\"}",
            b"anna@example.com",
        ];
        for body in bodies {
            assert_eq!(without_anna("orders/create", body).as_deref(), Some(""), "{}", String::from_utf8_lossy(body));
        }
        let twice = br#"{"email":"anna@example.com","email":"bert@example.com"}"#;
        assert_eq!(without_anna("orders/create", twice).as_deref(), Some("{}"));
        assert_eq!(without_anna("orders/create", b"{\"email\":\"joanna@example.com\""), None);
    }
}
