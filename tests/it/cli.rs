//! The program as its user meets it: arguments in, text and exit codes out.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use quintile::{config::Config, db::Database};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: &str = "[shop]\ncurrency = \"EUR\"\n[scoring]\nhold_above_percent = 100\n";
/// Twelve customers: enough that every fifth has two or more.
const ORDERS: &str = "order_id,customer_id,email,ordered_at,total,currency,status,first_name,last_name
1,c1,anna@example.com,2026-11-20T10:00:00Z,400.00,EUR,paid,Anna,Ärmel
2,c1,anna@example.com,2026-11-21T10:00:00Z,12.50,EUR,paid,Anna,Ärmel
3,c2,ben@example.com,2026-11-01T10:00:00Z,90.00,EUR,paid,Ben,=SUM(A1)
4,c2,ben@example.com,2026-10-01T10:00:00Z,10.00,EUR,paid,Ben,=SUM(A1)
5,c3,cleo@example.com,2026-09-01T10:00:00Z,80.00,EUR,paid,Cleo,
6,c4,dora@example.com,2026-08-01T10:00:00Z,70.00,EUR,paid,Dora,
7,c5,emil@example.com,2026-07-01T10:00:00Z,60.00,EUR,paid,Emil,
8,c6,fritz@example.com,2026-06-01T10:00:00Z,50.00,EUR,paid,Fritz,
9,c7,gina@example.com,2026-05-01T10:00:00Z,40.00,EUR,paid,Gina,
10,c8,hans@example.com,2026-04-01T10:00:00Z,30.00,EUR,paid,Hans,
11,c9,ida@example.com,2026-03-01T10:00:00Z,20.00,EUR,paid,Ida,
12,c10,jo@example.com,2026-02-01T10:00:00Z,10.00,EUR,paid,Jo,
13,c11,kim@example.com,2026-01-01T10:00:00Z,5.00,EUR,pending,Kim,
";

/// A folder with a configuration in it, and the program.
struct Home(TempDir);

