//! Messages without a good signature: each client has so many, and no client has those of another.

use std::net::{IpAddr, SocketAddr};

use axum::{body::Body, extract::ConnectInfo, http::Request};

use crate::support::shop::{API_SECRET, Shop, Webhook, order, standard_request};

const BUCKET: usize = 300;

/// From this address, forwarded for others or not.
fn from(mut request: Request<Body>, address: &str, forwarded_for: Option<&str>) -> Request<Body> {
    let address: IpAddr = address.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, 50_000)));
    if let Some(others) = forwarded_for {
        request.headers_mut().insert("x-forwarded-for", others.parse().unwrap());
    }
    request
}

fn body() -> String {
    order(1001).guest("anna@example.com").json().to_string()
}

async fn bad(shop: &Shop, address: &str, forwarded_for: Option<&str>) -> u16 {
    let webhook = shop.webhook("orders/create", body()).header("X-Shopify-Hmac-Sha256", "Z3Vlc3M=");
    let reply = shop.request(from(webhook.request(), address, forwarded_for)).await;
    if reply.status == 429 {
        assert_eq!(reply.headers["retry-after"], "1");
        assert_eq!(reply.json()["status"], 429);
    }
    reply.status.as_u16()
}

async fn good(shop: &Shop, address: &str, forwarded_for: Option<&str>) -> u16 {
    let webhook: Webhook = shop.webhook("orders/create", body());
    shop.request(from(webhook.request(), address, forwarded_for)).await.status.as_u16()
}

/// Messages until the first is told to wait.
async fn until_refused(shop: &Shop, address: &str, forwarded_for: Option<&str>) -> usize {
    for n in 0..2 * BUCKET {
        match bad(shop, address, forwarded_for).await {
            401 => {}
            429 => return n,
            status => panic!("{status}"),
        }
    }
    usize::MAX
}

#[tokio::test]
async fn who_guesses_signatures_is_told_to_wait_and_others_are_not() {
    let shop = Shop::open();
    // A token or two come back meanwhile.
    let refused = until_refused(&shop, "203.0.113.7", None).await;
    assert!((BUCKET..BUCKET + 100).contains(&refused), "{refused}");
    assert_eq!(good(&shop, "203.0.113.8", None).await, 200, "another address");
    // Asked before the signature is looked at; a token may just have come back.
    let mut tries = 0;
    while good(&shop, "203.0.113.7", None).await != 429 {
        tries += 1;
        assert!(tries < 100, "a good signature is looked at without a token");
        until_refused(&shop, "203.0.113.7", None).await;
    }
    // A name that the client gives itself is nobody's.
    assert!(until_refused(&shop, "203.0.113.7", Some("198.51.100.1")).await < BUCKET);
    let refused = until_refused(&shop, "2001:db8:1:2::1", None).await;
    assert!((BUCKET..BUCKET + 100).contains(&refused), "{refused}");
    assert_eq!(bad(&shop, "2001:db8:1:2:9::9", None).await, 429, "the same network");
    assert!((1..=1 + tries).contains(&shop.inbox().len()));
}

#[tokio::test]
async fn behind_a_tunnel_a_stranger_does_not_keep_out_the_shop() {
    let shop = Shop::open();
    // Names nobody: everybody is one, so nobody is limited.
    assert_eq!(until_refused(&shop, "127.0.0.1", None).await, usize::MAX);
    assert_eq!(good(&shop, "127.0.0.1", None).await, 200);
    // Names who asks, behind what they say themselves.
    for tunnel in ["127.0.0.1", "::1", "172.17.0.1"] {
        let n = tunnel.len();
        let attacker = format!("198.51.100.{n}");
        for spoofed in [attacker.clone(), format!("203.0.113.8, {attacker}")] {
            let refused = until_refused(&shop, tunnel, Some(&spoofed)).await;
            assert!(refused <= BUCKET + 100, "{refused}");
        }
        assert_eq!(good(&shop, tunnel, Some("203.0.113.8")).await, 200, "the shop");
        assert_eq!(good(&shop, tunnel, None).await, 200, "and a tool on this machine");
        // A proxy between the tunnel and the program adds the tunnel.
        let attacker = format!("203.0.113.8, 198.51.100.{}, 127.0.0.1", n + 100);
        assert!(until_refused(&shop, tunnel, Some(&attacker)).await <= BUCKET + 100);
        assert_eq!(good(&shop, tunnel, Some("203.0.113.8, 127.0.0.1")).await, 200, "the shop behind both");
    }
}

#[tokio::test]
async fn a_shop_never_runs_out() {
    let shop = Shop::open();
    for _ in 0..BUCKET + 200 {
        assert_eq!(good(&shop, "203.0.113.8", None).await, 200);
    }
    // What is refused for another reason than its signature costs no more than a wrong one.
    let refused = until_refused(&shop, "203.0.113.8", None).await;
    assert!((BUCKET..BUCKET + 100).contains(&refused), "{refused}");
}

/// The message that WooCommerce sends when a webhook is saved: answered 200, and anybody can send it.
#[tokio::test]
async fn what_is_taken_without_a_signature_costs_as_much_as_a_wrong_one() {
    let shop = Shop::open();
    let mut taken = 0;
    let refused = loop {
        let ping = Request::post("/webhooks/woocommerce").body(Body::from("webhook_id=1")).unwrap();
        let status = shop.request(from(ping, "203.0.113.7", None)).await.status;
        if status != 200 || taken > 2 * BUCKET {
            break status;
        }
        taken += 1;
    };
    assert_eq!(refused, 429);
    assert!((BUCKET..BUCKET + 100).contains(&taken), "{taken}");
    assert_eq!(good(&shop, "203.0.113.8", None).await, 200, "another address");
}

/// Neither what we could not store nor what cannot be used was a guess.
#[tokio::test]
async fn what_is_signed_well_costs_nothing_whatever_becomes_of_it() {
    let shop = Shop::open();
    let other = rusqlite::Connection::open(&shop.config.database.path).unwrap();
    other.execute_batch("CREATE TRIGGER full BEFORE INSERT ON inbox BEGIN SELECT RAISE(ABORT, 'full'); END").unwrap();
    for _ in 0..BUCKET + 100 {
        assert_eq!(good(&shop, "203.0.113.8", None).await, 503);
    }
    other.execute_batch("DROP TRIGGER full").unwrap();
    for n in 0..BUCKET + 100 {
        let unreadable = standard_request(API_SECRET, &n.to_string(), shop.now() / 1000, "{");
        assert_eq!(shop.request(from(unreadable, "203.0.113.8", None)).await.status, 400);
        let elsewhere = shop.webhook("orders/create", body()).header("X-Shopify-Shop-Domain", "pears.myshopify.com");
        assert_eq!(shop.request(from(elsewhere.request(), "203.0.113.8", None)).await.status, 401);
    }
    assert_eq!(good(&shop, "203.0.113.8", None).await, 200);
}
