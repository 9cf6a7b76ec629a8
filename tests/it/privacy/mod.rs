//! Forgetting people, telling them what is known of them, and reading messages again.

mod beside;
mod inbox;
mod large;
mod permutations;
mod phone;
mod queue;
mod redact;
mod request;
mod ways_in;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::shop::Shop;

const ANNA: &str = "anna@example.com";
const PHONE: &str = "+49 30 5550123";

/// A `customers/redact` as Shopify sends it, some of it missing.
fn redact(id: Option<u64>, email: Option<&str>, phone: Option<&str>) -> Value {
    json!({ "shop_id": 954_889, "shop_domain": "apples.myshopify.com", "orders_to_redact": [],
        "customer": { "id": id, "email": email, "phone": phone } })
}

/// A `customers/data_request` as Shopify sends it.
fn data_request(id: Option<u64>, email: Option<&str>, phone: Option<&str>) -> Value {
    json!({ "shop_id": 954_889, "shop_domain": "apples.myshopify.com", "orders_requested": [],
        "customer": { "id": id, "email": email, "phone": phone }, "data_request": { "id": 9999 } })
}

/// Whether any file of the database holds this text, in upper or lower case. The log is emptied first.
fn holds(shop: &Shop, text: &str) -> bool {
    assert!(shop.database.readers().empty_log().unwrap(), "nobody reads");
    files_hold(&shop.config.database.path, text)
}

/// Whether the database, its log or any other file beside it holds this text.
fn files_hold(database: &Path, text: &str) -> bool {
    let wanted = text.to_lowercase().into_bytes();
    let folder = std::fs::read_dir(database.parent().unwrap()).unwrap();
    folder
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap().to_ascii_lowercase())
        .any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
}

/// What of each customer's row could name somebody, and whether it was erased.
const NAMES: &str =
    "SELECT coalesce(external_id, 'guest'), email, email_key, first_name, last_name, phone, consent, tags,
    redacted_at IS NOT NULL FROM customers ORDER BY id";

fn invariants_hold(shop: &Shop) {
    let violations = quintile::invariants::violations(&shop.database.readers().get().unwrap()).unwrap();
    assert_eq!(violations, Vec::<String>::new());
}
