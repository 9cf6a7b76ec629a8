//! What the shop writes besides orders: requests to be forgotten, and what nothing can be made of.

use serde_json::{Value, json};

use crate::support::{
    merchant::SHOP,
    orders::{Buyer, time},
    shop::{customer, order},
};

/// The shop asks to forget one of its customers.
pub fn redact(buyer: Buyer) -> Value {
    json!({
        "shop_id": 1, "shop_domain": SHOP, "orders_to_redact": [],
        "customer": { "id": buyer.id(), "email": buyer.email(), "phone": null },
    })
}

/// Signed by the shop, and nothing to be made of it: set aside with a reason.
pub fn unusable(dice: &mut fastrand::Rng, id: u64, now: i64) -> Vec<u8> {
    let fine = order(id).placed(&time(now)).updated(&time(now)).guest("nobody@hostile.example");
    match dice.u32(..7) {
        0 => b"{\"id\":".to_vec(),
        1 => b"{\"id\": \"\xff\xfe\"}".to_vec(),
        2 => "[".repeat(5000).into_bytes(),
        3 => fine.json().to_string().replace("\"49.90\"", "1e400").into_bytes(),
        4 => fine.set("currency", "USD").json().to_string().into_bytes(),
        5 => fine.updated("2099-01-01T00:00:00Z").json().to_string().into_bytes(),
        _ => customer(id, "nobody@hostile.example").to_string().into_bytes(),
    }
}
