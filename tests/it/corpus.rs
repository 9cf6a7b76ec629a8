//! What fuzzing has found or was given to start from, read again: `tests/fuzz` has the targets.

#[path = "../fuzz/stranger.rs"]
mod stranger;

use std::{fs, path::Path};

/// Every file of one target's corpus through that target.
fn replay(target: &str, way_in: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 2, "the corpus of {target} is there");
    for file in files {
        let bytes = fs::read(&file).unwrap();
        std::panic::catch_unwind(|| way_in(&bytes)).unwrap_or_else(|_| panic!("{}", file.display()));
    }
}

#[test]
fn shopify() {
    replay("shopify", stranger::shopify);
}

#[test]
fn woocommerce() {
    replay("woocommerce", stranger::woocommerce);
}

#[test]
fn jsonl() {
    replay("jsonl", stranger::jsonl);
}

#[test]
fn orders_api() {
    replay("orders_api", stranger::orders_api);
}

#[test]
fn csv() {
    replay("csv", stranger::csv);
}

#[test]
fn signature() {
    replay("signature", stranger::signature);
}

#[test]
fn config() {
    replay("config", stranger::config);
}
