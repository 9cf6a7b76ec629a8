//! What is in force, and where it came from.

use axum::http::StatusCode;
use quintile::{
    backups::Backups,
    config::{Config, Environment, Loading, Missing},
    model::Timestamp,
};

use crate::support::{
    folder::Folder,
    pages::{NOW, Shop},
};

const FILE: &str = r#"
[shop]
id = "lantern.example"
[webhooks.shopify]
secrets = ["a-secret-of-the-shop"]
[scoring]
hold_above_percent = 30
[[destination]]
name = "my-tool"
url = "https://hooks.example/in/very-secret-path?key=1"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
headers = { X-Token = "a-token-in-a-header" }
[[destination]]
name = "klaviyo"
kind = "klaviyo"
api_key_file = "klaviyo.key"
"#;

/// A shop with a configuration as a merchant writes one.
fn configured(shop: &mut Shop) -> Folder {
    let folder = Folder::new();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, FILE).unwrap();
    std::fs::write(folder.path().join("klaviyo.key"), "pk_a-key-of-klaviyo").unwrap();
    let environment = Environment::from([("QUINTILE_SCORING__CRON", "30 3 * * *")]);
    let loading = Loading { environment: &environment, secrets: Missing::Refuse, also: |_| Vec::new() };
    shop.config = Config::load_with(&path, loading).unwrap();
    folder
}

#[test]
fn every_value_says_where_it_came_from_and_no_secret_is_shown() {
    let mut shop = Shop::scored(50);
    let _folder = configured(&mut shop);
    let page = shop.get("/settings");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text("nav a[aria-current]"), "Settings");
    let rows = page.texts(".set tr");
    assert!(rows.iter().any(|row| row.starts_with("path") && row.ends_with("quintile.dbdefault")), "{rows:?}");
    for row in [
        "idlantern.exampleconfig.toml, line 3",
        "currencyEURdefault",
        "secretssetconfig.toml, line 5",
        "cron30 3 * * *variable QUINTILE_SCORING__CRON",
        "hold_above_percent30config.toml, line 7",
        "urlhttps://hooks.example/…config.toml, line 10",
        "secretwhsec_…MDE=config.toml, line 11",
        "headersX-Tokenconfig.toml, line 12",
        "api_keysetfile klaviyo.key",
        "password_hashnot setdefault",
    ] {
        assert!(rows.contains(&row.to_owned()), "{row} is not in\n{}", rows.join("\n"));
    }
    for secret in ["of-the-shop", "very-secret-path", "MDEyMzQ1", "a-token", "a-key-of-klaviyo"] {
        assert!(!page.body.contains(secret), "{secret}");
    }
    // Nothing to press: the file is the truth.
    assert_eq!(page.texts("form, button, input").len(), 0);
}

#[test]
fn the_card_of_backups_tells_the_last_one_and_what_failed() {
    let mut shop = Shop::empty();
    let card = |shop: &Shop| shop.get("/settings").text("section[aria-labelledby=t-bak]");
    shop.config.backup.folder = std::path::PathBuf::new();
    assert!(card(&shop).contains("None are made: [backup] folder is empty"));
    shop.config.database.path = shop.database.path().to_owned();
    shop.config.backup.folder = shop.folder.path().join("nights");
    let said = card(&shop);
    assert!(said.contains("None yet; the next night makes one"), "{said}");
    assert!(said.contains("7 daily, 4 weekly") && said.contains("a broken disk would take the backups too"), "{said}");

    shop.config.backup.copy_to = shop.folder.path().join("second");
    let backups = Backups::from_config(&shop.config);
    shop.backups = Some(backups.clone());
    let noon = Timestamp::from_millis(NOW);
    backups.make(noon.plus_millis(-60_000)).unwrap();
    backups.finish(noon.plus_millis(-60_000)).unwrap_err(); // there is no second folder
    let said = card(&shop);
    assert!(said.contains("Failed today at 11:59: ") && said.contains("is its drive connected?"), "{said}");
    let notices = shop.get("/").texts(".notice").join(" ");
    assert!(notices.contains("Backup not finished") && notices.contains("tried again every hour"), "{notices}");
    std::fs::create_dir(shop.folder.path().join("second")).unwrap();
    backups.finish(noon).unwrap();
    assert!(!shop.get("/").body.contains("Backup not finished"));
    let said = card(&shop);
    assert!(!said.contains("Failed") && said.contains("today at 11:59"), "{said}");
    assert!(said.contains("quintile-20261123T105900Z.db"), "{said}");
    let metrics = shop.get("/metrics").body;
    let seconds = NOW / 1000 - 60;
    assert!(metrics.contains(&format!("\nquintile_last_backup_timestamp_seconds {seconds}\n")), "{metrics}");
}

#[test]
fn the_database_and_the_versions_are_told() {
    let shop = Shop::scored(50);
    let page = shop.get("/settings");
    let facts = page.texts(".facts div");
    assert!(facts[0].ends_with("quintile.db"), "{facts:?}");
    assert!(facts[1].starts_with("Size") && facts[1].ends_with("kB"), "{facts:?}");
    assert!(facts.iter().any(|fact| fact == &format!("quintile{}", env!("CARGO_PKG_VERSION"))), "{facts:?}");
    assert!(facts.iter().any(|fact| fact == &format!("SQLite{}", rusqlite::version())), "{facts:?}");
    let schema: i64 = shop.value("PRAGMA user_version");
    assert!(facts.iter().any(|fact| fact == &format!("Schema of the database{schema}")), "{facts:?}");
}

#[test]
fn what_should_be_looked_at_stands_on_top() {
    let mut shop = Shop::empty();
    shop.config.destination.clear();
    // Of the file's permissions it says what the file at hand has.
    let notices = |shop: &Shop| -> Vec<String> {
        let said = shop.get("/settings").texts(".notice");
        said.into_iter().filter(|text| !text.starts_with("permissions")).collect()
    };
    let said = notices(&shop);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("shop [shop] id is still demo.myshopify.com"), "{said:?}");
    assert!(said[1].starts_with("destination there is none"), "{said:?}");
    assert!(said[2].starts_with("shop secrets demo.myshopify.com has none"), "{said:?}");
    let _folder = configured(&mut shop);
    assert_eq!(notices(&shop), Vec::<String>::new());
    #[cfg(unix)]
    {
        let copy = std::path::PathBuf::from(format!("{}.before-restore-1", shop.config.database.path.display()));
        std::fs::write(&copy, "").unwrap();
        std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let said = notices(&shop);
        assert!(said.len() == 1 && said[0].starts_with("file permissions others are let into /"), "{said:?}");
    }
}
