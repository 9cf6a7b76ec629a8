//! One test per promise about `config.toml`.

mod tools;

use std::path::Path;

use super::{Config, Loading, Missing, Mistake, Secret, known_keys};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

struct File(tempfile::TempDir);

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
        Self(folder)
    }

    fn load<const N: usize>(&self, environment: [(&str, &str); N]) -> Result<Config, String> {
        self.load_with(environment, Missing::Refuse)
    }

    fn load_with<const N: usize>(&self, environment: [(&str, &str); N], missing: Missing) -> Result<Config, String> {
        let folder = format!("{}/", self.0.path().display());
        let loading = Loading { environment: &environment.into(), secrets: missing, also };
        Config::load_with(&self.0.path().join("config.toml"), loading)
            .map_err(|error| error.to_string().replace(&folder, ""))
    }
}

/// What a stage that knows segments might say.
fn also(config: &Config) -> Vec<Mistake> {
    let wrong = |(index, text): (usize, &String)| {
        (text == "champoin").then(|| Mistake {
            path: vec!["destination".into(), 0.into(), "to".into(), index.into()],
            message: "there is no such segment".to_owned(),
        })
    };
    config.destination.iter().flat_map(|destination| destination.to.iter().enumerate()).filter_map(wrong).collect()
}

fn error(text: &str) -> String {
    File::new(text).load([]).expect_err(text)
}

/// A good destination with `line` added.
fn destination(line: &str) -> String {
    format!("[[destination]]\nname = \"tool\"\nurl = \"https://example.com/hook\"\nsecret = \"{SECRET}\"\n{line}")
}

#[test]
fn the_shipped_file_says_the_defaults() {
    let file = File::new(include_str!("../../config.toml"));
    let mut expected = Config::default();
    expected.database.path = file.0.path().join("quintile.db");
    expected.backup.folder = file.0.path().join("backups");
    assert_eq!(file.load([]).unwrap(), expected);
    assert_eq!(File::new("").load([]).unwrap().scoring, expected.scoring);
}

#[test]
fn the_shipped_file_names_every_key_and_no_other() {
    let uncommented: String = include_str!("../../config.toml")
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let table: toml::Table = uncommented.parse().expect("the examples are TOML");
    let mut written = std::collections::BTreeSet::new();
    paths(&toml::Value::Table(table), "", &mut written);
    for key in known_keys() {
        assert!(written.contains(&key), "config.toml does not show {key}");
    }
    let chosen =
        ["import.columns", "import.customer_columns", "destination.vars", "destination.names", "destination.headers"];
    let chosen = chosen.into_iter().chain(["destination.request.headers", "destination.request.form"]);
    let chosen: Vec<String> = chosen.map(|map| format!("{map}.")).collect();
    let secrets =
        ["destination.api_key_env", "destination.token_env", "shopify.client_secret_env", "shopify.token_env"];
    let is_secret = |key: &str| secrets.contains(&key);
    for key in written.iter().filter(|key| !is_secret(key) && !chosen.iter().any(|map| key.starts_with(map))) {
        assert!(known_keys().contains(key), "config.toml shows {key}, which does not exist");
    }
}

fn paths(value: &toml::Value, path: &str, found: &mut std::collections::BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                found.insert(path.clone());
                paths(value, &path, found);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| paths(item, path, found)),
        _ => {}
    }
}

#[test]
fn a_wrong_key_names_the_line_and_the_right_one() {
    for (text, message) in [
        (
            "[scoring]\n  corn = \"0 2 * * *\"",
            "config.toml:2:3: scoring.corn: there is no such key; did you mean `cron`?",
        ),
        ("[dashbord]\n", "config.toml:1:2: dashbord: there is no such section; did you mean `dashboard`?"),
        ("[shop]\ncron = \"0 2 * * *\"", "config.toml:2:1: shop.cron: there is no such key; it belongs into [scoring]"),
        (
            "[shop]\nkeep_dialy = 3",
            "config.toml:2:1: shop.keep_dialy: there is no such key; did you mean `keep_daily` in [backup]?",
        ),
        (
            "keep_dialy = 3",
            "config.toml:1:1: keep_dialy: there is no such section; did you mean `keep_daily` in [backup]?",
        ),
        (
            "[shop]\nscoring = 1",
            "config.toml:2:1: shop.scoring: there is no such key; write [scoring] on a line of its own, outside of [shop]",
        ),
        (
            "[webhooks.shopify]\nsecret = \"x\"",
            "config.toml:2:1: webhooks.shopify.secret: there is no such key; did you mean `secrets`?",
        ),
        ("[database]\nxyz = 1", "config.toml:2:1: database.xyz: there is no such key; write `path`"),
        (
            &destination("adress = 1"),
            "config.toml:5:1: destination.adress: there is no such key; write `name`, `kind`, `url`, `base_url`, `allow_http`, `secret`, `secret_env`, `secret_file`, `events`, `to`, `from`, `cause`, `min_spent`, `fields`, `batch`, `vars`, `names`, `headers` or `request`",
        ),
    ] {
        assert_eq!(error(text), message);
    }
}

