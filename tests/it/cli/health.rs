//! What runs the program asks of it: is it well, and what does it log.

use std::{io::BufRead, process::Stdio};

use serde_json::Value;

use super::Home;
use crate::support::{
    http,
    process::{Server, kill, quintile},
};

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

/// As when whoever started it reads one line and closes the pipe.
#[cfg(target_os = "linux")]
#[test]
fn a_server_that_cannot_say_where_it_is_serves_all_the_same() {
    let home = Home::new("[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n");
    home.ok(&["init"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = quintile(&home.path(""), &["serve"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = log.find(|line| line.contains("could not be printed"));
    let dashboard = said.as_deref().and_then(|line| line.split("dashboard ").nth(1)?.split(',').next());
    let answer = dashboard.map(|address| http::get(&format!("{address}/healthz")));
    kill(&mut child);
    assert_eq!(answer.unwrap().unwrap().status, 200);
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

#[test]
fn the_last_line_is_json_as_well() {
    let home = Home::new("");
    for (args, code, said) in [
        (&["customers"][..], 1, "there is no database at "),
        (&["--config", "none.toml", "serve"], 2, "no config.toml at "),
    ] {
        let error = home.fails(code, &[&["--log-format", "json"], args].concat());
        let line: Value = serde_json::from_str(&error).unwrap_or_else(|why| panic!("{why}: {error}"));
        assert_eq!(line["level"], "ERROR");
        assert!(line["message"].as_str().unwrap().starts_with(said), "{line}");
        assert!(line["timestamp"].is_string(), "{line}");
        assert!(error.ends_with("}\n") && !home.fails(code, args).contains('{'), "{error}");
    }
}

#[test]
fn health_tells_silence_from_absence() {
    // Connections are taken, and nobody reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let home = Home::new(&format!("[webhooks]\nlisten = \"{address}\"\n"));
    let said = format!("error: what listens on {address} does not answer within 5 seconds; its log may say why\n");
    assert_eq!(home.fails(1, &["health"]), said);
}
