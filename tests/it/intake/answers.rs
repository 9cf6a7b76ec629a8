//! Every answer of the listener, and what is stored after each.

use std::io::{Read, Write};

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use quintile::{
    config::Secret,
    intake::{
        self,
        inbox::{self, Filter, Replayed},
    },
    ledger::Rules,
    model::{Currency, Source, Timestamp},
};
use rusqlite::Transaction;
use serde_json::json;

use crate::support::shop::{DOMAIN, NOON, OLD_SECRET, Shop, Webhook, order, sign};

const HMAC: &str = "X-Shopify-Hmac-Sha256";

fn body() -> String {
    order(1001).guest("anna@example.com").json().to_string()
}

#[tokio::test]
async fn both_families_of_headers_in_any_case() {
    let shop = Shop::open();
    for (id, webhook) in [
        ("1", Webhook::new("orders/create", body())),
        ("2", Webhook::new("orders/create", body()).newer_family()),
        ("3", Webhook::new("ORDERS/CREATE", body()).header("x-shopify-shop-domain", &DOMAIN.to_uppercase())),
        (
            "4",
            Webhook::new("orders/create", body()).header("X-Shopify-Hmac-Sha256", &sign(OLD_SECRET, body().as_bytes())),
        ),
        // In transition both may come, and agree.
        (
            "5",
            Webhook::new("orders/create", body())
                .also("shopify-hmac-sha256", &sign(crate::support::shop::SECRET, body().as_bytes()))
                .also("shopify-topic", "orders/create"),
        ),
    ] {
        let webhook = webhook.id(id);
        shop.deliver(webhook).await;
    }
    assert_eq!(
        shop.rows("SELECT topic, state, delivery_key FROM inbox"),
        [
            "orders/create | done | 1",
            "orders/create | done | 2",
            "orders/create | done | 3",
            "orders/create | done | 4",
            "orders/create | done | 5",
        ]
    );
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);
}

#[tokio::test]
async fn what_is_not_signed_is_answered_401_and_not_stored() {
    let shop = Shop::open_with(|config| config.webhooks.shopify.secrets.push(Secret::new("")));
    let good = || shop.webhook("orders/create", body());
    let signature = sign(crate::support::shop::SECRET, body().as_bytes());
    for (why, webhook) in [
        ("no signature", good().without(HMAC)),
        ("an empty one", good().header(HMAC, "")),
        ("of another secret", good().header(HMAC, &sign("guess", body().as_bytes()))),
        ("of the empty secret", good().header(HMAC, &sign("", body().as_bytes()))),
        ("of another body", good().header(HMAC, &sign(crate::support::shop::SECRET, b"{}"))),
        ("in another case", good().header(HMAC, &signature.to_uppercase())),
        ("twice the good one", good().also(HMAC, &signature)),
        ("a good and a bad one", good().also(HMAC, &sign("guess", b""))),
        ("families that differ", good().also("shopify-hmac-sha256", &sign("guess", b""))),
        ("hex", good().header(HMAC, &hex::encode(signature.as_bytes()))),
        ("another shop", good().header("X-Shopify-Shop-Domain", "pears.myshopify.com")),
        // Checked before anything is parsed: an unsigned body that is not even JSON gets the same.
        ("unreadable and unsigned", shop.webhook("orders/create", "{").header(HMAC, &signature)),
    ] {
        let reply = shop.request(webhook.request()).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{why}");
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{why}");
        assert_eq!(reply.json()["status"], 401, "{why}");
    }
    assert_eq!(shop.inbox(), []);
    assert_eq!(shop.rows("SELECT id FROM orders"), Vec::<String>::new());
}

