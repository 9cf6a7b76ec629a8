//! `quintile check`.

use std::fs;

use serde_json::Value;

use super::{Folder, Home};

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
    let home = Home(Folder::new());
    home.ok(&["init"]);
    let out = home.ok(&["check"]);
    let checks: Vec<&str> = out.lines().map(|line| line[6..].split(':').next().unwrap()).collect();
    assert_eq!(
        checks,
        [
            "configuration",
            "permissions",
            "file permissions",
            "shop",
            "database",
            "schema",
            "clock",
            "disk space",
            "database folder",
            "backup folder",
            "destination",
            "shop secrets"
        ]
    );
    let fresh = states(&home, &["check"], 0);
    for check in ["shop", "shop secrets", "destination"] {
        assert_eq!(state_of(&fresh, check), "warn", "{check}: the merchant has written nothing yet");
    }
    assert!(out.contains("warn  shop: [shop] id is still demo.myshopify.com"), "{out}");
    assert!(out.contains("warn  shop secrets: demo.myshopify.com has none"), "{out}");

    let config = fs::read_to_string(home.path("config.toml")).unwrap();
    let named = config.replace("demo.myshopify.com", "mugs.myshopify.com");
    home.write(
        "config.toml",
        &named.replace("[webhooks.shopify]\nsecrets = []", "[webhooks.shopify]\nsecrets = [\"s\"]"),
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
        fs::set_permissions(home.path("quintile.db"), fs::Permissions::from_mode(0o644)).unwrap();
        let out = home.ok(&["check"]);
        assert!(out.contains("others are let into ./quintile.db (mode 644); run chmod 600 quintile.db*\n"), "{out}");
    }

    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
    let destination = |host: &str| {
        format!("[[destination]]\nname = \"tool\"\nurl = \"https://{host}/path-is-secret\"\nsecret = \"{secret}\"\n")
    };
    let allowing = |networks: &str| {
        format!("[forwarder]\nallow_private = [{networks}]\n[webhooks.woocommerce]\nsecrets = [\"s\"]\n")
            + &destination("127.0.0.1")
    };
    home.write("config.toml", &allowing("\"127.0.0.1/32\""));
    let allowed = states(&home, &["check"], 0);
    assert_eq!((state_of(&allowed, "shop secrets"), state_of(&allowed, "destination")), ("warn", "ok"));
    let out = home.ok(&["check"]);
    assert!(out.contains("warn  shop secrets: demo.myshopify.com has none"), "{out}");
    home.write("config.toml", &allowing(""));
    let done = home.run(&["check"]);
    assert_eq!(done.code, 1, "the forwarder would send nothing there");
    let said = "fail  destination: tool: 127.0.0.1 is not a public address, so nothing will be sent to it; if it is meant, write allow_private = [\"127.0.0.1/32\"] in [forwarder]";
    assert!(done.out.contains(said), "{}", done.out);
    home.write("config.toml", &destination("nobody.invalid"));
    assert_eq!(state_of(&states(&home, &["check"], 1), "destination"), "fail");
    let done = home.run(&["check"]);
    assert!(done.out.contains("fail  destination: tool: ") && done.out.contains("nobody.invalid"), "{}", done.out);
    assert!(!done.out.contains("path-is-secret"), "{}", done.out);

    // Kinds that know their addresses themselves, and one whose addresses stand in its requests.
    let tools = "[[destination]]\nname = \"mail\"\nkind = \"klaviyo\"\napi_key = \"k\"\nbase_url = \"http://127.0.0.1:9\"\n\
        [[destination]]\nname = \"crm\"\nkind = \"template\"\nallow_http = true\n\
        [[destination.request]]\nmethod = \"POST\"\nurl = \"http://127.0.0.2:9/{{ customer.email }}\"\n\
        [[destination.request]]\nmethod = \"POST\"\nurl = \"http://127.0.0.3:9/\"\n";
    home.write("config.toml", &format!("[forwarder]\nallow_private = [\"127.0.0.1/32\", \"127.0.0.2/32\"]\n{tools}"));
    let out = home.run(&["check"]).out;
    for line in [
        "ok    destination: mail (127.0.0.1) has an address",
        "ok    destination: crm (127.0.0.2) has an address",
        "fail  destination: crm: 127.0.0.3 is not a public address",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
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

/// By a copy, a restore or a backup made by other means.
#[cfg(unix)]
#[test]
fn files_that_others_may_read_are_named_with_what_to_run() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home(Folder::new().spoilt());
    home.ok(&["init", "shop"]);
    let command = |args: &[&str]| home.run(&[&["--config", "shop/config.toml"], args].concat());
    assert!(command(&["check"]).out.contains("ok    file permissions: only their owner"));
    fs::create_dir(home.path("shop/backups")).unwrap();
    fs::copy(home.path("shop/quintile.db"), home.path("shop/backups/quintile-20261123T020512Z.db")).unwrap();
    let open = |name: &str, mode| fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    open("shop/quintile.db", 0o640);
    open("shop/backups/quintile-20261123T020512Z.db", 0o644);
    open("shop/backups", 0o755);
    for (name, text) in [("shop/data-request-7.json", "{}"), ("shop/data-request-form.json", "{}")] {
        fs::write(home.path(name), text).unwrap();
        open(name, 0o644);
    }
    let named = || -> Vec<String> {
        let said = command(&["check"]);
        assert_eq!(said.code, 0, "it works");
        said.out.lines().filter_map(|line| line.strip_prefix("warn  file permissions: ")).map(str::to_owned).collect()
    };
    let first = named();
    assert_eq!(
        first,
        [
            "others are let into shop/data-request-7.json (mode 644) and 2 more like it; run chmod 600 shop/quintile.db* shop/data-request-7.json shop/backups/quintile-20261123T020512Z.db",
            "others are let into the folder shop/backups (mode 755); unless they need it, run chmod 700 shop/backups",
        ]
    );
    let mode = fs::metadata(home.path("shop/quintile.db")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o640, "nothing is changed");
    let close = |line: &String| {
        let command = &line[line.find("run ").unwrap() + 4..];
        let done = std::process::Command::new("sh").args(["-c", command]).current_dir(home.0.path()).status();
        assert!(done.unwrap().success(), "{command}");
    };
    first.iter().for_each(close);
    // A log that `check` itself left there has the mode that the database had.
    named().iter().for_each(close);
    assert_eq!(named(), [""; 0]);

    // `serve` says so first, whatever comes of it.
    open("shop/quintile.db", 0o640);
    fs::write(home.path("shop/quintile.db"), "no database").unwrap();
    let served = command(&["serve"]);
    assert_eq!(served.code, 1);
    assert!(served.err.contains("WARN others are let into shop/quintile.db"), "{}", served.err);
}

