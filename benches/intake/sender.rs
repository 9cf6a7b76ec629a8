//! A shop that sends webhooks as fast as they are answered, over connections that stay open.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rusqlite::Connection;
use serde_json::json;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::server::{Commits, SECRET, SHOP, Server};

pub const CONNECTIONS: usize = 64;
const ORDERS: usize = 50_000;
/// Sent before the clock starts.
const WARM_UP: usize = 2_000;
const CUSTOMERS: usize = 20_000;
/// Nobody waits longer than a shop does.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one run showed.
pub struct Measured {
    /// Requests a second.
    pub rate: f64,
    /// Milliseconds from the first byte of a request to the last of its answer.
    pub median: f64,
    pub p99: f64,
    pub body_kb: f64,
    /// Microseconds of the processor for a request: the server's, and the client's.
    pub server: f64,
    pub client: f64,
}

/// Sends new orders, each once, and checks that the ledger has each once.
pub fn measure(commits: Commits) -> anyhow::Result<Measured> {
    // A commit for each is slow enough to be measured with fewer.
    let orders = if commits == Commits::Shared { ORDERS } else { ORDERS / 5 };
    let folder = super::folder::new()?;
    let path = folder.path().join("quintile.db");
    let server = Server::start(&path, commits, None)?;
    let measured = run(&server, orders, || Ok(()))?;
    check(&path, WARM_UP + orders, 0)?;
    Ok(measured)
}

/// Webhooks while a file comes in.
pub struct Beside {
    pub webhooks: Measured,
    /// Orders a second that came out of the file.
    pub upload: f64,
}

/// Sends new orders while the server imports a file as it does one that was uploaded.
pub fn beside_an_upload() -> anyhow::Result<Beside> {
    const FILE: u32 = 100_000;
    let folder = super::folder::new()?;
    let shop = super::files::shop(folder.path(), FILE)?;
    let path = folder.path().join("quintile.db");
    let mut server = Server::start(&path, Commits::Shared, Some(shop.path()))?;
    let mut tell = server.tell()?;
    let webhooks = run(&server, ORDERS / 4, || Ok(tell.write_all(b"now\n")?))?;
    let upload = f64::from(FILE) / server.seconds_of_the_import()?;
    check(&path, WARM_UP + ORDERS / 4, FILE as usize)?;
    Ok(Beside { webhooks, upload })
}