#[tokio::test]
async fn no_secret_lets_nobody_in() {
    let shop = Shop::open_with(|config| config.webhooks.shopify.secrets.clear());
    let reply = shop.request(shop.webhook("orders/create", body()).request()).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn malformed_requests() {
    let shop = Shop::open();
    let good = || shop.webhook("orders/create", body());
    for (why, status, request) in [
        ("no topic", 400, good().without("X-Shopify-Topic").request()),
        ("two topics", 400, good().also("X-Shopify-Topic", "orders/delete").request()),
        ("families that differ", 400, good().also("shopify-topic", "orders/delete").request()),
        ("no shop", 400, good().without("X-Shopify-Shop-Domain").request()),
        ("GET", 405, Request::get("/webhooks/shopify").body(Body::empty()).unwrap()),
        ("PUT", 405, Request::put("/webhooks/orders").body(Body::empty()).unwrap()),
        ("POST health", 405, Request::post("/healthz").body(Body::empty()).unwrap()),
        ("elsewhere", 404, Request::post("/webhooks").body(Body::empty()).unwrap()),
    ] {
        let reply = shop.request(request).await;
        assert_eq!(reply.status, StatusCode::from_u16(status).unwrap(), "{why}");
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{why}");
        assert_eq!(reply.json()["status"], status, "{why}");
        assert_eq!(reply.headers.contains_key("allow"), status == 405, "{why}");
    }
    assert_eq!(shop.inbox(), []);
}

#[tokio::test]
async fn eight_mebibytes_and_not_one_byte_more() {
    let shop = Shop::open();
    let padded = |size: usize| {
        let mut body = body();
        body.push_str(&" ".repeat(size - body.len()));
        body
    };
    let limit = 8 * 1024 * 1024;
    shop.deliver(shop.webhook("orders/create", padded(limit))).await;
    let too_large = shop.webhook("orders/create", padded(limit + 1));
    let reply = shop.request(too_large.request()).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert_eq!(reply.json()["detail"], "the body is larger than 8388608 bytes");

    assert_eq!(shop.inbox().len(), 1);
}

#[tokio::test]
async fn the_largest_message_is_as_large_as_the_merchant_says() {
    let shop = Shop::open_with(|config| config.webhooks.body_limit_mib = 9);
    let padded = |size: usize| format!("{}{}", body(), " ".repeat(size - body().len()));
    shop.deliver(shop.webhook("orders/create", padded(9 * 1024 * 1024))).await;
    assert_eq!(shop.last().0, "done");
    let reply = shop.request(shop.webhook("orders/create", padded(9 * 1024 * 1024 + 1)).request()).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(reply.json()["detail"], "the body is larger than 9437184 bytes");
}

#[tokio::test]
async fn a_size_that_is_not_announced_is_cut_off_all_the_same() {
    let shop = Shop::open();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, shop.router.clone()).into_future());
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let head = format!(
            "POST /webhooks/shopify HTTP/1.1\r\nHost: {address}\r\nX-Shopify-Hmac-Sha256: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
            sign("guess", b"")
        );
        stream.write_all(head.as_bytes()).unwrap();
        let size = 8 * 1024 * 1024 + 1;
        stream.write_all(format!("{size:x}\r\n").as_bytes()).unwrap();
        stream.write_all(&vec![b' '; size]).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        answer
    });
    assert_eq!(std::str::from_utf8(&answer.await.unwrap()).unwrap(), "HTTP/1.1 413");
    server.abort();
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_503_with_a_time_to_come_back() {
    let shop = Shop::open_with(|_| {});
    // Another process holds the write lock for longer than a writer waits.
    let other = rusqlite::Connection::open(shop.database.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let webhook = shop.webhook("orders/create", body());
    let ask = Request::get("/healthz").body(Body::empty()).unwrap();
    let (refused, health) = tokio::join!(shop.request(webhook.request()), shop.request(ask));
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "5");
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);

    other.execute_batch("ROLLBACK").unwrap();
    shop.deliver(webhook).await;
    assert_eq!(shop.inbox().len(), 1);
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);
}

