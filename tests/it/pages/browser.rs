//! The pages in a real browser, over a real port.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
};

use crate::support::pages::Shop;

/// Runs `tests/browser` against the fixture shop. Needs node, `npm ci` in that folder and Debian's
/// chromium, which `tests/run` installs.
#[test]
#[ignore = "needs chromium and `npm ci` in tests/browser; tests/run has both"]
fn every_page_holds_in_a_browser() {
    let mut shop = Shop::scored(5000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router = shop.router();
    runtime.spawn(async move { axum::serve(listener, router).await });
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    let mut wishes = std::mem::replace(&mut shop.asked, tokio::sync::mpsc::channel(1).1);
    runtime.spawn(async move {
        while wishes.recv().await.is_some() {
            heard.store(true, Ordering::Relaxed);
        }
    });

    let status = Command::new("node")
        .args(["--test", "--test-reporter=spec"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser"))
        .env("QUINTILE_URL", format!("http://{address}"))
        .status()
        .expect("node is not installed");
    assert!(status.success(), "see the report above");
    assert!(asked.load(Ordering::Relaxed), "Score now did not arrive");
}
