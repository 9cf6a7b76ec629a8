//! `customers/data_request`: the file that answers it.

use quintile::{
    backups::Backups,
    intake::privacy::{Worked, work_off},
};
use serde_json::{Value, json};

use super::{ANNA, PHONE, data_request, redact};
use crate::support::{
    folder::Folder,
    process,
    shop::{Shop, customer, order},
};

async fn worked(shop: &Shop) -> Worked {
    let folder = shop.config.database.path.parent().unwrap().to_owned();
    let (readers, writer) = (shop.database.readers().clone(), shop.database.writer().clone());
    tokio::task::spawn_blocking(move || work_off(&readers, &writer, &folder, &|| false)).await.unwrap().unwrap()
}

async fn answered(shop: &Shop, request: &Value) -> (String, Value) {
    shop.tell("customers/data_request", request).await;
    assert!(shop.last().1.contains("being written"));
    let [path] = worked(shop).await.files.try_into().unwrap();
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "0");
    let text = std::fs::read_to_string(&path).unwrap();
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let open = |mode| {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            Backups::from_config(&shop.config).open_to_others().concat()
        };
        let said = open(0o644);
        assert!(said.contains(path.file_name().unwrap().to_str().unwrap()), "{said}");
        assert_eq!(open(0o600), "");
    }
    (path.file_name().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn everything_that_is_known_of_the_customer_is_in_it_and_nothing_of_others() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).set("browser_ip", "192.0.2.7").json()).await;
    shop.tell("orders/create", &order(2).guest(ANNA).json()).await;
    shop.tell("orders/create", &order(3).by(&customer(7002, "bert@example.com")).json()).await;
    let many = json!({ "orders": [
        { "id": "p1", "customer": { "email": ANNA }, "orderedAt": "2026-11-20T10:00:00Z", "total": "1.00", "status": "paid" },
        { "id": "p2", "customer": { "email": "bert@example.com" }, "orderedAt": "2026-11-20T10:00:00Z", "total": "1.00", "status": "paid" },
    ]});
    shop.post_orders("m1", &many.to_string()).await;
    let (name, known) = answered(&shop, &data_request(Some(7001), Some(ANNA), None)).await;
    assert_eq!(
        shop.last().1,
        format!("{name}, beside the database, holds what is known of this customer; send it to them within 30 days")
    );
    assert_eq!(known["customers"][0]["email"], ANNA);
    assert_eq!(known["customers"][0]["orderCount"], 3);
    let orders: Vec<&str> = known["orders"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(orders.len(), 3, "{orders:?}");
    assert_eq!(known["orders"][0]["orderedAt"], "2026-11-01T09:00:00Z");
    assert!(known.to_string().contains("192.0.2.7"), "what only the messages hold is in it too");
    assert!(!known.to_string().contains("bert@"), "{known}");
    assert_eq!(known["messages"].as_array().unwrap().len(), 4, "her request included");
}

#[tokio::test]
async fn of_what_others_say_of_the_customer_no_more_is_in_it_than_that() {
    let shop = Shop::open();
    let (anna, bert) = (customer(7001, ANNA), customer(7002, "bert@example.com"));
    let address = json!({ "name": "Bert Berg", "address1": "Hidden Street 5", "phone": PHONE });
    let gift = order(2).by(&bert).set("note", "gift for anna@example.com").set("billing_address", address);
    shop.tell("orders/create", &order(1).by(&anna).set("note", "ring at bert@example.com's").json()).await;
    shop.tell("orders/create", &gift.json()).await;
    // Nobody can tell whose this is, and of two e-mails beside another's id one is his.
    shop.deliver(
        shop.webhook("orders/create", r#"{"id":3,"billing_address":"Hidden Street 5","email":"anna@example.com""#),
    )
    .await;
    shop.tell("orders/create", &order(4).by(&bert).set("email", ANNA).set("currency", "USD").json()).await;
    let many = json!({ "orders": [
        { "id": "p1", "customer": { "email": "bert@example.com", "firstName": "Hidden" }, "gift": { "to": ANNA },
          "orderedAt": "2026-11-20T10:00:00Z", "total": "1.00", "status": "paid" },
        { "id": "p2", "customer": { "email": "anna@example.com", "firstName": "Anne" },
          "orderedAt": "2026-11-20T10:00:00Z", "total": "1.00", "status": "paid" },
    ]});
    shop.post_orders("m1", &many.to_string()).await;
    let (_, known) = answered(&shop, &data_request(Some(7001), Some(ANNA), None)).await;
    let messages = known["messages"].as_array().unwrap();
    let bodies: Vec<&Value> = messages.iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies[0]["note"], "ring at bert@example.com's", "what she wrote herself is hers");
    assert_eq!(bodies[1..4], [&json!({ "id": 2 }), &Value::Null, &json!({ "id": 4 })]);
    assert_eq!(bodies[4]["orders"], json!([{ "id": "p1" }, many["orders"][1]]));
    let left_out: Vec<bool> = messages.iter().map(|message| message["leftOut"].is_string()).collect();
    assert_eq!(left_out, [false, true, true, true, true, false], "{known}");
    assert_eq!(
        (&messages[1]["topic"], &messages[1]["receivedAt"]),
        (&json!("orders/create"), &messages[0]["receivedAt"])
    );
    for his in ["Hidden", "Berg", "5550123"] {
        assert!(!known.to_string().contains(his), "{known}");
    }
}