#[test]
fn all_wrong_keys_are_told_at_once() {
    assert_eq!(
        error("[scoring]\ntie = \"split\"\nwindow = 3\n[shops]\n"),
        "config.toml:2:1: scoring.tie: there is no such key; did you mean `ties`?\n\
         error: config.toml:3:1: scoring.window: there is no such key; write `cron`, `timezone`, `ties`, `segments`, `window_days`, `hold_above_percent`, `include_without_orders` or `lapsed_days`\n\
         error: config.toml:4:2: shops: there is no such section; did you mean `shop`?"
    );
}

#[test]
fn a_wrong_value_names_the_line_and_a_right_one() {
    let time_table = "write minute, hour, day, month and weekday, like \"0 2 * * *\" for every night at 2";
    for (text, message) in [
        ("[scoring]\ncron = \"0 2 * *\"", format!("2:8: scoring.cron: \"0 2 * *\" has 4 fields, not five; {time_table}")),
        (
            "[scoring]\ncron = \"0 2 30 2 *\"",
            format!("2:8: scoring.cron: \"0 2 30 2 *\" never comes, there is no such date; {time_table}"),
        ),
        ("[scoring]\ncron = \"0 0 2 * * *\"", format!("2:8: scoring.cron: \"0 0 2 * * *\" has 6 fields, not five; {time_table}")),
        ("[scoring]\ntimezone = \"Europe/Berln\"", "2:12: scoring.timezone: \"Europe/Berln\" is not a time zone; did you mean \"Europe/Berlin\"?".to_owned()),
        ("[shop]\ntimezone = \"here\"", "2:12: shop.timezone: \"here\" is not a time zone; write one like \"Europe/Berlin\" or \"UTC\"".to_owned()),
        ("[shop]\ncurrency = \"EURO\"", "2:12: shop.currency: \"EURO\" is not a currency; write its three letters, like \"EUR\"".to_owned()),
        ("[shop]\nid = \"https://demo.myshopify.com/\"", "2:6: shop.id: \"https://demo.myshopify.com/\" is not a plain name; write it without https:// and slashes, like \"demo.myshopify.com\"".to_owned()),
        ("[scoring]\nties = \"togehter\"", "2:8: scoring.ties: \"togehter\" is not known; did you mean \"together\"?".to_owned()),
        ("[scoring]\nsegments = 7", "2:12: scoring.segments: this is a number without quotes; write text in quotes".to_owned()),
        ("[scoring]\nhold_above_percent = 101", "2:22: scoring.hold_above_percent: 101 is more than everyone; write 0 to 100 (100 never holds a run)".to_owned()),
        ("[scoring]\nwindow_days = -1", "2:15: scoring.window_days: this is out of range; write a whole number from 0 to 4294967295, without quotes".to_owned()),
        ("[scoring]\nwindow_days = \"90\"", "2:15: scoring.window_days: this is text; write a whole number from 0 to 4294967295, without quotes".to_owned()),
        ("[scoring]\nwindow_days = 99999999999999999999", "2:15: scoring.window_days: this number is too large".to_owned()),
        ("[scoring]\nlapsed_days = [0]", "2:16: scoring.lapsed_days: 0 is not a number of days from 1 to 3650; write it like [30, 90]".to_owned()),
        ("[scoring]\nlapsed_days = [90, 30]", "2:20: scoring.lapsed_days: 30 comes after a larger number; write the smallest first, like [30, 90]".to_owned()),
        ("[scoring]\nlapsed_days = [30, 30]", "2:20: scoring.lapsed_days: 30 stands here twice; write each number of days once, like [30, 90]".to_owned()),
        ("[scoring]\ninclude_without_orders = \"yes\"", "2:26: scoring.include_without_orders: this is text; write true or false, without quotes".to_owned()),
        ("[scoring]\nsegments = \"custom\"", "2:12: scoring.segments: \"custom\" needs at least one [[segment]] with name, r, f and m; or write \"classic\"".to_owned()),
        ("[dashboard]\nlisten = \"localhost\"", "2:10: dashboard.listen: \"localhost\" is not an address with a port; write it like \"127.0.0.1:8787\"".to_owned()),
        ("[dashboard]\nlisten = \"0.0.0.0:8787\"", "2:10: dashboard.listen: 0.0.0.0:8787 would show every customer to whoever reaches this computer; run `quintile hash-password` and write what it prints as password_hash, or write \"127.0.0.1:8787\"".to_owned()),
        ("[dashboard]\nlisten = \"[::]:8787\"", "2:10: dashboard.listen: [::]:8787 would show every customer to whoever reaches this computer; run `quintile hash-password` and write what it prints as password_hash, or write \"127.0.0.1:8787\"".to_owned()),
        ("[dashboard]\npassword_hash = \"a good password\"", "2:17: dashboard.password_hash: this is not a hash of a password; run `quintile hash-password` and write what it prints, or leave it empty".to_owned()),
        ("[dashboard]\n[[dashboard.token]]\nname = \"a\"\nscopes = [\"write\"]", "4:11: dashboard.token.scopes: \"write\" is not known; write \"ingest\", \"read\" or \"admin\"".to_owned()),
        ("[[dashboard.token]]\nname = \"a\"\nscopes = [\"read\"]\nhash = \"x\"", "4:8: dashboard.token.hash: this is not the hash of a token; run `quintile token NAME --scope read` and write what it prints".to_owned()),
        ("[[dashboard.token]]\nname = \"a\"\nscope = [\"read\"]", "3:1: dashboard.token.scope: there is no such key; did you mean `scopes`?".to_owned()),
        ("[dashboard]\nlisten = \"127.0.0.1:8788\"", "2:10: dashboard.listen: webhooks listen on 127.0.0.1:8788 too; give the dashboard another port, so that a tunnel to the webhooks does not show it".to_owned()),
        ("[forwarder]\nallow_private = [\"10.0.0.1\"]", "2:18: forwarder.allow_private: \"10.0.0.1\" is not a network; write \"10.0.0.1/32\" for this one address".to_owned()),
        ("[forwarder]\nallow_private = [\"10.0.0.0/33\"]", "2:18: forwarder.allow_private: \"10.0.0.0/33\" is not a network; write it like \"127.0.0.0/8\"".to_owned()),
        ("[forwarder]\nallow_private = \"10.0.0.0/8\"", "2:17: forwarder.allow_private: this is text; write a list like [\"one\", \"two\"]".to_owned()),
        ("[import]\ndate_format = \"%d.%Q\"", "2:15: import.date_format: \"%d.%Q\" is not a date format; write it like \"%d.%m.%Y %H:%M\"".to_owned()),
        ("[import.columns]\nordered = \"Date\"", "2:11: import.columns.ordered: there is no such column; did you mean \"order_id\"?".to_owned()),
        ("[webhooks.shopify]\nsecrets = [\"x\", \" \"]", "2:17: webhooks.shopify.secrets: an empty secret would let everyone in; write the secret, or secrets = []".to_owned()),
        ("shop = 5", "1:8: shop: this is a number without quotes; write a section of keys and values".to_owned()),
        ("[shop]\nid = demo", "2:6: this is not TOML: string values must be quoted, expected literal string".to_owned()),
    ] {
        assert_eq!(error(text), format!("config.toml:{message}"));
    }
}