/// What a command left: exit code, standard output, standard error.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("config.toml", config);
        home
    }

    /// With [`ORDERS`] imported.
    fn with_orders() -> Self {
        let home = Self::new(CONFIG);
        home.write("orders.csv", ORDERS);
        home.ok(&["import", "orders.csv"]);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quintile"));
        command.current_dir(self.0.path()).args(args);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUINTILE_")) {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        finished(self.command(args).output().unwrap())
    }

    /// Runs what must succeed; returns standard output.
    fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}: {}", done.out);
        done.out
    }

    fn json(&self, args: &[&str]) -> Value {
        let out = self.ok(&[args, &["--format", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    /// Runs what must fail with `code`; returns standard error.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, code, "{args:?}: {}{}", done.out, done.err);
        assert_eq!(done.out, "", "{args:?}");
        done.err
    }

    fn database(&self) -> Database {
        Database::open(&self.path("quintile.db"), "quintile serve").unwrap()
    }
}

fn finished(output: Output) -> Done {
    Done {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Sorted, as serde_json keeps them.
fn sorted<const N: usize>(mut names: [&'static str; N]) -> Vec<&'static str> {
    names.sort_unstable();
    names.to_vec()
}

#[test]
fn help_and_wrong_usage() {
    let home = Home::new("");
    let help = home.ok(&["--help"]);
    for command in [
        "demo",
        "init",
        "serve",
        "import",
        "score",
        "backfill",
        "deliver",
        "segments",
        "customers",
        "customer",
        "runs",
        "events",
        "deliveries",
        "check",
        "completions",
    ] {
        let line = help.lines().find(|line| line.trim_start().split(' ').next() == Some(command));
        let about = line.unwrap_or_else(|| panic!("--help does not name {command}")).trim_start();
        assert!(about.len() > command.len() + 10, "--help does not say what {command} does");
    }
    assert!(home.ok(&["--version"]).starts_with("quintile "));
    for args in [&["scoer"][..], &[], &["customers", "--segmnt", "x"], &["segments", "--format", "xml"]] {
        home.fails(2, args);
    }
    assert!(home.fails(2, &["scoer"]).contains("score"));
}

#[test]
fn init_writes_a_shop_to_start_from() {
    let home = Home(tempfile::tempdir().unwrap());
    let out = home.ok(&["init", "shop"]);
    assert_eq!(
        out,
        "wrote shop/config.toml\nwrote shop/quintile.db\n\nNext:\n  \
         1. Write your shop's name, currency and webhook secret into shop/config.toml\n  \
         2. quintile --config shop/config.toml import ORDERS.csv, then quintile --config shop/config.toml serve\n"
    );
    #[cfg(unix)]
    for (name, mode) in [("shop", 0o700), ("shop/config.toml", 0o600), ("shop/quintile.db", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }

    let config = Config::load(&home.path("shop/config.toml")).unwrap();
    assert_eq!(config.webhooks.orders.secrets[0].signing_key().unwrap().len(), 32);
    let mut without_secrets = config.clone();
    without_secrets.webhooks.orders.secrets.clear();
    without_secrets.database.path = "quintile.db".into();
    assert_eq!(without_secrets, Config::default());
    let text = fs::read_to_string(home.path("shop/config.toml")).unwrap();
    assert!(!text.contains('…'), "the example destination has a secret of its own, ready to use");
    home.ok(&["init", "other"]);
    let other = Config::load(&home.path("other/config.toml")).unwrap();
    assert_ne!(config.webhooks.orders, other.webhooks.orders, "every shop has its own secrets");

    assert_eq!(home.ok(&["--config", "shop/config.toml", "customers", "--format", "json"]), "[]\n");
}

#[test]
fn init_overwrites_nothing() {
    let home = Home(tempfile::tempdir().unwrap());
    home.ok(&["init"]);
    let before = (fs::read(home.path("config.toml")).unwrap(), fs::read(home.path("quintile.db")).unwrap());
    let error = home.fails(2, &["init"]);
    assert!(error.contains("config.toml and quintile.db are there already and stay as they are"), "{error}");
    assert_eq!(before, (fs::read(home.path("config.toml")).unwrap(), fs::read(home.path("quintile.db")).unwrap()));

    fs::remove_file(home.path("quintile.db")).unwrap();
    assert!(home.ok(&["init"]).starts_with("kept  config.toml\nwrote quintile.db\n"));
    fs::remove_file(home.path("config.toml")).unwrap();
    assert!(home.ok(&["init"]).starts_with("wrote config.toml\nkept  quintile.db\n"));
}

#[test]
fn a_wrong_configuration_is_exit_2() {
    let home = Home::new("[scoring]\ncorn = \"0 2 * * *\"\nties = \"some\"\n");
    assert_eq!(
        home.fails(2, &["runs"]),
        "error: config.toml:2:1: scoring.corn: there is no such key; did you mean `cron`?\n"
    );
    assert_eq!(
        home.fails(2, &["--config", "nowhere/config.toml", "runs"]),
        "error: no config.toml at nowhere/config.toml; `quintile init` writes one\n"
    );
    home.write("config.toml", "");
    let done = finished(home.command(&["runs"]).env("QUINTILE_SCORING__CRON", "daily").output().unwrap());
    assert_eq!(done.code, 2);
    assert!(
        done.err.starts_with("error: QUINTILE_SCORING__CRON: scoring.cron: \"daily\" has 1 fields"),
        "{}",
        done.err
    );
    assert_eq!(
        home.fails(1, &["runs"]),
        "error: there is no database at quintile.db; `quintile init` makes one, or set [database] path\n"
    );
}

#[test]
fn the_environment_chooses_file_and_database() {
    let home = Home::with_orders();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = home.command(&["customers", "--format", "json"]);
    command.current_dir(elsewhere.path()).env("QUINTILE_CONFIG", home.path("config.toml"));
    let customers: Value = serde_json::from_str(&finished(command.output().unwrap()).out).unwrap();
    assert_eq!(customers.as_array().unwrap().len(), 11, "the database is beside the configuration");

    command.env("QUINTILE_DATABASE__PATH", "other.db");
    let done = finished(command.output().unwrap());
    assert_eq!(done.code, 1);
    assert!(done.err.contains("other.db; `quintile init` makes one"), "{}", done.err);
}

#[test]
fn standard_output_holds_the_answer_alone() {
    let home = Home::with_orders();
    let quiet = home.ok(&["customers", "--format", "json"]);
    let mut command = home.command(&["customers", "--format", "json"]);
    let loud = finished(command.env("QUINTILE_LOG", "trace").output().unwrap());
    assert_eq!(loud.out, quiet);
}

#[test]
fn before_the_first_run_there_is_nothing_to_see() {
    let home = Home(tempfile::tempdir().unwrap());
    home.ok(&["init"]);
    for list in ["segments", "customers", "runs", "events", "deliveries"] {
        assert_eq!(home.json(&[list]), json!([]), "{list}");
        assert!(home.ok(&[list]).lines().count() == 1, "{list} says so in a line");
    }
    for (list, head) in [
        ("segments", "segment,customers,customer_share,revenue,revenue_share,change"),
        (
            "customers",
            "id,source,external_id,email,first_name,last_name,order_count,total_spent,avg_order_value,currency,first_order_at,last_order_at,r,f,m,segment,previous_segment,segment_since",
        ),
        ("runs", "id,trigger,as_of,started_at,scored_at,emitted_at,finished_at,state,scored,changed,error"),
        ("events", "seq,id,type,timestamp,shop_id,customer_id,old_segment,new_segment,cause,run_id,r,f,m"),
        (
            "deliveries",
            "id,message_id,destination,state,events,attempts,next_attempt_at,last_status,last_error,created_at,finished_at",
        ),
    ] {
        assert_eq!(home.ok(&[list, "--format", "csv"]), format!("{head}\r\n"));
    }
}

#[test]
fn customers_are_listed_found_and_shown() {
    let home = Home::with_orders();
    let customers = home.json(&["customers"]);
    let anna = &customers[0];
    assert_eq!(
        *anna,
        json!({
            "id": "1", "source": "csv", "externalId": "c1", "email": "anna@example.com", "firstName": "Anna",
            "lastName": "Ärmel", "orderCount": 2, "totalSpent": "412.50", "avgOrderValue": "206.25", "currency": "EUR",
            "firstOrderAt": "2026-11-20T10:00:00Z", "lastOrderAt": "2026-11-21T10:00:00Z", "r": null, "f": null,
            "m": null, "segment": null, "previousSegment": null, "segmentSince": null,
        })
    );
    assert_eq!(customers.as_array().unwrap().len(), 11, "Kim too, whose order is not paid");
    assert_eq!(customers[10]["orderCount"], 0);
    assert_eq!(customers[10]["lastOrderAt"], Value::Null);

    for (text, found) in [
        ("ANNA@", vec!["1"]),
        ("ärmel", vec!["1"]),
        ("anna ärmel", vec!["1"]),
        ("c2", vec!["2"]),
        ("3", vec!["3"]),
        ("example.com", (1..=11).map(|_| "").collect()),
        ("%", vec![]),
    ] {
        let customers = home.json(&["customers", "--search", text]);
        let ids: Vec<&str> = customers.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
        if found.first() == Some(&"") { assert_eq!(ids.len(), found.len()) } else { assert_eq!(ids, found, "{text}") }
    }

    assert_eq!(home.json(&["customer", "1"]), *anna);
    assert!(home.ok(&["customer", "1"]).contains("totalSpent       412.50\n"));
    assert_eq!(home.fails(1, &["customer", "99"]), "error: there is no customer 99; `quintile customers` lists them\n");
    assert!(home.fails(1, &["customer", "anna"]).starts_with("error: there is no customer \"anna\""));

    let csv = home.ok(&["customers", "--format", "csv"]);
    assert!(csv.contains("1,csv,c1,anna@example.com,Anna,Ärmel,2,412.50,206.25,EUR,"), "{csv}");
    assert!(csv.contains("Ben,'=SUM(A1),2,"), "a spreadsheet must not run a customer's name: {csv}");

    home.database()
        .writer()
        .write_blocking(|tx| {
            tx.execute_batch(
                "UPDATE customers SET merged_into = 1 WHERE id = 2; UPDATE customers SET deleted_at = 1 WHERE id = 3",
            )?;
            Ok(())
        })
        .unwrap();
    assert_eq!(home.json(&["customers"]).as_array().unwrap().len(), 9);
    assert!(home.fails(1, &["customer", "2"]).contains("customer 2 was merged into customer 1"));
    assert!(home.fails(1, &["customer", "3"]).contains("customer 3 was deleted in the shop"));
}

#[test]
fn wrong_filters_name_the_right_ones() {
    let home = Home::with_orders();
    assert_eq!(
        home.fails(2, &["customers", "--segment", "champions"]),
        "error: there is no segment \"champions\"; --segment takes champion, loyal, new, potential, at_risk, hibernating, lost\n"
    );
    let states = home.fails(2, &["deliveries", "--state", "waitng"]);
    for state in ["waiting", "sending", "retrying", "held", "delivered", "dead", "superseded", "discarded"] {
        assert!(states.contains(state), "{states}");
    }
    assert_eq!(
        home.fails(2, &["deliveries", "--destination", "x"]),
        "error: there is no destination \"x\"; config.toml has none\n"
    );
}

#[test]
fn a_run_is_seen_from_every_side() {
    let home = Home::with_orders();
    let score = home.json(&["score", "--as-of", "2026-11-23T02:00:00Z"]);
    assert_eq!((&score["scored"], &score["changed"], &score["baseline"]), (&json!(10), &json!(10), &json!(true)));

    let segments = home.json(&["segments"]);
    let rows = segments.as_array().unwrap();
    assert_eq!(keys(&rows[0]), sorted(["segment", "customers", "customerShare", "revenue", "revenueShare", "change"]));
    assert_eq!(rows[0]["segment"], "champion");
    let sum = |key: &str| rows.iter().map(|row| row[key].as_f64().unwrap()).sum::<f64>();
    assert!((sum("customers") - 10.0).abs() < f64::EPSILON);
    assert!((sum("customerShare") - 1.0).abs() < 0.01 && (sum("revenueShare") - 1.0).abs() < 0.01);
    assert!((sum("change")).abs() < f64::EPSILON, "nothing to compare the first run with");
    let revenue: f64 = rows.iter().map(|row| row["revenue"].as_str().unwrap().parse::<f64>().unwrap()).sum();
    assert!((revenue - 872.5).abs() < 0.001);

    let anna = home.json(&["customer", "1"]);
    assert_eq!(
        (&anna["r"], &anna["f"], &anna["m"], &anna["segment"]),
        (&json!(5), &json!(5), &json!(5), &json!("champion"))
    );
    assert_eq!(anna["segmentSince"], "2026-11-23T02:00:00Z");
    let kim = home.json(&["customer", "11"]);
    assert_eq!((&kim["r"], &kim["segment"]), (&Value::Null, &Value::Null));
    let champions = home.json(&["customers", "--segment", "champion"]);
    assert_eq!(champions.as_array().unwrap().len() as u64, rows[0]["customers"].as_u64().unwrap());

    let runs = home.json(&["runs"]);
    assert_eq!(
        keys(&runs[0]),
        sorted([
            "id",
            "trigger",
            "asOf",
            "startedAt",
            "scoredAt",
            "emittedAt",
            "finishedAt",
            "state",
            "scored",
            "changed",
            "error"
        ])
    );
    assert_eq!(
        (&runs[0]["id"], &runs[0]["trigger"], &runs[0]["state"]),
        (&json!("1"), &json!("manual"), &json!("done"))
    );
    assert_eq!((&runs[0]["asOf"], &runs[0]["scored"]), (&json!("2026-11-23T02:00:00Z"), &json!(10)));

    let events = home.json(&["events"]);
    assert_eq!(events.as_array().unwrap().len(), 10);
    assert_eq!(keys(&events[0]), sorted(["type", "timestamp", "id", "seq", "data"]));
    assert_eq!(events[0]["data"]["cause"], "baseline");
    let rest = home.json(&["events", "--after-seq", "7"]);
    assert_eq!(
        rest.as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect::<Vec<_>>(),
        [8, 9, 10]
    );
    assert_eq!(home.ok(&["events", "--format", "csv"]).lines().count(), 11);

    // A better customer comes: what changes is told as a difference.
    home.write(
        "more.csv",
        &format!(
            "{}\n14,c12,lea@example.com,2026-11-22T10:00:00Z,900.00,EUR,paid,Lea,\n",
            ORDERS.lines().next().unwrap()
        ),
    );
    home.ok(&["import", "more.csv"]);
    home.ok(&["score", "--as-of", "2026-11-24T02:00:00Z"]);
    let after = home.json(&["segments"]);
    for (before, after) in rows.iter().zip(after.as_array().unwrap()) {
        let difference = after["customers"].as_i64().unwrap() - before["customers"].as_i64().unwrap();
        assert_eq!(after["change"], json!(difference), "{}", after["segment"]);
    }
    let total: i64 = after.as_array().unwrap().iter().map(|row| row["change"].as_i64().unwrap()).sum();
    assert_eq!(total, 1);
    assert_eq!(home.json(&["runs"])[0]["id"], "2", "the newest first");
    assert!(home.ok(&["check", "--deep"]).contains("ok    contents"));
}

#[test]
fn deliveries_are_listed_by_state_and_destination() {
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nbaseline = \"hold\"\n[[destination]]\nname = \"my-tool\"\nurl = \"https://tool.invalid/\"\nsecret_env = \"NOT_SET_HERE\"\n"
    ));
    home.write("orders.csv", ORDERS);
    home.ok(&["import", "orders.csv"]);
    home.ok(&["score", "--as-of", "2026-11-23T02:00:00Z"]);
    let deliveries = home.json(&["deliveries"]);
    assert_eq!(deliveries.as_array().unwrap().len(), 10);
    assert_eq!(
        keys(&deliveries[0]),
        sorted([
            "id",
            "messageId",
            "destination",
            "state",
            "events",
            "attempts",
            "nextAttemptAt",
            "lastStatus",
            "lastError",
            "createdAt",
            "finishedAt"
        ])
    );
    assert_eq!((&deliveries[0]["destination"], &deliveries[0]["state"]), (&json!("my-tool"), &json!("held")));
    assert_eq!(home.json(&["deliveries", "--state", "held", "--destination", "my-tool"]), deliveries);
    assert_eq!(home.json(&["deliveries", "--state", "dead"]), json!([]));
    assert_eq!(home.fails(2, &["deliver", "--until-idle"]).lines().count(), 1, "what signs needs the secret");
}

#[test]
fn looking_works_while_another_process_writes() {
    let home = Home::with_orders();
    let held = home.database();
    assert_eq!(home.json(&["customers"]).as_array().unwrap().len(), 11);
    assert_eq!(home.json(&["runs"]), json!([]));
    home.ok(&["check"]);
    let said = format!(
        "error: quintile.db is in use by process {} (quintile serve); stop it first, or use its dashboard\n",
        std::process::id()
    );
    assert_eq!(home.fails(1, &["score"]), said);
    assert_eq!(home.fails(1, &["import", "orders.csv"]), said);
    drop(held);
    home.ok(&["import", "orders.csv"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new(CONFIG);
    let mut orders = String::from("order_id,email,ordered_at,total\n");
    for n in 0..20_000 {
        orders += &format!("{n},customer{n}@example.com,2026-11-20T10:00:00Z,10.00\n");
    }
    home.write("orders.csv", &orders);
    home.ok(&["import", "orders.csv"]);
    for format in ["table", "json", "csv"] {
        let mut child = home
            .command(&["customers", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        let status = child.wait().unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((status.code(), err.as_str()), (Some(0), ""), "{format}");
    }
}

#[test]
fn another_currency_than_the_orders_is_refused() {
    let home = Home::with_orders();
    home.write("config.toml", "[shop]\ncurrency = \"JPY\"\n");
    let said = "error: config.toml: shop.currency is JPY, the orders in quintile.db are in EUR; write currency = \"EUR\", or another [database] path\n";
    assert_eq!(home.fails(2, &["customers"]), said);
    assert_eq!(home.fails(2, &["import", "orders.csv"]), said);
}

#[test]
fn a_newer_database_is_left_alone() {
    let home = Home::with_orders();
    let path = home.path("quintile.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let before = fs::read(&path).unwrap();
    for args in [&["customers"][..], &["import", "orders.csv"], &["score"]] {
        let error = home.fails(1, args);
        assert!(error.contains("was written by a newer quintile (schema 999"), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

fn states(home: &Home, args: &[&str], code: i32) -> Vec<(String, String)> {
    let done = home.run(&[args, &["--format", "json"]].concat());
    assert_eq!((done.code, done.err.as_str()), (code, ""), "{}", done.out);
    let findings: Value = serde_json::from_str(&done.out).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings.as_array().unwrap().iter().map(|finding| (text(finding, "check"), text(finding, "state"))).collect()
}

fn state_of<'a>(states: &'a [(String, String)], check: &str) -> &'a str {
    &states.iter().find(|(name, _)| name == check).unwrap_or_else(|| panic!("{check} is not checked")).1
}

#[test]
fn check_says_what_is_wrong() {
    let home = Home(tempfile::tempdir().unwrap());
    home.ok(&["init"]);
    let out = home.ok(&["check"]);
    let checks: Vec<&str> = out.lines().map(|line| line[6..].split(':').next().unwrap()).collect();
    assert_eq!(
        checks,
        ["configuration", "permissions", "database", "schema", "clock", "disk space", "destination", "shop secrets"]
    );
    let healthy = states(&home, &["check", "--deep"], 0);
    assert!(
        healthy.iter().all(|(check, state)| state == "ok" || (check == "destination" && state == "warn")),
        "{healthy:?}"
    );
    assert_eq!(state_of(&healthy, "contents"), "ok");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(home.path("config.toml"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(state_of(&states(&home, &["check"], 0), "permissions"), "warn");
        assert!(home.ok(&["check"]).contains("run chmod 600 config.toml"));
    }

    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
    let destination = |host: &str| {
        format!("[[destination]]\nname = \"tool\"\nurl = \"https://{host}/path-is-secret\"\nsecret = \"{secret}\"\n")
    };
    home.write("config.toml", &destination("127.0.0.1"));
    assert_eq!(state_of(&states(&home, &["check"], 0), "shop secrets"), "warn");
    home.write("config.toml", &destination("nobody.invalid"));
    assert_eq!(state_of(&states(&home, &["check"], 1), "destination"), "fail");
    let done = home.run(&["check"]);
    assert!(done.out.contains("fail  destination: tool: ") && done.out.contains("nobody.invalid"), "{}", done.out);
    assert!(!done.out.contains("path-is-secret"), "{}", done.out);
}

#[test]
fn check_sees_a_damaged_database() {
    let home = Home::with_orders();
    let path = home.path("quintile.db");
    home.database()
        .writer()
        .write_blocking(|tx| Ok(tx.execute("UPDATE customers SET total_spent = 1 WHERE id = 1", [])?))
        .unwrap();
    assert_eq!(state_of(&states(&home, &["check"], 0), "database"), "ok", "a wrong number is not a torn page");
    let done = home.run(&["check", "--deep"]);
    assert_eq!(done.code, 1);
    let line = "not true: a customer's counters are those of their orders: customer 1 has 2 orders worth 41250, its row says 2 and 1";
    assert!(done.out.contains(line), "{}", done.out);

    let mut bytes = fs::read(&path).unwrap();
    let size = bytes.len();
    bytes[4096..size].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    assert_eq!(state_of(&states(&home, &["check"], 1), "database"), "fail");
    fs::write(&path, "not a database at all, but long enough to have a header of its own".repeat(9)).unwrap();
    assert_eq!(state_of(&states(&home, &["check"], 1), "database"), "fail");
    fs::remove_file(&path).unwrap();
    let done = home.run(&["check"]);
    assert!(done.code == 1 && done.out.contains("`quintile init` makes one"), "{}", done.out);
}

#[test]
fn completions_for_every_shell() {
    let home = Home::new("");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(home.ok(&["completions", shell]).contains("deliveries"), "{shell}");
    }
    assert!(
        Path::new("/bin/bash").exists().then(|| home.write("c.bash", &home.ok(&["completions", "bash"]))).is_none()
            || { Command::new("/bin/bash").arg("-n").arg(home.path("c.bash")).status().unwrap().success() }
    );
}