#[tokio::test]
async fn what_stands_beside_the_orders_of_a_body_is_told_to_nobody_else() {
    let shop = Shop::open();
    let order = |id: &str, email: &str| {
        let at = "2026-11-20T10:00:00Z";
        json!({ "id": id, "customer": { "email": email }, "orderedAt": at, "total": "1.00", "status": "paid" })
    };
    let (bert, cora) = ("bert@example.com", "cora@example.com");
    let bodies = [
        json!({ "cashier": { "email": bert }, "orders": [order("p1", ANNA), order("p2", cora)] }),
        json!({ "email": ANNA, "orders": [order("p3", ANNA)] }),
        json!({ "cashier": { "email": ANNA, "till": "Hidden" }, "orders": [order("p4", cora)] }),
    ];
    for (index, body) in bodies.iter().enumerate() {
        shop.post_orders(&format!("m{index}"), &body.to_string()).await;
    }
    let (_, known) = answered(&shop, &data_request(None, Some(ANNA), None)).await;
    let told: Vec<&Value> = known["messages"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
    assert_eq!(told[..3], [&json!({ "orders": [bodies[0]["orders"][0]] }), &bodies[1], &json!({ "orders": [] })]);
    let left_out = |index: usize| known["messages"][index]["leftOut"].is_string();
    assert_eq!([left_out(0), left_out(1), left_out(2)], [false, false, true], "{known}");
    for of_others in [bert, cora, "Hidden"] {
        assert!(!known.to_string().contains(of_others), "{of_others}: {known}");
    }
}

#[tokio::test]
async fn an_order_that_was_somebody_elses_before_says_nothing_of_them() {
    let shop = Shop::open();
    let (anna, bert) = (customer(7001, ANNA), customer(7002, "bert@example.com"));
    let address = json!({ "name": "Anna", "address1": "Hidden Street 5" });
    let annas = order(1).by(&anna).set("billing_address", address);
    shop.tell("orders/create", &annas.json()).await;
    shop.tell("orders/create", &order(2).guest("cora@example.com").set("note", "Hidden").json()).await;
    shop.tell("orders/create", &order(3).drop("email").set("note", "for myself").json()).await;
    for id in 1..=3 {
        shop.tell("orders/updated", &order(id).by(&bert).updated("2026-11-20T10:00:00Z").json()).await;
    }
    let (_, known) = answered(&shop, &data_request(Some(7002), Some("bert@example.com"), None)).await;
    assert_eq!(known["orders"].as_array().unwrap().len(), 3, "{known}");
    let bodies: Vec<&Value> = known["messages"].as_array().unwrap().iter().map(|message| &message["body"]).collect();
    assert_eq!(bodies[..2], [&json!({ "id": 1 }), &json!({ "id": 2 })]);
    assert_eq!(bodies[2]["note"], "for myself", "it named nobody else");
    for hers in ["Hidden", ANNA, "cora@"] {
        assert!(!known.to_string().contains(hers), "{hers}: {known}");
    }
    assert_eq!(bodies.len(), 7, "{known}");
}

#[tokio::test]
async fn of_somebody_unknown_there_is_nothing_to_tell_but_that() {
    let shop = Shop::open();
    let (_, known) = answered(&shop, &data_request(Some(7001), Some(ANNA), None)).await;
    assert_eq!((&known["customers"], &known["orders"]), (&json!([]), &json!([])));
}

/// Names of the answers beside the database.
fn answers(shop: &Shop) -> Vec<String> {
    let folder = std::fs::read_dir(shop.config.database.path.parent().unwrap()).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("data-request-")).collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_once() {
    let shop = Shop::open();
    let request = data_request(Some(7001), Some(ANNA), None);
    shop.tell("customers/data_request", &request).await;
    for is_answered in [false, true] {
        shop.tell("customers/data_request", &request).await;
        let (state, reason) = shop.last();
        assert!(state == "ignored" && reason.contains("the same request as message 1"), "{state}: {reason}");
        assert_eq!(worked(&shop).await.files.len(), usize::from(!is_answered));
    }
    assert_eq!(answers(&shop), ["data-request-1.json"]);
    // Asked again by the customer, it has another id.
    let mut next = request;
    next["data_request"]["id"] = json!(10_000);
    assert_eq!(answered(&shop, &next).await.0, "data-request-4.json");
}

#[tokio::test]
async fn a_request_to_forget_is_none_for_data() {
    let shop = Shop::open();
    shop.tell("customers/data_request", &redact(Some(7001), Some(ANNA), None)).await;
    let (state, reason) = shop.last();
    assert!(state == "quarantined" && reason.contains("the body is not"), "{state}: {reason}");
    assert_eq!(worked(&shop).await, Worked::default());
}

#[tokio::test]
async fn who_is_erased_is_in_no_answer_any_more() {
    let shop = Shop::open();
    let bert = "bert@example.com";
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    shop.tell("orders/create", &order(2).by(&customer(7002, bert)).set("note", "for Anna").json()).await;
    for (id, email) in [(7001, ANNA), (7002, bert), (7003, "cora@example.com")] {
        answered(&shop, &data_request(Some(id), Some(email), None)).await;
    }
    assert_eq!(answers(&shop).len(), 3);
    shop.tell("customers/redact", &redact(Some(7001), None, None)).await;
    assert_eq!(worked(&shop).await.deleted, 1);
    assert!(!super::holds(&shop, ANNA));
    assert_eq!(answers(&shop), ["data-request-4.json", "data-request-5.json"]);
    let reasons = "SELECT reason FROM inbox WHERE id IN (3, 4)";
    assert!(shop.rows(reasons)[0].contains("the customer was erased"), "{:?}", shop.rows(reasons));
    assert!(shop.rows(reasons)[1].starts_with("data-request-4.json, beside the database"));
    // Nobody knew her, and the file says no more than what her request did.
    shop.tell("customers/redact", &redact(Some(7003), Some("cora@example.com"), None)).await;
    assert_eq!(worked(&shop).await.deleted, 1);
    assert_eq!(answers(&shop), ["data-request-4.json"]);
    // What is known after it names nobody, and stays.
    let (name, _) = answered(&shop, &data_request(Some(7001), None, None)).await;
    assert_eq!(worked(&shop).await.deleted, 0);
    assert_eq!(answers(&shop), ["data-request-4.json", name.as_str()]);
}

#[tokio::test]
async fn a_guest_whom_another_way_in_brings_is_in_no_answer_either() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).guest(ANNA).json()).await;
    answered(&shop, &data_request(None, Some(ANNA), None)).await;
    let order = json!({ "id": "p1", "customer": { "email": ANNA }, "orderedAt": "2026-11-20T10:00:00Z", "total": "1.00",
        "status": "paid" });
    shop.post_orders("m1", &order.to_string()).await;
    assert_eq!(shop.row("SELECT group_concat(source) FROM customers"), "api", "the row names the first by name");
    shop.tell("customers/redact", &redact(None, Some(ANNA), None)).await;
    assert_eq!(worked(&shop).await.deleted, 1);
    assert_eq!(answers(&shop), [""; 0]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_said_and_keeps_no_other() {
    let shop = Shop::open();
    let folder = shop.config.database.path.parent().unwrap();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    answered(&shop, &data_request(Some(7001), Some(ANNA), None)).await;
    // As one of another user; and one that somebody wrote over.
    std::fs::create_dir(folder.join("data-request-1.json")).unwrap();
    std::fs::write(folder.join("data-request-9.json"), "call anna@example.com").unwrap();
    assert_eq!(worked(&shop).await, Worked::default(), "nobody was erased");
    // One that an editor has saved is read like any other.
    let hers = folder.join("data-request-2.json");
    let text = std::fs::read_to_string(&hers).unwrap();
    std::fs::write(&hers, format!("\u{feff}{text}")).unwrap();
    shop.tell("customers/redact", &redact(Some(7001), None, None)).await;
    let done = worked(&shop).await;
    assert_eq!((done.deleted, done.left.len()), (1, 2), "{:?}", done.left);
    for name in ["data-request-1.json", "data-request-9.json"] {
        let said = format!("{name} may be about somebody who was erased: ");
        assert!(done.left.iter().any(|left| left.contains(&said)), "{:?}", done.left);
    }
    assert!(!done.left.concat().contains("anna"), "{:?}", done.left);
}

#[cfg(unix)]
#[tokio::test]
async fn an_answer_that_cannot_be_removed_is_said_and_keeps_nothing_else() {
    let shop = Shop::open();
    for (id, email) in [(7001, ANNA), (7002, "bert@example.com")] {
        shop.tell("orders/create", &order(id).by(&customer(id, email)).json()).await;
        answered(&shop, &data_request(Some(id), Some(email), None)).await;
    }
    for id in [7001, 7002] {
        shop.tell("customers/redact", &redact(Some(id), None, None)).await;
    }
    shop.tell("customers/data_request", &data_request(Some(7003), None, None)).await;
    // Once the file is read there is a folder in its place, which not even root removes as a file.
    let path = shop.config.database.path.with_file_name("data-request-2.json");
    let text = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let exchange = std::thread::spawn(move || {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap(); // waits for the reader
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        std::io::Write::write_all(&mut pipe, &text).unwrap();
    });
    let done = worked(&shop).await;
    exchange.join().unwrap();
    assert!(done.left[0].contains("data-request-2.json is about somebody who was erased: "), "{:?}", done.left);
    assert_eq!((done.deleted, done.files.len()), (1, 1), "{done:?}");
    assert_eq!(answers(&shop), ["data-request-2.json", "data-request-7.json"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_keeps_nobody_else_waiting() {
    let shop = Shop::open();
    let in_the_way = shop.config.database.path.with_file_name("data-request-1.json.partial");
    std::fs::create_dir_all(in_the_way.join("below")).unwrap();
    for (id, email) in [(7001, ANNA), (7002, "bert@example.com")] {
        shop.tell("customers/data_request", &data_request(Some(id), Some(email), None)).await;
    }
    let done = worked(&shop).await;
    assert_eq!((done.files.len(), done.left.len()), (1, 1), "{:?}", done.left);
    assert!(done.left[0].contains("data-request-1.json: "), "{:?}", done.left);
    assert_eq!(answers(&shop), ["data-request-1.json.partial", "data-request-2.json"]);
    std::fs::remove_dir_all(in_the_way).unwrap();
    let done = worked(&shop).await;
    assert_eq!((done.files.len(), done.left), (1, Vec::new()));
    assert_eq!(answers(&shop), ["data-request-1.json", "data-request-2.json"]);
}

/// As by `sudo quintile erase` beside a service with a user of its own.
#[cfg(unix)]
#[tokio::test]
async fn what_root_writes_for_a_service_is_the_services() {
    use std::os::unix::fs::{MetadataExt, chown};
    let shop = Shop::open();
    let folder = shop.config.database.path.parent().unwrap().to_owned();
    if chown(&folder, Some(65534), Some(65534)).is_err() {
        return; // root alone gives folders away
    }
    shop.tell("customers/data_request", &data_request(Some(7001), Some(ANNA), None)).await;
    let [path] = worked(&shop).await.files.try_into().unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().uid(), 65534);
}

#[test]
fn erase_fails_where_something_is_left_and_says_what() {
    let home = Folder::new();
    assert!(process::run(home.path(), &["init"]).status.success());
    std::fs::write(home.path().join("data-request-9.json"), "not what quintile wrote").unwrap();
    let ended = process::run(home.path(), &["erase", "--email", ANNA]);
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!(ended.status.code(), Some(1), "{out}{err}");
    assert!(out.starts_with("Nobody here had a name by this."), "{out}");
    assert!(err.contains("not all is done") && err.contains("data-request-9.json may be about"), "{err}");
}
