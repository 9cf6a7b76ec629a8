//! The program as its user meets it: arguments in, text and exit codes out.

mod access;
mod check;
mod destinations;
mod export;
mod health;
mod held;
mod init;
mod look;
mod rotate;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use quintile::db::Database;
use serde_json::{Value, json};

use crate::support::{
    folder::Folder,
    process::{QUINTILE, quintile_by},
};

const CONFIG: &str = "[shop]\ncurrency = \"EUR\"\n[scoring]\nhold_above_percent = 100\n";
/// Twelve customers: enough that every fifth has two or more.
const ORDERS: &str = "order_id,customer_id,email,ordered_at,total,currency,status,first_name,last_name
1,c1,anna@example.com,2025-11-20T10:00:00Z,400.00,EUR,paid,Anna,Ärmel
2,c1,anna@example.com,2025-11-21T10:00:00Z,12.50,EUR,paid,Anna,Ärmel
3,c2,ben@example.com,2025-11-01T10:00:00Z,90.00,EUR,paid,Ben,=SUM(A1)
4,c2,ben@example.com,2025-10-01T10:00:00Z,10.00,EUR,paid,Ben,=SUM(A1)
5,c3,cleo@example.com,2025-09-01T10:00:00Z,80.00,EUR,paid,Cleo,
6,c4,dora@example.com,2025-08-01T10:00:00Z,70.00,EUR,paid,Dora,
7,c5,emil@example.com,2025-07-01T10:00:00Z,60.00,EUR,paid,Emil,
8,c6,fritz@example.com,2025-06-01T10:00:00Z,50.00,EUR,paid,Fritz,
9,c7,gina@example.com,2025-05-01T10:00:00Z,40.00,EUR,paid,Gina,
10,c8,hans@example.com,2025-04-01T10:00:00Z,30.00,EUR,paid,Hans,
11,c9,ida@example.com,2025-03-01T10:00:00Z,20.00,EUR,paid,Ida,
12,c10,jo@example.com,2025-02-01T10:00:00Z,10.00,EUR,paid,Jo,
13,c11,kim@example.com,2025-01-01T10:00:00Z,5.00,EUR,pending,Kim,
";

/// A folder with a configuration in it, and the program.
struct Home(Folder);

/// What a command left: exit code, standard output, standard error.
struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(Folder::new());
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
        "destinations",
        "inbox",
        "erase",
        "export",
        "verify",
        "check",
        "completions",
    ] {
        let about = help.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{command} ")));
        let about = about.unwrap_or_else(|| panic!("--help does not name {command}")).trim_start();
        assert!(about.len() > 15, "--help does not say what {command} does: {about:?}");
    }
    assert!(home.ok(&["--version"]).starts_with("quintile "));
    for args in [&["scoer"][..], &[], &["customers", "--segmnt", "x"], &["segments", "--format", "xml"]] {
        home.fails(2, args);
    }
    assert!(home.fails(2, &["scoer"]).contains("score"));
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
    let elsewhere = Folder::new();
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
fn looking_works_while_another_process_writes() {
    let home = Home::with_orders();
    let held = home.database();
    assert_eq!(home.json(&["customers"]).as_array().unwrap().len(), 11);
    assert_eq!(home.json(&["runs"]), json!([]));
    home.ok(&["check"]);
    let said =
        format!("error: quintile.db is in use by process {} (quintile serve); stop it first", std::process::id());
    assert_eq!(home.fails(1, &["import", "orders.csv"]), format!("{said}\n"));
    assert_eq!(home.fails(1, &["deliver", "--until-idle"]), format!("{said}\n"));
    assert_eq!(home.fails(1, &["score"]), format!("{said}, or press Score now on its dashboard\n"));
    drop(held);
    home.ok(&["import", "orders.csv"]);
}

#[test]
fn a_demo_on_a_busy_port_names_its_own_option() {
    let home = Home(Folder::new());
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    let said = home.fails(1, &["demo", "--headless", "--port", &address.port().to_string()]);
    assert!(said.starts_with(&format!("error: cannot listen on {address}; give another --port: ")), "{said}");
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

#[test]
fn completions_for_every_shell() {
    let home = Home::new("");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(home.ok(&["completions", shell]).contains("deliveries"), "{shell}");
    }
    if Path::new("/bin/bash").exists() {
        home.write("quintile.bash", &home.ok(&["completions", "bash"]));
        let read = Command::new("/bin/bash").arg("-n").arg(home.path("quintile.bash")).status().unwrap();
        assert!(read.success(), "bash cannot read it");
    }
}

#[test]
fn filters_and_rules_must_fit_the_segments() {
    let destination = "[[destination]]\nname = \"a\"\nurl = \"https://a.example\"\nsecret_env = \"S\"\nfrom = [\"lost\"]\nto = [\"at-risk\"]\n";
    let home = Home::new(destination);
    assert_eq!(
        home.fails(2, &["runs"]),
        "error: config.toml:6:7: destination.to: there is no segment \"at-risk\"; write champion, loyal, new, potential, at_risk, hibernating, lost\n"
    );
    home.write("config.toml", "[scoring]\nsegments = \"custom\"\n[[segment]]\nname = \"vip\"\nr = \"5\"\n[[segment]]\nname = \"rest\"\nr = \"2-4\"\n");
    let error = home.fails(2, &["runs"]);
    assert!(error.starts_with("error: config.toml:3:1: segment: no rule covers "), "{error}");
}

#[test]
fn a_template_that_makes_no_request_is_named_with_its_line() {
    let home = Home::new(
        "[[destination]]\nname = \"crm\"\nkind = \"template\"\ntoken_env = \"T\"\n[[destination.request]]\nmethod = \"PUT\"\nurl = \"https://crm.example/{{ secret.token }}\"\nbody = '{{ event.newSegmnt }}'\n",
    );
    for command in ["serve", "check"] {
        let output =
            crate::support::process::quintile(home.0.path(), &[command]).env("T", "tok-canary").output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: config.toml:5:1: destination.request: "), "{error}");
        assert!(error.contains("newSegmnt") && error.contains("body"), "{error}");
        assert!(!error.contains("tok-canary"), "{error}");
    }
}

/// Docker makes a folder of a file that is not there when it is mounted. Each is waited for without end otherwise.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_as_database_and_as_backup() {
    let home = Home(Folder::new());
    home.ok(&["init"]);
    let refuses = |code, args: &[&str], said: &str| {
        let done = finished(quintile_by("timeout", &["30", QUINTILE], home.0.path(), args).output().unwrap());
        assert_eq!(done.code, code, "{args:?}: {}{}", done.out, done.err);
        assert!([done.out, done.err].concat().contains(said), "{args:?}");
    };
    fs::rename(home.path("quintile.db"), home.path("whole.db")).unwrap();
    let pipe = |name: &str| assert!(Command::new("mkfifo").arg(home.path(name)).status().unwrap().success());
    pipe("pipe");
    refuses(2, &["restore", "pipe"], "error: pipe is no file; name a backup\n");
    fs::create_dir(home.path("quintile.db")).unwrap();
    let commands: [&[&str]; 4] = [&["serve"], &["customers"], &["check"], &["restore", "whole.db"]];
    for command in commands {
        refuses(1, command, "quintile.db is a folder; [database] path must name a file\n");
    }
    fs::remove_dir(home.path("quintile.db")).unwrap();
    pipe("quintile.db");
    for command in commands {
        refuses(1, command, "quintile.db is no file; [database] path must name a file\n");
    }
    fs::remove_file(home.path("quintile.db")).unwrap();
}
