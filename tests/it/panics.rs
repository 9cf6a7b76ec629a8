//! A bug with every secret in its hands: what is told of it says where it is, and no more.

use std::process::{Command, Output, Stdio};

use quintile::{bug, config::Config, db::Database, delivery::destination::Destination};

use crate::support::{folder::Folder, process::quintile};

/// Planted wherever a secret may stand. The é is where a text must not be cut.
const CANARIES: [&str; 15] = [
    "shopify-canary",
    "woo-canary",
    "bm8gb25lIG1heSBzZWUgdGhpcyBrZXkgb2YgbWluZSE=",
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$LJJYK5xRjQgOPmTw8nbqBJBCY2p1Rbh5tVuF8tYHyL0",
    "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
    "id-canary",
    "client-é-canary",
    "path-canary",
    "query-canary",
    "header-canary",
    "token-canary",
    "template-canary",
    "body-canary",
    "klaviyo-canary",
    "chimp-canary",
];

fn configuration() -> String {
    let [shopify, woo, key, hash, digest, id, client, path, query, header, _, template, body, klaviyo, chimp] =
        CANARIES;
    format!(
        r#"
[webhooks.shopify]
secrets = ["{shopify}"]
[webhooks.woocommerce]
secrets = ["{woo}"]
[webhooks.orders]
secrets = ["whsec_{key}"]
[dashboard]
password_hash = "{hash}"
[[dashboard.token]]
name = "reports"
scopes = ["read"]
hash = "sha256:{digest}"
[shopify]
client_id = "{id}"
client_secret = "{client}"
[[destination]]
name = "tool"
url = "https://hooks.example.com/{path}?key={query}"
secret = "whsec_{key}"
headers = {{ x-key = "{header}" }}
[[destination]]
name = "crm"
kind = "template"
token_env = "CRM_TOKEN"
[[destination.request]]
method = "PUT"
url = "https://crm.example/{template}/{{{{ secret.token }}}}"
body = '{{"key": "{body}", "segment": {{{{ event.newSegment }}}}}}'
[[destination]]
name = "mail"
kind = "klaviyo"
api_key = "{klaviyo}"

[[destination]]
name = "post"
kind = "mailchimp"
api_key = "{chimp}-us1"
vars = {{ list = "1" }}
"#
    )
}

/// The merchant's folder, with the configuration in it.
fn home() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path().join("config.toml"), configuration()).unwrap();
    folder
}

/// Everything that a command said.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn check_nothing_is_told(said: &str) {
    for canary in CANARIES {
        assert!(!said.contains(canary), "{canary} is told:\n{said}");
    }
}

#[test]
#[ignore = "panics on purpose: the next test has a process for it"]
fn bugs_of_every_kind() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    bug::tell_panics_in_the_log();
    let folder = std::env::current_dir().unwrap();
    let config: &'static Config = Box::leak(Box::new(Config::load(&folder.join("config.toml")).unwrap()));
    let destinations = Destination::from_config(config).unwrap();
    let secret = config.shopify.client_secret.expose();
    let cut = secret.find('é').unwrap() + 1;
    let database = Database::open(&folder.join("quintile.db"), "test").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let task = tokio::spawn(async move { panic!("with {config:?} and {destinations:#?}") });
        let told = bug::NoResult::from(task.await.map(|()| 0).unwrap_err());
        let task = tokio::task::spawn_blocking(move || secret[..cut].len());
        let cut_told = bug::NoResult::from(task.await.unwrap_err());
        let written = database.writer().write(move |_| Ok(secret.parse::<i64>().map_err(|_| secret).unwrap())).await;
        let read = database.readers().read(move |_| -> anyhow::Result<()> { panic!("reading with {secret}") }).await;
        let thread = std::thread::spawn(move || assert_eq!(secret, "something else")).join();
        assert!(thread.is_err());
        let literal = tokio::spawn(async { panic!("a text of ours") });
        literal.await.map(|()| 0).unwrap_err();
        eprintln!("{told}; {cut_told}; {:#}; {:#}", written.unwrap_err(), read.unwrap_err());
    });
}

#[test]
fn a_panic_says_where_it_is_and_not_what_it_says() {
    let home = home();
    for backtrace in ["0", "1"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["panics::bugs_of_every_kind", "--exact", "--ignored", "--nocapture"])
            .current_dir(home.path())
            .env("CRM_TOKEN", "token-canary")
            .env("RUST_BACKTRACE", backtrace)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = said(&child);
        assert!(child.status.success(), "{said}");
        assert_eq!(said.matches("a bug in quintile place=").count(), 6, "{said}");
        assert_eq!(said.matches("says=\"(left out: it may quote what nobody may see)\"").count(), 5, "{said}");
        assert!(said.contains("says=\"a text of ours\""), "{said}");
        assert_eq!(said.contains("trace="), backtrace == "1", "{said}");
        for told in [
            "a bug in quintile stopped it; the log says where; a bug in quintile stopped it; the log says where; ",
            "a bug in quintile stopped this write; nothing of it was stored; ",
            "a read was interrupted: a bug in quintile stopped it; the log says where\n",
        ] {
            assert!(said.contains(told), "{told}: {said}");
        }
        check_nothing_is_told(&said);
    }
}

/// A real panic of the real program: the system has no threads to give, which tokio does not expect.
#[test]
#[cfg(target_os = "linux")]
fn the_program_itself_tells_of_bugs_in_its_log() {
    let home = home();
    for format in ["text", "json"] {
        let output = quintile(home.path(), &["--log-format", format, "sync"])
            .env("CRM_TOKEN", "token-canary")
            .env("QUINTILE_LOG", "trace")
            .env("RUST_MIN_STACK", (1_u64 << 47).to_string())
            .output()
            .unwrap();
        let said = said(&output);
        assert!(said.contains("a bug in quintile"), "{said}");
        check_nothing_is_told(&said);
    }
}

#[test]
fn no_debug_text_shows_a_secret() {
    let home = home();
    let environment = quintile::config::Environment::from([("CRM_TOKEN", "token-canary")]);
    let loading = quintile::config::Loading {
        environment: &environment,
        secrets: quintile::config::Missing::Refuse,
        also: |_| Vec::new(),
    };
    let config = Config::load_with(&home.path().join("config.toml"), loading).unwrap();
    let destinations = Destination::from_config(&config).unwrap();
    let routes = quintile::outbox::Route::from_config(&config).unwrap();
    let texts = [
        format!("{config:?}{config:#?}"),
        format!("{destinations:?}{:?}", destinations.iter().map(Destination::masked_url).collect::<Vec<_>>()),
        format!("{routes:?}"),
        format!("{environment:?}"),
        format!("{:?}", config.effective()),
    ];
    for text in &texts {
        assert!(text.contains("tool") || text.contains("CRM_TOKEN"), "{text}");
        check_nothing_is_told(text);
    }
}