#[test]
fn a_wrong_destination_names_the_line_and_what_to_write() {
    for (line, message) in [
        ("kind = \"klavyo\"", "5:8: destination.kind: there is no kind \"klavyo\"; did you mean \"klaviyo\"?"),
        ("uri = \"x\"", "5:1: destination.uri: there is no such key; did you mean `url`?"),
        ("kind = \"webhok\"", "5:8: destination.kind: there is no kind \"webhok\"; did you mean \"webhook\"?"),
        ("secret_env = \"NAME\"", "5:14: destination.secret_env: write only one of secret, secret_env"),
        ("batch = 0", "5:9: destination.batch: 0 is not possible; write 1 to 100"),
        ("batch = 101", "5:9: destination.batch: 101 is not possible; write 1 to 100"),
        ("min_spent = \"12,50\"", "5:13: destination.min_spent: \"12,50\" is not an amount; write it like 1234.50"),
        ("fields = [\"rfm\", \"mail\"]", "5:18: destination.fields: \"mail\" is not known; did you mean \"email\"?"),
        ("cause = [\"orders\"]", "5:10: destination.cause: \"orders\" is not known; did you mean \"order\"?"),
        (
            "[[destination]]\nname = \"tool\"\nurl = \"https://b.example\"\nsecret_env = \"S\"",
            "6:8: destination.name: two destinations are called \"tool\"; give each its own name",
        ),
    ] {
        let found = File::new(&destination(line)).load([("S", SECRET)]).expect_err(line);
        assert_eq!(found, format!("config.toml:{message}"));
    }
    for (text, message) in [
        (
            "[[destination]]\nname = \"a\"\nsecret_env = \"S\"",
            "1:1: destination.url: this destination has no url; write the address that your tool shows, like url = \"https://example.com/hooks/quintile\"",
        ),
        (
            "[[destination]]\nname = \"a\"\nsecret_env = \"S\"\nurl = \"http://a.example\"",
            "4:7: destination.url: this is plain http, which others on the way can read; write https://, or allow_http = true for a tool on this machine",
        ),
        (
            "[[destination]]\nname = \"a\"\nsecret_env = \"S\"\nurl = \"a.example/hook\"",
            "4:7: destination.url: this is not a web address; write the one that your tool shows, like \"https://example.com/hooks/quintile\"",
        ),
        (
            "[[destination]]\nname = \"a\"\nurl = \"https://a.example\"",
            "1:1: destination: there is no secret to sign with; write secret = \"whsec_…\" with the output of `openssl rand -base64 32` after \"whsec_\", or secret_env, or secret_file",
        ),
        (
            "[[destination]]\nname = \"a\"\nurl = \"https://a.example\"\nsecret_env = \"T\"",
            "4:14: destination.secret_env: the environment variable T is not set; set it to the secret",
        ),
        (
            "[[destination]]\nname = \"a\"\nurl = \"https://a.example\"\nsecret_env = \"U\"",
            "4:14: destination.secret_env: this is not a signing secret; write \"whsec_\" and the base64 of 24 to 64 random bytes, which `openssl rand -base64 32` prints",
        ),
    ] {
        let found = File::new(text).load([("S", SECRET), ("U", "hunter2")]).expect_err(text);
        assert_eq!(found, format!("config.toml:{message}"));
    }
}

