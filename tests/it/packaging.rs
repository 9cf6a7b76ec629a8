//! What `packaging/` installs, and what a service manager sees of it.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::process::{QUINTILE, kill, quintile};

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");

/// `packaging/install.sh` with its files below a folder of their own.
fn installing(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(format!("{PACKAGING}/install.sh"));
    command.args(["--binary", QUINTILE]).args(arguments).env("DESTDIR", root);
    command
}

fn install(root: &Path, arguments: &[&str]) -> String {
    let output = installing(root, arguments).output().expect("the script starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[test]
fn installing_lays_out_a_private_shop_and_never_touches_it_again() {
    let root = TempDir::new().unwrap();
    install(root.path(), &[]);
    let shop = root.path().join("var/lib/quintile");
    let config = shop.join("config.toml");
    assert_eq!(mode(&shop), 0o700);
    assert_eq!(mode(&config), 0o600);
    assert_eq!(mode(&shop.join("quintile.db")), 0o600);
    assert_eq!(mode(&root.path().join("usr/local/bin/quintile")), 0o755);
    assert_eq!(mode(&root.path().join("etc/quintile/quintile.env")), 0o600);

    fs::write(&config, "# mine\n").unwrap();
    let said = install(root.path(), &[]);
    assert!(said.contains("kept"), "{said}");
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
}

#[test]
fn each_shop_has_a_folder_of_its_own_where_its_unit_looks() {
    let root = TempDir::new().unwrap();
    install(root.path(), &["--shop", "berlin"]);
    install(root.path(), &["--shop", "wien"]);
    let unit = fs::read_to_string(root.path().join("etc/systemd/system/quintile@.service")).unwrap();
    for shop in ["berlin", "wien"] {
        let config = exec_start(&unit, root.path(), shop).pop().unwrap();
        assert!(Path::new(&config).is_file(), "{config}");
    }
}

#[test]
fn a_shop_cannot_have_a_name_that_leads_elsewhere() {
    let root = TempDir::new().unwrap();
    for (name, says) in [
        ("../etc", "small letters, digits and - only"),
        ("-n", "begin with a small letter or a digit"),
        ("", "wants a name"),
        ("quintile", "has /etc/quintile/quintile.env; choose another"),
    ] {
        let output = installing(root.path(), &["--shop", name]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{name}: {said}");
    }
    assert!(fs::read_dir(root.path()).unwrap().next().is_none(), "nothing was laid out");
}

/// What the script restarts for the shop `service` where `systemctl` lists `units`, a state and a name each; a
/// machine with a real one is in tests/systemd.
fn restarts(units: &[(&str, &str)], service: &str) -> (String, String) {
    let bin = TempDir::new().unwrap();
    let systemctl = bin.path().join("systemctl");
    let listed: Vec<String> = units.iter().map(|(state, name)| format!("{state} {name}.service\n")).collect();
    fs::write(bin.path().join("units"), listed.concat()).unwrap();
    let text = r#"#!/bin/sh
here=${0%/*}
case $* in
  *list-units*--state=*) state=${*#*--state=}
    awk -v state="${state%% *}" '$1 == state { print $2, "loaded", $1, "running A shop" }' "$here/units" ;;
  *) echo "$*" >>"$here/asked" ;;
esac
"#;
    fs::write(&systemctl, text).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let script = fs::read_to_string(format!("{PACKAGING}/install.sh")).unwrap();
    let functions = &script[script.find("\nrunning() {").unwrap()..script.find("\nhere=").unwrap()];
    let end = &script[script.find("\n  systemctl daemon-reload").unwrap()..script.rfind("\nelse").unwrap()];
    let output = Command::new("sh")
        .args(["-euc", &format!("PATH=$0:$PATH\n{functions}\nfolder=/shop service={service}\n{end}")])
        .arg(bin.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (fs::read_to_string(bin.path().join("asked")).unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn an_update_restarts_every_shop_that_runs_and_starts_none() {
    let all = [
        ("active", "quintile"),
        ("active", "quintile@berlin"),
        ("activating", "quintile@rom"),
        ("failed", "quintile@wien"),
    ];
    assert_eq!(
        restarts(&all, "quintile@berlin"),
        (
            "daemon-reload\n--no-block restart quintile@rom\nrestart quintile quintile@berlin\n".to_owned(),
            "restarted quintile@rom\nrestarted quintile\nrestarted quintile@berlin\n".to_owned(),
        )
    );
    // Another one's name that begins like it is not it.
    let (asked, said) = restarts(&[("active", "quintile@wien")], "quintile");
    assert_eq!(asked, "daemon-reload\nrestart quintile@wien\n");
    assert_eq!(
        said,
        "restarted quintile@wien\nnext      edit /shop/config.toml, then: systemctl enable --now quintile\n"
    );
    let (asked, said) = restarts(&[], "quintile");
    assert_eq!(asked, "daemon-reload\n");
    assert!(said.starts_with("next "), "{said}");
}

/// What `packaging/Dockerfile` sets and calls, the program takes.
#[test]
fn the_container_has_no_shell_is_not_root_and_is_asked_how_it_is() {
    let file = fs::read_to_string(format!("{PACKAGING}/Dockerfile")).unwrap().replace("\\\n", " ");
    let (_, image) = file.rsplit_once("\nFROM ").expect("it is built elsewhere");
    assert!(image.starts_with("gcr.io/distroless/cc-debian12:nonroot\n"), "{image}");
    assert!(!image.contains("\nUSER ") && !image.contains("\nRUN "), "{image}");
    let after = |name: &str| {
        let line =
            image.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {image}"));
        line.trim().to_owned()
    };

    let shop = TempDir::new().unwrap();
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{command:?}: {said}");
        said
    };
    run(&mut quintile(shop.path(), &["init", "."]));
    fs::write(shop.path().join("password"), "correct horse battery\n").unwrap();
    let password = fs::File::open(shop.path().join("password")).unwrap();
    let hash = run(quintile(shop.path(), &["hash-password"]).stdin(password));
    let settings: Vec<_> =
        after("ENV ").split_whitespace().map(|pair| pair.split_once('=').unwrap()).map(own).collect();
    let mut check = quintile(shop.path(), &["check"]);
    check.envs(settings.clone()).env("QUINTILE_CONFIG", shop.path().join("config.toml"));
    check.env("QUINTILE_DASHBOARD__PASSWORD_HASH", hash.lines().last().unwrap());
    run(&mut check);
    assert!(settings.contains(&own(("QUINTILE_WEBHOOKS__LISTEN", "0.0.0.0:8788"))), "{settings:?}");

    let health = after("HEALTHCHECK ");
    let (_, health) = health.split_once(" CMD ").unwrap();
    for command in [health, &after("CMD ")] {
        let mut command: Vec<String> = serde_json::from_str(command).unwrap();
        command.retain(|word| word != "quintile");
        command.push("--help".to_owned());
        run(&mut quintile(shop.path(), &command.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The command of a unit, its paths below `root`.
fn exec_start(unit: &str, root: &Path, shop: &str) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a unit starts something");
    let root = root.display();
    line.replace("%S/", "/var/lib/")
        .replace("%i", shop)
        .split(' ')
        .map(|word| if word.starts_with('/') { format!("{root}{word}") } else { word.to_owned() })
        .collect()
}

/// A service manager: starts the unit's command and hears what it is told.
struct Manager {
    socket: UnixDatagram,
    child: Child,
    root: TempDir,
}

impl Manager {
    /// How long a message may take; only a failing test waits this long.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn start(watchdog: Option<Duration>) -> Self {
        let root = TempDir::new().unwrap();
        install(root.path(), &[]);
        Self::start_installed(root, watchdog)
    }

    fn start_installed(root: TempDir, watchdog: Option<Duration>) -> Self {
        let unit = fs::read_to_string(root.path().join("etc/systemd/system/quintile.service")).unwrap();
        assert!(unit.contains("Type=notify"));
        let address: PathBuf = root.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        socket.set_read_timeout(Some(Self::PATIENCE)).unwrap();

        let words = exec_start(&unit, root.path(), "");
        assert_eq!(mode(Path::new(&words[0])), 0o755);
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let mut command = quintile(root.path(), &arguments);
        command
            .env("NOTIFY_SOCKET", &address)
            .env("QUINTILE_DASHBOARD__LISTEN", "127.0.0.1:0")
            .env("QUINTILE_WEBHOOKS__LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(period) = watchdog {
            command.env("WATCHDOG_USEC", period.as_micros().to_string());
        }
        let child = command.spawn().unwrap();
        Self { socket, child, root }
    }

    /// The next message, e.g. `READY=1`; several lines for what is told at once.
    fn hear(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("told something in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

#[test]
fn a_service_manager_hears_when_it_is_ready_alive_and_stopping() {
    let mut manager = Manager::start(Some(Duration::from_millis(200)));
    let ready = manager.hear();
    assert!(ready.starts_with("READY=1\n") && ready.contains("STATUS=dashboard http://127.0.0.1:"), "{ready}");
    for _ in 0..3 {
        assert_eq!(manager.hear().trim(), "WATCHDOG=1");
    }
    let asked = Instant::now();
    manager.signal("TERM");
    while manager.hear().trim() != "STOPPING=1" {}
    assert!(manager.child.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[test]
fn the_sign_of_life_ends_when_the_database_answers_nothing() {
    let manager = Manager::start(Some(Duration::from_millis(200)));
    while manager.hear().trim() != "WATCHDOG=1" {}
    // Somebody else holds the database: each try waits five seconds, and then is an answer.
    let held = rusqlite::Connection::open(manager.root.path().join("var/lib/quintile/quintile.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    manager.socket.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let mut buffer = [0; 4096];
    // What was on its way may still come; then it is quiet.
    while manager.socket.recv(&mut buffer).is_ok() {}
    held.execute_batch("ROLLBACK").unwrap();
    manager.socket.set_read_timeout(Some(Manager::PATIENCE)).unwrap();
    assert_eq!(manager.hear().trim(), "WATCHDOG=1");
}

#[test]
fn a_service_manager_hears_what_a_start_waits_for() {
    let root = TempDir::new().unwrap();
    install(root.path(), &[]);
    let held = rusqlite::Connection::open(root.path().join("var/lib/quintile/quintile.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let manager = Manager::start_installed(root, None);
    for _ in 0..2 {
        let waits = manager.hear();
        let reason = "STATUS=not started yet: another program is writing to the file: ";
        assert!(waits.starts_with(reason), "{waits}");
        assert!(waits.contains("\nEXTEND_TIMEOUT_USEC=1800000000"), "as TimeoutStartSec= of the unit: {waits}");
    }
    held.execute_batch("ROLLBACK").unwrap();
    let mut told = manager.hear();
    while told.starts_with("STATUS=not started yet") {
        told = manager.hear();
    }
    assert!(told.starts_with("READY=1\nSTATUS=dashboard http://127.0.0.1:"), "{told}");
}

#[test]
fn without_a_service_manager_nothing_is_missed() {
    let manager = Manager::start(None);
    assert!(manager.hear().starts_with("READY=1"));
    manager.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "no watchdog was asked for");
}

/// What `serve` says on standard error of a readable configuration and a file that is no database, when
/// systemd has named the file with `names` as the one that leads to its journal.
fn says_to_journal(names: impl Fn(&fs::Metadata) -> String) -> Vec<String> {
    let root = TempDir::new().unwrap();
    install(root.path(), &[]);
    let shop = root.path().join("var/lib/quintile");
    fs::set_permissions(shop.join("config.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(shop.join("quintile.db"), "no database").unwrap();
    let path = root.path().join("journal");
    let journal = fs::File::create(&path).unwrap();
    let stream = names(&journal.metadata().unwrap());
    let ended = quintile(&shop, &["serve"]).env("JOURNAL_STREAM", stream).stderr(journal).status().unwrap();
    assert_eq!(ended.code(), Some(1));
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_journal_is_told_how_grave_a_line_is_and_not_the_time() {
    let said = says_to_journal(|file| format!("{}:{}", file.dev(), file.ino()));
    assert!(said.len() > 1 && said[0].starts_with("<4>WARN others can read"), "{said:?}");
    assert!(said[1..].iter().all(|line| line.starts_with("<3>")), "{said:?}");

    // Turned elsewhere: a file has no time of its own.
    let said = says_to_journal(|_| "1:1".to_owned());
    assert!(said[0].contains("Z  WARN others can read") && said[1].starts_with("error: "), "{said:?}");
}
