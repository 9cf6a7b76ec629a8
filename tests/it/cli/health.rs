//! What runs the program asks of it: is it well, and what does it log.

use std::process::Stdio;

use serde_json::Value;

use super::Home;
use crate::support::process::{Server, quintile};

#[test]
fn health_is_what_the_running_server_answers() {
    let home = Home::new("[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n");
    home.ok(&["init"]);
    let server = Server::start(&home.path(""));
    let (_, port) = server.webhooks.rsplit_once(':').unwrap();
    // As in a container, where it listens on all addresses: it is asked on the loopback.
    home.write("config.toml", &format!("[webhooks]\nlisten = \"0.0.0.0:{port}\"\n"));
    assert_eq!(home.ok(&["health"]), "ok\n");
    let said = format!("no quintile answers on 127.0.0.1:{port}; start `quintile serve`");
    server.kill();
    let error = home.fails(1, &["health"]);
    assert!(error.contains(&said), "{error}");
}

#[test]
fn logs_can_be_json_a_line_each() {
    let home = Home::new("[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n");
    home.ok(&["init"]);
    let mut child = quintile(&home.path(""), &["serve"])
        .env("QUINTILE_LOG", "debug")
        .env("QUINTILE_LOG_FORMAT", "json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
    let stopped = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.lines().count() > 0, "a server that starts says something");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
}