#[test]
fn no_error_shows_a_secret() {
    for text in [
        "[webhooks.orders]\nsecrets = [\"hunter2\"]",
        "[webhooks.orders]\nsecrets = \"hunter2\"",
        "[webhooks.orders]\nsecrets = [\"hunter2]\n",
        "[webhooks.orders]\nsecrets = hunter2",
        "[webhooks.orders]\nsecrets = [hunter2]",
        "[webhooks.orders]\nsecrts = [\"hunter2\"]",
        "[webhooks]\norders = \"hunter2\"",
        "[dashboard]\npassword_hash = [\"hunter2\"]",
        "[dashboard]\npassword_hash = \"hunter2\"\npassword_hash = \"hunter2\"",
        "[[destination]]\nname = \"a\"\nurl = \"https://a.example/hunter2\"\nsecret = \"hunter2\"",
        "[[destination]]\nname = \"a\"\nurl = \"ftp://hunter2\"\nsecret = \"whsec_hunter2\"",
        "[[destination]]\nname = \"a\"\nurl = [\"hunter2\"]\nsecret = { a = \"hunter2\" }",
    ] {
        let message = error(text);
        assert!(!message.contains("hunter2"), "{message}");
    }
    let numbers = error("[webhooks.orders]\nsecrets = [81726354]");
    assert!(!numbers.contains("81726354"), "{numbers}");
    let file = File::new("");
    for name in ["QUINTILE_WEBHOOKS__ORDERS__SECRETS", "QUINTILE_WEBHOOK__ORDERS__SECRETS"] {
        let message = file.load([(name, "[\"hunter2\"")]).unwrap_err();
        assert!(message.starts_with(name) && !message.contains("hunter2"), "{message}");
    }
    let config = File::new(&destination("")).load([]).unwrap();
    assert!(!format!("{config:?}").contains("MfKQ9r8"));
}

