//! `quintile sync` and the pull inside `serve`, by the real binary.

use std::{process::Output, time::Duration};

use serde_json::{Value, json};

use super::{
    admin::{Admin, CLIENT_ID, CLIENT_SECRET, DOMAIN, Ending},
    nodes::order,
};
use crate::support::{
    folder,
    process::{self, Server, eventually, quintile},
};

/// A folder with a configuration that asks `admin`.
struct Folder(folder::Folder);

impl Folder {
    fn new(admin: &Admin, shopify: &str) -> Self {
        let folder = folder::Folder::new();
        let config = format!(
            "[shop]\nid = \"{DOMAIN}\"\n[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n\
             [scoring]\ncron = \"0 2 29 2 *\"\n[forwarder]\nallow_private = [\"127.0.0.0/8\"]\n\
             [shopify]\nbase_url = \"{}\"\n{shopify}\n",
            admin.url
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        let folder = Self(folder);
        assert!(process::run(folder.path(), &["init"]).status.success());
        folder
    }

    fn with_an_app(admin: &Admin) -> Self {
        Self::new(admin, &format!("client_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\""))
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    /// The command beside the shop, which this thread's runtime serves.
    async fn run(&self, arguments: &[&str]) -> Output {
        let (path, arguments) =
            (self.path().to_owned(), arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            quintile(&path, &arguments).env("SHOPIFY_SECRET", CLIENT_SECRET).output().unwrap()
        })
        .await
        .unwrap()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat()).await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

async fn shop(customers: u64) -> Admin {
    let admin = Admin::start(std::sync::Arc::new(quintile::clock::now().millis().into())).await;
    admin.fill(customers, "2026-10-01T00:00:00Z");
    // The binary waits with the real timer.
    admin.shop().polls = 1;
    admin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_prints_its_row() {
    let admin = shop(20).await;
    let folder = Folder::with_an_app(&admin);
    let first = folder.json(&["sync"]).await;
    assert_eq!(
        (&first["mode"], &first["state"], &first["trigger"]),
        (&json!("full"), &json!("done"), &json!("manual"))
    );
    assert_eq!(
        (&first["ordersRead"], &first["ordersNew"], &first["customersRead"]),
        (&json!(40), &json!(40), &json!(20))
    );
    assert_eq!(
        (&first["position"], &first["error"], &first["ordersMissed"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let second = folder.json(&["sync"]).await;
    assert_eq!((&second["mode"], &second["ordersMissed"]), (&json!("incremental"), &json!(0)));
    let log = folder.json(&["sync", "--log"]).await;
    assert_eq!(
        log.as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>(),
        [json!("2"), json!("1")]
    );
    assert_eq!(folder.json(&["customers"]).await.as_array().unwrap().len(), 20);
    let table = String::from_utf8(folder.run(&["sync", "--log"]).await.stdout).unwrap();
    assert!(table.contains("Missed by webhook") && table.contains("incremental"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_say_how_it_ended() {
    let admin = shop(3).await;
    // Refused by the shop, or nothing to ask with: the configuration is wrong.
    for (shopify, told) in [
        (
            format!("client_id = \"{CLIENT_ID}\"\nclient_secret = \"shpss_mistyped\""),
            "check [shopify] client_id and client_secret",
        ),
        (String::new(), "write client_id and client_secret of an app into [shopify]"),
        (format!("client_id = \"{CLIENT_ID}\""), "there is no client_secret beside it"),
        (
            format!("client_id = \"{CLIENT_ID}\"\nclient_secret_env = \"NOT_THERE\""),
            "the environment variable NOT_THERE is not set",
        ),
    ] {
        let output = Folder::new_unchecked(&admin, &shopify).run(&["sync"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told) && !said.contains("mistyped"), "{said}");
    }
    let folder = Folder::new(&admin, &format!("client_id = \"{CLIENT_ID}\"\nclient_secret_env = \"SHOPIFY_SECRET\""));
    admin.shop().endings.push_back(Ending::Failed);
    let output = folder.run(&["sync", "--format", "json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["state"], json!("failed"));
    let priceless =
        super::nodes::with(order(99, Some(1), "1.00", "2026-10-01T00:00:00Z"), [("totalPriceSet", Value::Null)]);
    admin.shop().orders.insert(99, priceless);
    let output = folder.run(&["sync"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    // `check` asks too.
    let checked = folder.json(&["check"]).await;
    let line = checked.as_array().unwrap().iter().find(|line| line["check"] == "shop credentials").unwrap();
    assert_eq!(line["state"], json!("ok"), "{line}");
}

impl Folder {
    /// With a configuration that may be wrong.
    fn new_unchecked(admin: &Admin, shopify: &str) -> Self {
        let folder = Self::new(admin, "");
        let path = folder.path().join("config.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}{shopify}\n")).unwrap();
        folder
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_is_killed_in_the_middle_of_a_file_goes_on_there() {
    const ORDERS: u64 = 40_000;
    let admin = shop(ORDERS / 2).await;
    let folder = Folder::with_an_app(&admin);
    let path = folder.path().to_owned();
    let stored = tokio::task::spawn_blocking(move || {
        let mut child = quintile(&path, &["sync"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        let connection = rusqlite::Connection::open(path.join("quintile.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        eventually("the first thousand", || {
            let read: i64 =
                connection.query_row("SELECT coalesce(max(orders_read), 0) FROM syncs", [], |row| row.get(0)).ok()?;
            (read >= 2000).then_some(())
        });
        process::kill(&mut child);
        connection
            .query_row("SELECT count(*), (SELECT orders_read FROM syncs) FROM orders", [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
            })
            .unwrap()
    })
    .await
    .unwrap();
    // What is stored and what the row says came in one transaction.
    assert_eq!(stored.0, stored.1);
    assert!(stored.0 < ORDERS, "it was done before it was killed");
    let row = folder.json(&["sync"]).await;
    assert_eq!((&row["attempts"], &row["ordersRead"], &row["ordersNew"]), (&json!(2), &json!(ORDERS), &json!(ORDERS)));
    let shop = admin.shop();
    assert_eq!((shop.count("RunBulk"), shop.fetched), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_pulls_by_itself_and_the_command_works_beside_it() {
    let admin = shop(20).await;
    let folder = Folder::with_an_app(&admin);
    let path = folder.path().to_owned();
    let server = tokio::task::spawn_blocking(move || {
        let server = Server::start(&path);
        eventually("the first pull", || {
            let log = process::run_json(&path, &["sync", "--log", "--format", "json"]);
            (log[0]["state"] == "done").then_some(())
        });
        server
    })
    .await
    .unwrap();
    admin.shop().orders.insert(41, order(41, Some(1), "5.00", &quintile::clock::now().to_string()));
    let row = folder.json(&["sync"]).await;
    assert_eq!((&row["trigger"], &row["state"], &row["ordersNew"]), (&json!("manual"), &json!("done"), &json!(1)));
    let status = tokio::task::spawn_blocking(move || server.terminate()).await.unwrap();
    assert!(status.success());
}
