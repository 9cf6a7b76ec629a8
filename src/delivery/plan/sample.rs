//! A made-up customer on whom every request is tried at start.

use serde_json::{Value, json};

use crate::config::{self, Preset};

/// Types of events that there are. The first is what most templates are about.
pub const TYPES: [&str; 5] = ["rfm/segment.changed", "customer/first_order", "customer/lapsed", REDACTED, "test"];
/// Told to a template only where `events` names it.
pub const REDACTED: &str = "customer/redacted";

/// Envelopes as the destination would get them, each with its type, and as a batch where the kind
/// takes batches.
pub fn samples<'a>(
    destination: &config::Destination,
    shop: &config::Shop,
    preset: &Preset,
    types: &[&'a str],
) -> Vec<(&'a str, Vec<u8>)> {
    let mut samples = Vec::new();
    for kind in types.iter().copied() {
        let event = envelope(destination, shop, kind);
        if preset.batch_limit() > 1 {
            let batch = json!({
                "type": format!("{kind}.batch"), "timestamp": event["timestamp"], "id": "msg_01JSAMPLESAMPLESAMPLESAMPL",
                "count": 2, "data": {"shopId": shop.id, "runId": 1, "events": [event, event]},
            });
            samples.push((kind, batch));
        }
        samples.push((kind, event));
    }
    samples.into_iter().map(|(kind, sample)| (kind, sample.to_string().into_bytes())).collect()
}

fn envelope(destination: &config::Destination, shop: &config::Shop, kind: &str) -> Value {
    let has = |field: &str| match destination.fields.as_slice() {
        [] => ["segment", "rfm", "counters"].contains(&field),
        fields => fields.iter().any(|name| name == field),
    };
    let mut customer = json!({"source": "shopify", "externalId": "7001", "email": "anna@example.com"});
    if has("name") {
        customer["firstName"] = "Anna".into();
        customer["lastName"] = "Müller".into();
    }
    if has("phone") {
        customer["phone"] = "+4915112345678".into();
    }
    if has("counters") {
        customer["orderCount"] = 7.into();
        customer["totalSpent"] = "412.50".into();
        customer["currency"] = shop.currency.code().into();
        customer["lastOrderAt"] = "2026-11-21T09:12:00Z".into();
    }
    let mut data = json!({
        "shopId": shop.id, "customerId": "118", "oldSegment": "loyal", "newSegment": "champion",
        "eventTimestamp": "2026-11-23T02:00:04.120Z", "runId": 1, "cause": "order",
    });
    if has("rfm") {
        data["rfm"] = json!({"r": 5, "f": 5, "m": 4});
    }
    data["customer"] = customer;
    let mut event = json!({
        "type": kind, "timestamp": "2026-11-23T02:00:04.120Z", "id": "evt_01JDBQC1S8E0R8X6VJ2S3T4V5W", "seq": 1,
        "data": data,
    });
    match kind {
        "test" => event["test"] = true.into(),
        // Of these only a customer is known.
        "customer/first_order" | "customer/lapsed" => {
            for name in ["oldSegment", "newSegment", "cause"] {
                event["data"][name] = Value::Null;
            }
            if has("rfm") {
                event["data"]["rfm"] = Value::Null;
            }
        }
        REDACTED => {
            let data = &mut event["data"];
            for name in ["oldSegment", "newSegment", "cause", "runId"] {
                data[name] = Value::Null;
            }
            data["customer"] = json!({"source": "shopify", "externalId": "7001"});
            if let Some(data) = data.as_object_mut() {
                data.remove("rfm");
            }
        }
        _ => {}
    }
    match kind {
        "customer/first_order" => event["data"]["runId"] = Value::Null,
        "customer/lapsed" => event["data"]["lapsedDays"] = 90.into(),
        _ => {}
    }
    event
}