#[test]
fn the_environment_overrides_the_file() {
    let file = File::new(&format!(
        "[scoring]\nhold_above_percent = 3\n[[dashboard.token]]\nname = \"reports\"\nscopes = [\"read\"]\n{}",
        destination("")
    ));
    std::fs::write(file.0.path().join("secrets"), format!("{SECRET}\n\n{SECRET}\n")).unwrap();
    let hash = format!("sha256:{}", "0a".repeat(32));
    let config = file
        .load([
            ("QUINTILE_CONFIG", "ignored"),
            ("QUINTILE_LOG", "debug"),
            ("QUINTILE_LOG_FORMAT", "json"),
            ("QUINTILE_DASHBOARD__LISTEN", "127.0.0.1:9999"),
            ("QUINTILE_DASHBOARD__TOKEN__REPORTS__HASH", hash.as_str()),
            ("QUINTILE_SCORING__HOLD_ABOVE_PERCENT", "40"),
            ("QUINTILE_SCORING__TIES", "split"),
            ("QUINTILE_ORDERS__COUNT_PENDING", "true"),
            ("QUINTILE_WEBHOOKS__SHOPIFY__SECRETS", "one, two"),
            ("QUINTILE_WEBHOOKS__WOOCOMMERCE__SECRETS", r#"["with,comma"]"#),
            ("QUINTILE_WEBHOOKS__ORDERS__SECRETS_FILE", "secrets"),
            ("QUINTILE_IMPORT__COLUMNS__EMAIL", "Mail"),
            ("QUINTILE_DESTINATION__TOOL__SECRET_ENV", "ELSEWHERE"),
            ("QUINTILE_DESTINATION__TOOL__TO", "lost"),
            ("ELSEWHERE", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ])
        .unwrap();
    assert_eq!(config.dashboard.listen, ([127, 0, 0, 1], 9999).into());
    assert_eq!(config.dashboard.token[0].digest(), Some([10; 32]));
    assert_eq!(config.scoring.hold_above_percent, 40);
    assert_eq!(config.scoring.ties, super::Ties::Split);
    assert!(config.orders.count_pending);
    assert_eq!(config.webhooks.shopify.secrets, [Secret::new("one"), Secret::new("two")]);
    assert_eq!(config.webhooks.woocommerce.secrets, [Secret::new("with,comma")]);
    assert_eq!(config.webhooks.orders.secrets, [Secret::new(SECRET), Secret::new(SECRET)]);
    assert_eq!(config.import.columns["email"], "Mail");
    assert_eq!(config.destination[0].secret, Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    assert_eq!(config.destination[0].to, ["lost"]);
}

#[test]
fn a_wrong_variable_is_named() {
    let file = File::new(&destination(""));
    for (name, value, message) in [
        ("QUINTILE_DASHBOARD_LISTEN", "x", "there is no such key; did you mean QUINTILE_DASHBOARD__LISTEN?"),
        ("QUINTILE_DASHBORD__LISTEN", "x", "there is no such key; did you mean QUINTILE_DASHBOARD__LISTEN?"),
        ("QUINTILE_DASHBOARD__TOKEN__ALL__HASH", "x", "no [[dashboard.token]] of the file has the name \"all\""),
        ("QUINTILE_X", "x", "there is no such key; the name is QUINTILE_SECTION__KEY, like QUINTILE_DASHBOARD__LISTEN"),
        (
            "QUINTILE_DASHBOARD__LISTEN",
            "x",
            "dashboard.listen: \"x\" is not an address with a port; write it like \"127.0.0.1:8787\"",
        ),
        (
            "QUINTILE_SCORING__HOLD_ABOVE_PERCENT",
            "many",
            "scoring.hold_above_percent: this is text; write a whole number from 0 to 4294967295, without quotes",
        ),
        (
            "QUINTILE_SCORING__HOLD_ABOVE_PERCENT",
            "200",
            "scoring.hold_above_percent: 200 is more than everyone; write 0 to 100 (100 never holds a run)",
        ),
        ("QUINTILE_DESTINATION__OTHER__URL", "x", "no [[destination]] of the file has the name \"other\""),
        (
            "QUINTILE_DESTINATION__TOOL__URL",
            "x",
            "destination.url: this is not a web address; write the one that your tool shows, like \"https://example.com/hooks/quintile\"",
        ),
        ("QUINTILE_DESTINATION__TOOL__BATCH", "0", "destination.batch: 0 is not possible; write 1 to 100"),
    ] {
        let found = file.load([(name, value)]);
        assert_eq!(found.unwrap_err(), format!("{name}: {message}"));
    }
    let gone = file.load([("QUINTILE_WEBHOOKS__SHOPIFY__SECRETS_FILE", "/nowhere/at/all")]).unwrap_err();
    assert!(
        gone.starts_with("QUINTILE_WEBHOOKS__SHOPIFY__SECRETS_FILE: cannot read the file /nowhere/at/all"),
        "{gone}"
    );
}

#[test]
fn a_variable_without_a_secret_does_not_do_away_with_one() {
    let text = [
        "[webhooks.shopify]\nsecrets = [\"a-good-secret-of-the-shop\"]",
        "[shop]\nid = \"demo.myshopify.com\"\n[shopify]\ntoken = \"shpat_x\"",
        "[dashboard]\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\"",
        &destination(""),
    ];
    let file = File::new(&text.join("\n"));
    assert_eq!(file.load([]).map(|_| ()), Ok(()));
    let empty = file.0.path().join("empty");
    std::fs::write(&empty, "\n \r\n").unwrap();
    for key in [
        "WEBHOOKS__SHOPIFY__SECRETS",
        "WEBHOOKS__WOOCOMMERCE__SECRETS",
        "WEBHOOKS__ORDERS__SECRETS",
        "SHOPIFY__TOKEN",
        "SHOPIFY__CLIENT_SECRET",
        "DASHBOARD__PASSWORD_HASH",
        "DESTINATION__TOOL__SECRET",
    ] {
        let name = format!("QUINTILE_{key}");
        for value in ["", " ", ",", " , "] {
            let found = file.load([(name.as_str(), value)]).unwrap_err();
            assert_eq!(found, format!("{name}: this is set but holds no secret; put the secret there, or unset it"));
        }
        let name = format!("{name}_FILE");
        let found = file.load([(name.as_str(), "empty")]).unwrap_err();
        assert!(found.starts_with(&format!("{name}: ")) && found.contains("empty"), "{found}");
    }
    // Said in so many words, there is none.
    let none = file.load([("QUINTILE_WEBHOOKS__SHOPIFY__SECRETS", "[]")]).unwrap();
    assert!(none.webhooks.shopify.secrets.is_empty());
}

#[test]
fn a_command_that_only_looks_needs_no_secrets() {
    let text = "[[destination]]\nname = \"a\"\nurl = \"https://a.example\"\nsecret_env = \"GONE\"";
    let file = File::new(text);
    assert!(file.load([]).is_err());
    assert!(file.load_with([], Missing::Allow).unwrap().destination[0].secret.is_empty());
    let short = file.load_with([("GONE", "hunter2")], Missing::Allow).unwrap_err();
    assert!(short.contains("not a signing secret"), "{short}");
}

#[test]
#[cfg(unix)]
fn a_link_to_a_database_is_followed() {
    let file = File::new("[database]\npath = \"shop.db\"");
    let at = |name: &str| file.0.path().join(name);
    std::fs::create_dir(at("disk")).unwrap();
    std::os::unix::fs::symlink("disk/one.db", at("shop.db")).unwrap();
    assert_eq!(file.load([]).unwrap().database.path, at("disk/one.db"), "there or not yet");
    std::os::unix::fs::symlink("two.db", at("disk/one.db")).unwrap();
    assert_eq!(file.load([]).unwrap().database.path, at("disk/two.db"));
}

#[test]
fn paths_start_from_the_folder_of_the_file() {
    let file = File::new("[database]\npath = \"data/shop.db\"");
    assert_eq!(file.load([]).unwrap().database.path, file.0.path().join("data/shop.db"));
    assert_eq!(
        File::new("[database]\npath = \"/data/shop.db\"").load([]).unwrap().database.path,
        Path::new("/data/shop.db")
    );
    let missing = Config::load(Path::new("/nowhere/config.toml"));
    assert_eq!(missing.unwrap_err().to_string(), "no config.toml at /nowhere/config.toml; `quintile init` writes one");
}

#[test]
fn what_imports_and_shops_may_say() {
    for (text, message) in [
        (
            "[webhooks]\nbody_limit_mib = 0",
            "config.toml:2:18: webhooks.body_limit_mib: 0 is not possible; write 1 to 64, like 8",
        ),
        (
            "[webhooks]\nbody_limit_mib = 65",
            "config.toml:2:18: webhooks.body_limit_mib: 65 is not possible; write 1 to 64, like 8",
        ),
        (
            "[import]\nsource = \"woocomerce\"",
            "config.toml:2:10: import.source: \"woocomerce\" is nowhere that orders come from; did you mean \"woocommerce\"?",
        ),
        (
            "[import]\nupload_limit_mb = 0",
            "config.toml:2:19: import.upload_limit_mb: 0 would refuse every file; write how many megabytes a file may have, like 2000",
        ),
        (
            "[import.customer_columns]\nemial = \"Mail\"",
            "config.toml:2:9: import.customer_columns.emial: there is no such column; did you mean \"email\"?",
        ),
        (
            "[orders]\npaid_statuses = [\"completed\", \"cancelled\"]",
            "config.toml:2:31: orders.paid_statuses: \"cancelled\" is no sale and cannot count; take it out",
        ),
        (
            "[orders]\npaid_statuses = [\"On Hold\"]",
            "config.toml:2:18: orders.paid_statuses: \"On Hold\" is not a status of WooCommerce; write it as its database does, like \"on-hold\"",
        ),
    ] {
        assert_eq!(error(text), message);
    }
}

const APP: &str = "[shop]\nid = \"apples.myshopify.com\"\n[shopify]\nclient_id = \"id\"\n";

#[test]
fn credentials_stand_in_the_file_the_environment_or_a_file() {
    let loaded = |config: Config| (config.shopify.client_secret.expose().to_owned(), config.webhooks.shopify.secrets);
    let expected = ("shpss_x".to_owned(), vec![Secret::new("shpss_x")]);
    let inline = File::new(&format!("{APP}client_secret = \"shpss_x\""));
    assert_eq!(loaded(inline.load([]).unwrap()), expected, "it signs the app's webhooks too");
    let named = File::new(&format!("{APP}client_secret = \"\"\nclient_secret_env = \"NAME\""));
    assert_eq!(loaded(named.load([("NAME", " shpss_x\n")]).unwrap()), expected, "the shipped empty key is none");
    let filed = File::new(&format!("{APP}client_secret_file = \"secret\""));
    std::fs::write(filed.0.path().join("secret"), "shpss_x\n").unwrap();
    assert_eq!(loaded(filed.load([]).unwrap()), expected);
    for (variable, value) in [
        ("QUINTILE_SHOPIFY__CLIENT_SECRET", "shpss_x"),
        ("QUINTILE_SHOPIFY__CLIENT_SECRET_FILE", "secret"),
        ("QUINTILE_SHOPIFY__CLIENT_SECRET_ENV", "NAME"),
    ] {
        // The variable is the last word, whatever the file says.
        let file = File::new(&format!("{APP}client_secret = \"shpss_y\""));
        std::fs::write(file.0.path().join("secret"), "shpss_x").unwrap();
        assert_eq!(loaded(file.load([(variable, value), ("NAME", "shpss_x")]).unwrap()), expected, "{variable}");
    }
}

#[test]
fn credentials_that_are_not_there_are_refused_or_remembered() {
    let file = File::new(&format!("{APP}client_secret_env = \"NAME\""));
    let message = "shopify.client_secret_env: the environment variable NAME is not set; set it to the secret";
    assert_eq!(file.load([]).unwrap_err(), format!("config.toml:5:1: {message}").replace(":5:1", ":5:21"));
    let config = file.load_with([], Missing::Allow).unwrap();
    assert_eq!(config.shopify.missing, [message]);
    assert!(config.shopify.is_configured());
}

#[test]
fn what_may_be_the_secret_itself_is_never_said() {
    let of_tool =
        |key: &str, value: &str| format!("[[destination]]\nname = \"a\"\nkind = \"klaviyo\"\n{key} = \"{value}\"");
    let of_webhook = |key: &str, value: &str| {
        format!("[[destination]]\nname = \"a\"\nurl = \"https://a.example\"\n{key} = \"{value}\"")
    };
    for secret in [
        SECRET,
        "pk_0123456789",
        "eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfGHACGpVUMN",
        "4F00",
        "A1B2C3D4E5F6SECRETKEY",
        "/9j4AAQSkZJRgABAQAAAQABAAD2wBDAAgGBgcGBQg=",
        "tok.abc12",
    ] {
        for (text, key, into) in [
            (of_webhook("secret_env", secret), "secret_env", "secret"),
            (of_webhook("secret_file", secret), "secret_file", "secret"),
            (of_tool("api_key_env", secret), "api_key_env", "api_key"),
            (of_tool("api_key_file", secret), "api_key_file", "api_key"),
            (format!("{APP}token_env = \"{secret}\""), "token_env", "token"),
        ] {
            let said = error(&text);
            let expected = format!("{key}: what stands here ");
            assert!(
                said.contains(&expected) && said.contains(&format!("the secret itself goes into {into}")),
                "{said}"
            );
            assert!(!said.contains(secret), "{said}");
        }
        let said = File::new("").load([("QUINTILE_WEBHOOKS__SHOPIFY__SECRETS_FILE", secret)]).unwrap_err();
        assert!(said.ends_with("the secret itself goes into QUINTILE_WEBHOOKS__SHOPIFY__SECRETS"), "{said}");
        assert!(!said.contains(secret), "{said}");
    }
    for file in ["/run/secrets/key", "./key", "../key", "keys/key.txt"] {
        let said = error(&of_tool("api_key_file", file));
        assert!(said.contains(&format!("cannot read the file {file}: ")), "{said}");
    }
    for name in ["KEY_2", "KEY"] {
        assert!(error(&of_webhook("secret_env", name)).contains(&format!("variable {name} is not set")));
    }
}

#[test]
fn settings_of_the_pull_say_what_to_write() {
    for (text, message) in [
        (
            &*format!("{APP}client_secret = \"a\"\nclient_secret_env = \"B\""),
            "write only one of client_secret, client_secret_env",
        ),
        (APP, "there is no client_secret beside it"),
        ("[shop]\nid = \"a.myshopify.com\"\n[shopify]\nclient_secret = \"a\"", "there is no client_id beside it"),
        (&format!("{APP}client_secret = \"a\"\ntoken = \"b\""), "write either those two or the token"),
        ("[shop]\nid = \"apples.example\"\n[shopify]\ntoken = \"b\"", "which ends in .myshopify.com"),
        ("[shopify]\napi_version = \"latest\"", "is not a version of Shopify's API; write \"2026-07\""),
        ("[shopify]\nbase_url = \"http://apples.example\"", "write https:// and a host"),
        ("[shopify]\nbase_url = \"https://user@apples.example\"", "write https:// and a host"),
        ("[shopify]\ntoken_evn = \"X\"", "did you mean `token_env`?"),
        ("[sync]\nevery_hours = 0", "0 is not a number of hours from 1 to 168; write 6"),
        (
            "[sync]\nwebhook_address = \"http://shop.example/webhooks/shopify\"",
            "write the address under which the shop reaches",
        ),
        ("[sync]\nwebhook_address = \"https://shop.example/\"", "write the address under which the shop reaches"),
    ] {
        let told = error(text);
        assert!(told.contains(message), "{text}: {told}");
    }
}

#[test]
fn backups_are_kept_somewhere() {
    for (text, message) in [
        (
            "[backup]\nkeep_daily = 0",
            "config.toml:2:14: backup.keep_daily: 0 would keep no backup; write at least 1, or folder = \"\" to make none",
        ),
        (
            "[backup]\ncopy_to = \"backups\"",
            "config.toml:2:11: backup.copy_to: this is the folder of the backups themselves; name one on another disk",
        ),
        (
            "[backup]\nfolder = \"\"\ncopy_to = \"/mnt\"",
            "config.toml:3:11: backup.copy_to: there is nothing to copy while folder is empty; name that too, like \"backups\"",
        ),
        ("[backup]\nfolde = \"x\"", "config.toml:2:1: backup.folde: there is no such key; did you mean `folder`?"),
    ] {
        assert_eq!(error(text), message);
    }
    let file = File::new("[backup]\nfolder = \"\"");
    assert_eq!(file.load([]).unwrap().backup.folder, std::path::PathBuf::new(), "empty stays empty");
}
