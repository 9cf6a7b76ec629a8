//! `quintile init`.

use std::fs;

use quintile::config::Config;

use super::{Folder, Home};

#[test]
fn init_writes_a_shop_to_start_from() {
    let home = Home(Folder::new());
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
    without_secrets.backup.folder = "backups".into();
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
    let home = Home(Folder::new());
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