#[test]
fn a_full_disk_in_the_middle_of_an_order_is_called_so() {
    let shop = Shop::open();
    let long = order(1001).guest(&format!("{}@example.com", "x".repeat(1 << 20)));
    let message = intake::Message {
        source: Source::Shopify,
        topic: "orders/create".to_owned(),
        delivery_key: None,
        triggered_at: None,
        headers: json!({}),
        body: long.json().to_string().into_bytes(),
        received_at: Timestamp::from_millis(NOON),
    };
    let rules = Rules::from_config(&shop.config);
    let prepared = intake::Prepared::new(message, &rules);
    let failed = shop.database.writer().write_blocking(move |tx| {
        tx.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()))?; // not less than there are
        prepared.store(tx, &rules)
    });
    assert!(format!("{:#}", failed.unwrap_err()).contains("full"), "and not that there is no such savepoint");
    assert!(shop.database.condition().trouble().is_some());
}

#[tokio::test]
async fn a_flood_is_answered_503_at_once() {
    let shop = Shop::open();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let writer = shop.database.writer().clone();
    let busy = tokio::task::spawn_blocking(move || {
        writer.write_blocking(move |_| {
            let _ = started.send(());
            held.recv()?;
            Ok(())
        })
    });
    has_started.await.unwrap();
    // Fill the queue until it refuses, then let it drain.
    let mut waiting = tokio::task::JoinSet::new();
    let refused = loop {
        let writer = shop.database.writer().clone();
        let mut write = Box::pin(async move { writer.try_write(|_| Ok(())).await });
        match futures_poll(write.as_mut()).await {
            Some(Err(_)) => break shop.request(shop.webhook("orders/create", body()).request()).await,
            Some(Ok(())) => {}
            None => {
                waiting.spawn(write);
            }
        }
    };
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers["retry-after"], "5");
    release.send(()).unwrap();
    busy.await.unwrap().unwrap();
    while let Some(written) = waiting.join_next().await {
        written.unwrap().unwrap();
    }
    shop.deliver(shop.webhook("orders/create", body())).await;
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn health() {
    let shop = Shop::open();
    let reply = shop.request(Request::get("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.body, br#"{"status":"ok"}"#);
    let head = Request::builder().method(Method::HEAD).uri("/healthz").body(Body::empty()).unwrap();
    assert_eq!(shop.request(head).await.status, StatusCode::OK);
}

#[tokio::test]
async fn copies_are_counted_and_change_nothing() {
    let shop = Shop::open();
    let first = shop.webhook("orders/create", body()).id("a");
    shop.deliver(first.clone()).await;
    shop.deliver(first.clone()).await;
    // The same bytes under a new id: applied again, to the same end.
    shop.deliver(first.clone().id("b")).await;
    // Another topic of one action has its own id in Shopify; here even the same is another message.
    shop.deliver(shop.webhook("orders/paid", body()).id("a")).await;
    // Without an id the bytes decide.
    shop.deliver(Webhook::new("orders/updated", body())).await;
    shop.deliver(Webhook::new("orders/updated", body())).await;
    assert_eq!(
        shop.rows("SELECT topic, delivery_key, state, duplicates FROM inbox"),
        [
            "orders/create | a | done | 1",
            "orders/create | b | done | 0",
            "orders/paid | a | done | 0",
            "orders/updated | - | done | 1",
        ]
    );
    assert_eq!(shop.rows("SELECT source_id, net FROM orders"), ["1001 | 4990"]);
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);
}

/// What is answered 200 is in the inbox: nobody signs the id that a shop gives a message.
#[tokio::test]
async fn another_body_under_the_id_of_a_message_is_no_copy_of_it() {
    let shop = Shop::open();
    let refunded = order(1001).guest("anna@example.com").refund("9.90").current("40.00");
    let refunded = refunded.updated("2026-11-03T10:00:00Z").json();
    for body in [body(), refunded.to_string()] {
        let webhook = shop.webhook("orders/updated", body).id("of the refund");
        shop.deliver(webhook.clone()).await;
        shop.deliver(webhook).await;
    }
    assert_eq!(
        shop.rows("SELECT delivery_key, state, duplicates FROM inbox"),
        ["of the refund | done | 1", "of the refund | done | 1"]
    );
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4000"]);
}

/// Whoever has seen a body can send it again and again under fresh ids.
#[tokio::test]
async fn bytes_that_come_again_are_stored_once() {
    let shop = Shop::open();
    let good = body();
    for topic in ["orders/create", "orders/paid", "products/update", "products/delete", "customers/update"] {
        for body in [good.as_str(), "{"] {
            for _ in 0..3 {
                shop.deliver(shop.webhook(topic, body)).await;
            }
        }
    }
    assert_eq!(
        shop.rows(
            "SELECT topic, state, count(*), sum(length(body) > 0), sum(length(body)) > 1, sum(duplicates) FROM inbox
             GROUP BY body_hash, topic ORDER BY min(id)"
        ),
        [
            "orders/create | done | 3 | 1 | 1 | 0",
            "orders/create | quarantined | 3 | 1 | 0 | 0",
            "orders/paid | done | 3 | 1 | 1 | 0",
            "orders/paid | quarantined | 3 | 1 | 0 | 0",
            "products/update | ignored | 3 | 0 | 0 | 0",
            "products/update | ignored | 3 | 0 | 0 | 0",
            "products/delete | ignored | 3 | 0 | 0 | 0",
            "products/delete | ignored | 3 | 0 | 0 | 0",
            "customers/update | quarantined | 3 | 1 | 1 | 0",
            "customers/update | quarantined | 3 | 1 | 0 | 0",
        ]
    );
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);

    // What could not be used is read again, each of them.
    let mut shop = Shop::open_with(|config| config.shop.currency = Currency::new("USD").unwrap());
    for _ in 0..3 {
        shop.deliver(shop.webhook("orders/create", good.as_str())).await;
    }
    shop.config.shop.currency = Currency::EUR;
    let (rules, now) = (Rules::from_config(&shop.config), Timestamp::from_millis(shop.now()));
    let replay = move |tx: &Transaction<'_>| {
        let mut replayed = Replayed::default();
        inbox::replay(tx, &rules, &Filter::default(), 0, 100, now, &mut replayed)?;
        Ok(replayed)
    };
    let replayed = shop.database.writer().write(replay).await.unwrap();
    assert_eq!(replayed, Replayed { done: 3, ..Replayed::default() });
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);
    assert_eq!(shop.rows("SELECT state, length(body) > 0 FROM inbox"), ["done | 1", "done | 0", "done | 0"]);
}

