//! Orders and customers as the GraphQL API has them, more of each than the program asks for.

use serde_json::{Value, json};

pub fn bag(amount: &str) -> Value {
    json!({ "shopMoney": { "amount": amount, "currencyCode": "EUR" },
        "presentmentMoney": { "amount": "777.77", "currencyCode": "USD" } })
}

/// Paid in full, placed and last changed at `at`.
pub fn order(id: u64, customer: Option<u64>, total: &str, at: &str) -> Value {
    json!({
        "__typename": "Order", "id": format!("gid://shopify/Order/{id}"), "name": format!("#{id}"), "test": false,
        "createdAt": at, "processedAt": at, "updatedAt": at, "cancelledAt": null, "displayFinancialStatus": "PAID",
        "currencyCode": "EUR", "presentmentCurrencyCode": "USD", "phone": null, "tags": [],
        "email": customer.map(|customer| format!("c{customer}@example.com")),
        "totalPriceSet": bag(total), "currentTotalPriceSet": bag(total), "totalOutstandingSet": bag("0.0"),
        "totalReceivedSet": bag(total), "totalRefundedSet": bag("0.0"), "netPaymentSet": bag(total),
        "customer": customer.map(|customer| json!({ "id": format!("gid://shopify/Customer/{customer}") })),
    })
}

pub fn customer(id: u64, at: &str) -> Value {
    json!({
        "__typename": "Customer", "id": format!("gid://shopify/Customer/{id}"), "createdAt": at, "updatedAt": at,
        "firstName": format!("C{id}"), "lastName": "Apple", "tags": ["vip"], "locale": "de",
        "defaultEmailAddress": { "emailAddress": format!("c{id}@example.com"), "marketingState": "SUBSCRIBED", "marketingUpdatedAt": at },
        "defaultPhoneNumber": null,
    })
}

/// `node` with other members.
pub fn with<const N: usize>(mut node: Value, members: [(&str, Value); N]) -> Value {
    for (name, value) in members {
        node[name] = value;
    }
    node
}
