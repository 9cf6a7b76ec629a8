//! What goes wrong on a machine that nobody looks at: each test provokes the fault itself, on the real
//! program, and looks at what it does.

mod backup;
mod damage;
mod disk;
mod laws;
mod locks;
mod log;
mod network;
mod power;
mod restore;
mod stop;
mod sweep;
mod turns;
mod waiting;

use std::path::Path;

use crate::support::{
    http::{self, Answer},
    merchant::{Merchant, post_shopify, shopify_order},
    process::Server,
};

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// An order of a customer of its own, as the shop sends it.
fn post(server: &Server, number: u64) -> Answer {
    let order = shopify_order(1000 + number, 7000 + number, "49.90", "2026-10-01T10:00:00Z");
    post_shopify(server, "orders/create", &format!("w-{number}"), &order).unwrap()
}

fn get(server: &Server, path: &str) -> Answer {
    http::get(&format!("{}{path}", server.dashboard)).unwrap()
}

/// Orders imported from a file.
fn import(merchant: &Merchant, name: &str, numbers: std::ops::Range<u32>) {
    merchant.write(name, &orders_csv(numbers));
    merchant.run(&["import", name]);
}

fn orders_csv(numbers: std::ops::Range<u32>) -> String {
    let row = |n: u32| {
        format!("o{n},c{n},c{n}@example.com,2026-{:02}-01T10:00:00Z,{}.50,EUR,paid\n", 1 + n % 9, 5 + n * 7 % 200)
    };
    let head = "order_id,customer_id,email,ordered_at,total,currency,status\n";
    head.to_owned() + &numbers.map(row).collect::<String>()
}

fn count(merchant: &Merchant, what: &str) -> i64 {
    merchant.sql().query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

/// Names of the files in a folder that begin like this, but for what SQLite keeps beside an open one.
fn named(folder: &Path, start: &str) -> Vec<String> {
    let is_empty = |name: &str| std::fs::metadata(folder.join(name)).is_ok_and(|file| file.len() == 0);
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(start) && !name.ends_with("-shm"))
        .filter(|name| !(name.ends_with("-wal") && is_empty(name)))
        .collect();
    names.sort();
    names
}
