//! Bodies that come slowly, stop coming, or are larger than there is room for.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use quintile::web::Limits;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::{SHORT, said, serve};
use crate::support::{pages, shop};

fn limits(body: Duration) -> Limits {
    Limits { body, ..Limits::default() }
}

fn webhook_head(length: usize) -> String {
    format!(
        "POST /webhooks/shopify HTTP/1.1\r\nhost: localhost\r\nx-shopify-hmac-sha256: Z3Vlc3M=\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_webhook_that_does_not_come_in_time_is_given_up() {
    let shop = shop::Shop::open_within(limits(SHORT));
    let served = serve(shop.router.clone(), limits(SHORT)).await;
    let begun = Instant::now();
    let silent = said(served.send(webhook_head(100).as_bytes()).await).await;
    assert!(silent.starts_with("HTTP/1.1 408") && silent.contains("longer than 250ms"), "{silent}");
    // A byte now and then does not help.
    let mut dripping = served.send(webhook_head(100_000).as_bytes()).await;
    while dripping.write_all(b" ").await.is_ok() && begun.elapsed() < SHORT * 40 {
        sleep(SHORT / 5).await;
    }
    assert!(begun.elapsed() < SHORT * 12, "{:?}", begun.elapsed());
    assert_eq!(shop.inbox(), []);
}

#[tokio::test]
async fn large_bodies_wait_for_room_and_small_ones_do_not() {
    let time = Duration::from_millis(1500);
    let shop = shop::Shop::open_within(limits(time));
    let served = serve(shop.router.clone(), limits(time)).await;
    let large = vec![b' '; 300 * 1024];
    let mut holding = Vec::new();
    for _ in 0..8 {
        let mut stream = served.send(webhook_head(1024 * 1024).as_bytes()).await;
        stream.write_all(&large).await.unwrap();
        holding.push(stream);
    }
    sleep(SHORT).await; // they are read
    let ninth = async {
        let mut stream = served.send(webhook_head(large.len()).as_bytes()).await;
        let _ = stream.write_all(&large).await;
        said(stream).await
    };
    let small = async { first_line(served.send(format!("{}{{}}", webhook_head(2)).as_bytes()).await).await };
    let close = async {
        let begun = Instant::now();
        let health = served.get("/healthz").await;
        (health, begun.elapsed())
    };
    let (ninth, small, (health, took)) = tokio::join!(ninth, small, close);
    assert!(ninth.starts_with("HTTP/1.1 503") && ninth.contains("retry-after: 5"), "{ninth}");
    assert!(small.starts_with("HTTP/1.1 401"), "a small one is judged by its signature");
    assert!(health.starts_with("HTTP/1.1 200") && took < time, "{took:?}");
    for stream in holding {
        assert!(said(stream).await.starts_with("HTTP/1.1 408"));
    }
    let mut stream = served.send(webhook_head(large.len()).as_bytes()).await;
    stream.write_all(&large).await.unwrap();
    assert!(first_line(stream).await.starts_with("HTTP/1.1 401"), "there is room again");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_comes() {
    let shop = shop::Shop::open_within(Limits::default());
    let served = serve(shop.router.clone(), Limits::default()).await;
    let begun = Instant::now();
    let told = served.send(webhook_head(8 * 1024 * 1024 + 1).as_bytes()).await;
    assert!(first_line(told).await.starts_with("HTTP/1.1 413"));
    assert!(begun.elapsed() < Limits::default().body, "nothing of it was waited for: {:?}", begun.elapsed());
}

#[tokio::test]
async fn one_client_does_not_keep_all_room_for_large_bodies() {
    let time = Duration::from_millis(1500);
    let shop = shop::Shop::open_within(limits(time));
    let served = serve(shop.router.clone(), limits(time)).await;
    let forwarded = |head: &str, client: &str| head.replacen("\r\n", &format!("\r\nx-forwarded-for: {client}\r\n"), 1);
    let mut holding = Vec::new();
    for _ in 0..16 {
        let head = forwarded(&webhook_head(1024 * 1024), "203.0.113.7");
        let mut stream = served.send(head.as_bytes()).await;
        stream.write_all(&vec![b' '; 300 * 1024]).await.unwrap();
        holding.push(stream);
    }
    sleep(SHORT).await; // as many as are taken are read
    let order = shop::order(1001).set("note", "a".repeat(300 * 1024)).json().to_string();
    let signed = webhook_head(order.len()).replacen("Z3Vlc3M=", &shop::sign(shop::SECRET, order.as_bytes()), 1);
    let rest = format!("\r\nx-shopify-topic: orders/create\r\nx-shopify-shop-domain: {}\r\n", shop::DOMAIN);
    let signed = forwarded(&signed, "203.0.113.8").replacen("\r\n", &rest, 1);
    let mut stream = served.send(signed.as_bytes()).await;
    stream.write_all(order.as_bytes()).await.unwrap();
    assert!(first_line(stream).await.starts_with("HTTP/1.1 200"), "the shop's");
    drop(holding);
}

#[tokio::test]
async fn a_large_body_keeps_its_place_until_it_is_stored() {
    let shop = shop::Shop::open_within(limits(SHORT));
    let (release, held) = std::sync::mpsc::channel::<()>();
    let writer = shop.database.writer().clone();
    let (began, begun) = tokio::sync::oneshot::channel();
    let holding = tokio::spawn(async move {
        let wait = move |_: &rusqlite::Transaction<'_>| {
            let _ = (began.send(()), held.recv());
            Ok(())
        };
        writer.write(wait).await.unwrap();
    });
    begun.await.unwrap();
    let large = |id: u64| {
        let body = shop::order(id).set("note", "a".repeat(300 * 1024)).json().to_string();
        shop.request(shop.webhook("orders/create", body).request())
    };
    // Who sends it hangs up as soon as it waits for the writer.
    for id in 1..=8 {
        assert!(large(id).now_or_never().is_none());
    }
    let ninth = large(9).await;
    assert_eq!((ninth.status.as_u16(), ninth.headers["retry-after"].as_bytes()), (503, &b"5"[..]));
    drop(release);
    holding.await.unwrap();
    assert_eq!(large(10).await.status, 200, "there is room again");
    assert_eq!(shop.inbox().len(), 9);
}

async fn first_line(stream: TcpStream) -> String {
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut tokio::io::BufReader::new(stream), &mut line).await.unwrap();
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stands_still_makes_room_for_the_next() {
    let mut shop = tokio::task::spawn_blocking(pages::Shop::empty).await.unwrap();
    shop.limits = limits(SHORT * 4);
    let served = serve(shop.router(), shop.limits).await;
    let file = "order_id,customer_email,order_date,total\n1,anna@example.com,2026-01-01,10.00\n".repeat(10);
    let begin = "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"orders.csv\"\r\n\r\n";
    let end = "\r\n--B--\r\n";
    let whole = begin.len() + file.len() + end.len();
    let form = |length: usize| {
        format!(
            "POST /import HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=B\r\ncontent-length: {length}\r\n\r\n{begin}"
        )
    };
    // It moves for longer than it may stand still, and is taken.
    let mut moving = served.send(form(whole).as_bytes()).await;
    for piece in file.as_bytes().chunks(file.len() / 8) {
        sleep(SHORT * 3 / 4).await;
        moving.write_all(piece).await.unwrap();
    }
    moving.write_all(end.as_bytes()).await.unwrap();
    let moved = said(moving).await;
    assert!(moved.starts_with("HTTP/1.1 303") && moved.contains("location: /import/1"), "{moved}");

    let stuck = served.send(form(10_000_000).as_bytes()).await;
    let begun = Instant::now();
    let answer = said(stuck).await;
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("The upload broke off"), "{answer}");
    assert!(begun.elapsed() < SHORT * 16, "{:?}", begun.elapsed());
    let mut next = served.send(form(whole).as_bytes()).await;
    next.write_all(format!("{file}{end}").as_bytes()).await.unwrap();
    let answer = said(next).await;
    assert!(answer.starts_with("HTTP/1.1 303") && answer.contains("location: /import/3"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_does_not_come_in_time_is_given_up() {
    let mut shop = tokio::task::spawn_blocking(pages::Shop::empty).await.unwrap();
    shop.limits = limits(SHORT);
    let served = serve(shop.router(), shop.limits).await;
    let begun = Instant::now();
    for path in ["/login", "/deliveries/decide", "/api/v1/runs"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 1000\r\n\r\na="
        );
        let mut dripping = served.send(head.as_bytes()).await;
        while dripping.write_all(b"b").await.is_ok() && begun.elapsed() < SHORT * 60 {
            sleep(SHORT / 5).await;
        }
    }
    assert!(begun.elapsed() < SHORT * 40, "{:?}", begun.elapsed());
}
