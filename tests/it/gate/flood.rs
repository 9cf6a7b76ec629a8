//! A flood of messages at the real program: memory stays flat, and everybody else is served.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    http,
    merchant::{Merchant, post_shopify, shopify_order},
    process::Server,
};

const LASTS: Duration = Duration::from_secs(3);
/// What a flood may add, in KiB: all bodies and buffers that there is room for, with a margin for what
/// the allocator keeps. Of one that is held whole 2 GiB would come together.
const GROWTH_KIB: u64 = 300 * 1024;

fn resident_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends a message that is not signed well, as far as it is taken.
fn attack(address: &str, body: &[u8]) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let head = format!(
        "POST /webhooks/shopify HTTP/1.1\r\nhost: {address}\r\nx-shopify-hmac-sha256: Z3Vlc3M=\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[9..]).parse().unwrap_or(0))
}

#[test]
fn memory_stays_flat_and_others_are_served() {
    let merchant = Merchant::new("http://127.0.0.1:9");
    let server = Server::start(merchant.path());
    let order = |n: u64| shopify_order(n, n, "10.00", "2026-03-01T00:00:00Z");
    assert_eq!(post_shopify(&server, "orders/create", "before", &order(1)).unwrap().status, 200);
    let address = server.webhooks.strip_prefix("http://").unwrap().to_owned();
    let (small, large) = (vec![b' '; 2_000], vec![b' '; 8 * 1024 * 1024]);
    let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = resident_kib(&server);
    let (mut highest, mut slowest, mut taken) = (before, Duration::ZERO, 0);
    std::thread::scope(|threads| {
        for n in 0..48 {
            let (address, body, stop, refused) = (&address, if n % 3 == 0 { &large } else { &small }, &stop, &refused);
            threads.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if attack(address, body).is_ok_and(|status| matches!(status, 401 | 429 | 503)) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < LASTS {
            let asked = Instant::now();
            for url in [format!("{}/healthz", server.webhooks), format!("{}/customers", server.dashboard)] {
                assert_eq!(http::get(&url).unwrap().status, 200, "{url}");
            }
            slowest = slowest.max(asked.elapsed());
            taken += 1;
            let id = format!("during-{taken}");
            assert_eq!(post_shopify(&server, "orders/create", &id, &order(100 + taken)).unwrap().status, 200);
            highest = highest.max(resident_kib(&server));
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let refused = refused.into_inner();
    eprintln!(
        "flood: {refused} refused, {taken} orders taken, slowest pages {slowest:?}, {before} KiB, then {highest} KiB"
    );
    assert!(refused > 100, "{refused}: that was no flood");
    assert!(highest < before + GROWTH_KIB, "from {before} to {highest} KiB");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    let stored: u64 = merchant.sql().query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, taken + 1, "every order that was answered is there, and nothing else");
    assert!(server.terminate().success());
}

/// What is not signed well is told once, then counted: the address is public, the disk is not.
#[test]
fn a_flood_is_a_few_lines_in_the_log_and_counted_to_the_last() {
    const FORGED: usize = 250;
    let merchant = Merchant::new("http://127.0.0.1:9");
    let mut server = Server::start(merchant.path());
    let address = server.webhooks.strip_prefix("http://").unwrap().to_owned();
    for _ in 0..FORGED {
        assert_eq!(attack(&address, b"{}").unwrap(), 401);
    }
    let headers = [("webhook-id", "m"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,Z3Vlc3M=")];
    for _ in 0..3 {
        assert_eq!(http::post(&format!("{}/webhooks/orders", server.webhooks), &headers, b"{}").unwrap().status, 401);
    }
    assert_eq!(http::get(&format!("{}/wp-login.php", server.webhooks)).unwrap().status, 404);
    let metrics = http::get(&format!("{}/metrics", server.dashboard)).unwrap().body;
    for line in [
        format!("quintile_webhooks_refused_total{{status=\"401\"}} {}", FORGED + 3),
        "quintile_webhooks_refused_total{status=\"404\"} 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let term = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(term.success());
    let (status, said) = server.end();
    assert!(status.success());
    let about: Vec<&str> = said.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(about.len(), 4, "{about:#?}");
    for (line, parts) in about.iter().zip([
        ["refused a webhook: no accepted secret made its signature", "source=shopify", "bytes=2"],
        ["refused a webhook: its webhook-timestamp is not the time", "source=api", "bytes=2"],
        ["refused more webhooks: no accepted secret made its signature", "source=shopify", "refused=249"],
        ["refused more webhooks: its webhook-timestamp is not the time", "source=api", "refused=2"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?}: {line}");
    }
}

/// The one message that is answered 200 without a signature.
#[test]
fn pings_of_saved_webhooks_are_two_lines_in_the_log() {
    const SENT: usize = 600;
    let merchant = Merchant::new("http://127.0.0.1:9");
    let mut server = Server::start(merchant.path());
    let url = format!("{}/webhooks/woocommerce", server.webhooks);
    let answers: Vec<u16> = (0..SENT)
        .map(|_| http::post(&url, &[("x-forwarded-for", "203.0.113.7")], b"webhook_id=1").unwrap().status)
        .collect();
    let taken = answers.iter().take_while(|status| **status == 200).count();
    assert!((300..SENT).contains(&taken) && answers[taken] == 429, "{answers:?}");
    let term = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(term.success());
    let (status, said) = server.end();
    assert!(status.success());
    let about: Vec<&str> = said.lines().filter(|line| line.contains("WooCommerce saved")).collect();
    let taken = answers.iter().filter(|status| **status == 200).count();
    assert_eq!(about.len(), 2, "{about:#?}");
    assert!(about[0].contains("write its secret into [webhooks.woocommerce] secrets"), "{}", about[0]);
    assert!(about[1].contains(&format!("came={}", taken - 1)), "{}", about[1]);
}

/// A shop whose bodies cannot be read sends them all, and whoever has seen one sends it again.
#[test]
fn what_is_quarantined_is_two_lines_in_the_log() {
    let merchant = Merchant::new("http://127.0.0.1:9");
    let mut server = Server::start(merchant.path());
    for n in 0..5 {
        let answer = post_shopify(&server, "orders/create", &n.to_string(), &json!([n])).unwrap();
        assert_eq!(answer.status, 200);
    }
    let term = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(term.success());
    let (status, said) = server.end();
    assert!(status.success());
    let about: Vec<&str> = said.lines().filter(|line| line.contains("quarantined")).collect();
    assert_eq!(about.len(), 2, "{about:#?}");
    assert!(about[0].contains("orders/create") && about[1].contains("came=4"), "{about:#?}");
}