#[cfg(target_os = "linux")]
#[test]
fn check_sees_folders_that_cannot_be_written() {
    // Nobody makes files there, not even root.
    let nowhere = "[database]\npath = \"/proc/quintile.db\"\n[backup]\nfolder = \"/proc/nothere/backups\"\n";
    let home = Home::new(&format!("{nowhere}copy_to = \"drive\"\n"));
    let done = home.run(&["check"]);
    assert_eq!(done.code, 1, "{}", done.out);
    for line in [
        "fail  database folder: /proc cannot be written (",
        "fail  backup folder: /proc/nothere/backups cannot be written (",
        "warn  backup copies: drive is not there; is its drive connected?",
    ] {
        assert!(done.out.contains(line), "{line}: {}", done.out);
    }
    let home = Home::new("[backup]\nfolder = \"not/yet\"\ncopy_to = \"drive\"\n");
    home.ok(&["init"]);
    fs::create_dir(home.path("drive")).unwrap();
    let good = states(&home, &["check"], 0);
    for check in ["database folder", "backup folder", "backup copies"] {
        assert_eq!(state_of(&good, check), "ok", "{check}");
    }
    assert!(!home.path("not").exists(), "nothing is made");
    let names = |name: &str| fs::read_dir(home.path(name)).unwrap().count();
    assert_eq!(names("drive"), 0, "nor left");
}