/// Sends `orders` after a warm-up; what happens between the two is `start`.
fn run(server: &Server, orders: usize, start: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Measured> {
    let requests: Vec<Vec<u8>> = (0..WARM_UP + orders).map(request).collect::<anyhow::Result<_>>()?;
    let body_kb = f64::from(u32::try_from(requests[WARM_UP].len())?) / 1000.0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (warm_up, measured) = requests.split_at(WARM_UP);
    let processors = || (server.processor(), super::processor::of_process(std::process::id()));
    let (seconds, mut waits, before) = runtime.block_on(async {
        send(&server.address, warm_up.to_vec()).await?;
        let measured = measured.to_vec();
        start()?;
        let (started, before) = (Instant::now(), processors());
        let waits = send(&server.address, measured).await?;
        anyhow::Ok((started.elapsed().as_secs_f64(), waits, before))
    })?;
    let after = processors();
    waits.sort_by(f64::total_cmp);
    let count = f64::from(u32::try_from(orders)?);
    Ok(Measured {
        rate: count / seconds,
        server: (after.0 - before.0) * 1e6 / count,
        client: (after.1 - before.1) * 1e6 / count,
        median: waits[waits.len() / 2],
        p99: waits[waits.len() * 99 / 100],
        body_kb,
    })
}

/// Sends all requests, over [`CONNECTIONS`] at once; how long each waited, in milliseconds.
async fn send(address: &str, requests: Vec<Vec<u8>>) -> anyhow::Result<Vec<f64>> {
    let each = requests.len().div_ceil(CONNECTIONS);
    let mut requests = requests.into_iter();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let share: Vec<_> = requests.by_ref().take(each).collect();
        if share.is_empty() {
            break;
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connections.spawn(tokio::time::timeout(PATIENCE * 10, converse(stream, share)));
    }
    let mut waits = Vec::new();
    while let Some(done) = connections.join_next().await {
        waits.extend(done???);
    }
    Ok(waits)
}

/// One connection, request by request.
async fn converse(mut stream: TcpStream, requests: Vec<Vec<u8>>) -> anyhow::Result<Vec<f64>> {
    let mut waits = Vec::with_capacity(requests.len());
    let mut answer = Vec::with_capacity(4096);
    for request in requests {
        let sent = Instant::now();
        stream.write_all(&request).await?;
        answer.clear();
        while !answer.ends_with(b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the server hung up");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        waits.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(waits)
}

/// Every order is in the ledger once, every message in the inbox, and every counter right.
fn check(path: &std::path::Path, messages: usize, of_a_file: usize) -> anyhow::Result<()> {
    let database = Connection::open(path)?;
    let (messages, orders) = (i64::try_from(messages)?, i64::try_from(messages + of_a_file)?);
    let numbers = |sql: &str| database.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    ensure!(numbers("SELECT count(DISTINCT source_id), count(*) FROM orders")? == (orders, orders), "each order once");
    ensure!(numbers("SELECT count(*), sum(state = 'done') FROM inbox")? == (messages, messages), "each message done");
    let counted = numbers("SELECT sum(order_count), (SELECT sum(counted) FROM orders) FROM customers")?;
    ensure!(counted.0 == counted.1, "each order counted: {counted:?}");
    let broken = quintile::invariants::violations(&database)?;
    ensure!(broken.is_empty(), "{broken:?}");
    Ok(())
}

/// `orders/create` of order `number`, as the shop sends it over the wire.
fn request(number: usize) -> anyhow::Result<Vec<u8>> {
    let body = body(number);
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).context("a key")?;
    mac.update(body.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    Ok(format!(
        "POST /webhooks/shopify HTTP/1.1\r\nhost: quintile\r\ncontent-type: application/json\r\nuser-agent: Shopify-Captain-Hook\r\n\
         x-shopify-topic: orders/create\r\nx-shopify-hmac-sha256: {signature}\r\nx-shopify-shop-domain: {SHOP}\r\n\
         x-shopify-api-version: 2026-07\r\nx-shopify-webhook-id: 5b1f2c6e-0000-4000-8000-{number:012}\r\n\
         x-shopify-triggered-at: 2026-11-01T10:00:01.000000000Z\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes())
}

/// An order of two line items, with what Shopify sends around it.
fn body(number: usize) -> String {
    let customer = number * 7919 % CUSTOMERS;
    let cents = 1000 + number % 9000;
    let total = format!("{}.{:02}", cents / 100, cents % 100);
    let (id, customer_id) = (5_000_000_000_000 + number, 7_000_000_000_000 + customer);
    let email = format!("customer{customer}@example.com");
    let money = json!({"amount": total, "currency_code": "EUR"});
    let set = json!({"shop_money": money, "presentment_money": money});
    let address = json!({
        "first_name": "Anna", "address1": format!("Unter den Linden {customer}"), "phone": null, "city": "Berlin",
        "zip": "10117", "province": null, "country": "Germany", "last_name": "Schmidt", "address2": "", "company": null,
        "latitude": 52.517, "longitude": 13.388, "name": "Anna Schmidt", "country_code": "DE", "province_code": null
    });
    let item = |position: usize| {
        let id = id * 10 + position;
        json!({
            "id": id, "admin_graphql_api_id": format!("gid://shopify/LineItem/{id}"), "current_quantity": 1,
            "fulfillable_quantity": 1, "fulfillment_service": "manual", "fulfillment_status": null, "gift_card": false,
            "grams": 350, "name": "Mug, blue", "price": total, "price_set": set, "product_exists": true,
            "product_id": 7_513_594_000_000_u64, "properties": [], "quantity": 1, "requires_shipping": true,
            "sku": format!("MUG-{position}"), "taxable": true, "title": "Mug", "total_discount": "0.00",
            "total_discount_set": set, "variant_id": 42_000_000_000_000_u64,
            "variant_inventory_management": "shopify", "variant_title": "blue", "vendor": "Mugs",
            "tax_lines": [{"channel_liable": false, "price": "3.19", "price_set": set, "rate": 0.19, "title": "DE VAT"}],
            "duties": [], "discount_allocations": []
        })
    };
    let customer = json!({
        "id": customer_id, "email": email, "created_at": "2024-01-01T10:00:00+01:00",
        "updated_at": "2026-11-01T11:00:00+01:00", "first_name": "Anna", "last_name": "Schmidt", "state": "disabled",
        "note": null, "verified_email": true, "multipass_identifier": null, "tax_exempt": false, "phone": null,
        "currency": "EUR", "tax_exemptions": [], "default_address": address,
        "admin_graphql_api_id": format!("gid://shopify/Customer/{customer_id}")
    });
    let mut order = json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/Order/{id}"), "app_id": 580_111,
        "browser_ip": "203.0.113.7", "buyer_accepts_marketing": true, "cancel_reason": null, "cancelled_at": null,
        "cart_token": null, "checkout_id": 29_000_000_000_000_u64, "closed_at": null, "confirmed": true,
        "client_details": {"accept_language": "de", "browser_ip": "203.0.113.7", "user_agent": "Mozilla/5.0"},
        "contact_email": email, "created_at": "2026-10-01T12:00:00+02:00", "currency": "EUR",
        "customer_locale": "de", "discount_codes": [], "email": email, "estimated_taxes": false,
        "financial_status": "paid", "fulfillment_status": null, "landing_site": "/", "location_id": null,
        "name": format!("#{number}"), "note": null, "note_attributes": [], "number": number, "order_number": number,
        "payment_gateway_names": ["shopify_payments"], "phone": null, "presentment_currency": "EUR",
        "processed_at": "2026-10-01T12:00:00+02:00", "referring_site": "", "source_name": "web", "tags": "",
        "tax_lines": [], "taxes_included": true, "test": false, "total_discounts": "0.00", "total_outstanding": "0.00",
        "total_tax": "3.19", "total_weight": 700, "updated_at": "2026-11-01T11:00:00+01:00"
    });
    let rest = json!({
        "current_subtotal_price": total, "current_subtotal_price_set": set, "current_total_discounts": "0.00",
        "current_total_price": total, "current_total_price_set": set, "current_total_tax": "3.19",
        "subtotal_price": total, "subtotal_price_set": set, "total_line_items_price": total, "total_price": total,
        "total_price_set": set, "billing_address": address, "customer": customer, "discount_applications": [],
        "fulfillments": [], "line_items": [item(0), item(1)], "payment_terms": null, "refunds": [],
        "shipping_address": address, "shipping_lines": []
    });
    if let (Some(order), serde_json::Value::Object(rest)) = (order.as_object_mut(), rest) {
        order.extend(rest);
    }
    order.to_string()
}