#[tokio::test]
async fn the_inbox_keeps_the_bytes_and_no_signature() {
    let shop = Shop::open();
    let odd = format!("\n  {}  ", body());
    let webhook = shop
        .webhook("orders/create", odd.clone())
        .triggered("2026-11-23T11:59:59Z")
        .also("Cookie", "session=1")
        .also("X-Shopify-Access-Token", "shpat_1")
        .also("Shopify-Storefront-Private-Token", "shpat_2")
        .also("Webhook-Note", "anna@example.com")
        .also("X-Shopify-API-Version", "2026-07");
    shop.deliver(webhook).await;
    let row = shop.row("SELECT CAST(body AS TEXT), source, received_at, length(body_hash) FROM inbox");
    assert_eq!(row, format!("{odd} | shopify | {} | 32", shop.now()));
    let headers: serde_json::Value = serde_json::from_str(&shop.row("SELECT headers FROM inbox")).unwrap();
    assert_eq!(
        headers,
        serde_json::json!({
            "content-type": "application/json", "x-shopify-topic": "orders/create", "x-shopify-shop-domain": DOMAIN,
            "x-shopify-webhook-id": "wh-0", "x-shopify-triggered-at": "2026-11-23T11:59:59Z", "x-shopify-api-version": "2026-07",
        })
    );
}
