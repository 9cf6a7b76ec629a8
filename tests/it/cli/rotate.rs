//! `quintile destinations rotate-secret` and `quintile verify`.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use quintile::{
    config::{Config, signing::Key},
    delivery::sign::signature,
};
use serde_json::Value;

use super::{Done, Folder, Home, finished};

const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn destination(secret: &str) -> String {
    format!(
        "# my shop\n[[destination]]\nname = \"my-tool\"   # the one\nurl = \"https://tool.example/hook\"\n{secret}\n"
    )
}

fn rotated(home: &Home) -> Value {
    serde_json::from_str(&home.ok(&["destinations", "rotate-secret", "my-tool", "--format", "json"])).unwrap()
}

#[test]
fn a_secret_in_the_file_is_changed_there_and_nothing_else_is() {
    let text = destination(&format!("secret = \"{OLD}\" # signs"));
    let home = Home::new(&text);
    #[cfg(unix)]
    fs::set_permissions(home.path("config.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let done = rotated(&home);
    let (fresh, until) = (done["secret"].as_str().unwrap(), done["oldSignsUntil"].as_str().unwrap());
    let value = format!("{fresh} {OLD}@{until}");
    assert_eq!(fs::read_to_string(home.path("config.toml")).unwrap(), text.replace(OLD, &value));
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(home.path("config.toml")).unwrap().permissions()) & 0o777,
        0o600
    );
    let config = Config::load(&home.path("config.toml")).unwrap();
    assert_eq!(config.destination[0].secret.expose(), value);

    // Again and again: never more than three, and the second keeps its sooner end.
    let again = rotated(&home);
    let third = rotated(&home);
    assert_eq!((again["dropped"].as_u64(), third["dropped"].as_u64()), (Some(0), Some(1)));
    let secret = Config::load(&home.path("config.toml")).unwrap().destination[0].secret.expose().to_owned();
    assert_eq!(secret.split(' ').count(), 3);
    assert!(secret.starts_with(third["secret"].as_str().unwrap()) && !secret.contains(OLD));

    let said = home.ok(&["destinations", "rotate-secret", "my-tool"]);
    assert!(
        said.contains("Written to config.toml. A running `quintile serve` takes it up at its next start."),
        "{said}"
    );
    assert!(said.contains("Enter the new secret in the tool before"), "{said}");
}

#[test]
fn a_secret_in_a_file_of_its_own_is_changed_there() {
    let home = Home::new(&destination("secret_file = \"my-tool.key\""));
    home.write("my-tool.key", &format!("{OLD}\n"));
    let done = rotated(&home);
    let (fresh, until) = (done["secret"].as_str().unwrap(), done["oldSignsUntil"].as_str().unwrap());
    assert_eq!(fs::read_to_string(home.path("my-tool.key")).unwrap(), format!("{fresh}\n{OLD}@{until}\n"));
    assert_eq!(fs::read_to_string(home.path("config.toml")).unwrap(), destination("secret_file = \"my-tool.key\""));
    assert_eq!(Config::load(&home.path("config.toml")).unwrap().destination[0].secret.expose().lines().count(), 2);
}

#[test]
fn a_secret_in_the_environment_is_printed_to_be_set() {
    let home = Home::new(&destination("secret_env = \"TOOL_SECRET\""));
    let rotate = ["destinations", "rotate-secret", "my-tool", "--format", "json"];
    let json = |done: Done| serde_json::from_str::<Value>(&done.out).unwrap();
    let known = json(finished(home.command(&rotate).env("TOOL_SECRET", OLD).output().unwrap()));
    assert_eq!((known["variable"].as_str(), &known["written"]), (Some("TOOL_SECRET"), &Value::Null));
    let (fresh, until) = (known["secret"].as_str().unwrap(), known["oldSignsUntil"].as_str().unwrap());
    assert_eq!(known["value"], format!("{fresh} {OLD}@{until}"));
    let unknown = rotated(&home);
    assert!(unknown["value"].as_str().unwrap().contains(" OLD@"), "{unknown}");

    let file = Home::new(&destination(&format!("secret = \"{OLD}\"")));
    let variable = "QUINTILE_DESTINATION__MY_TOOL__SECRET";
    let done =
        finished(file.command(&["destinations", "rotate-secret", "my-tool"]).env(variable, OLD).output().unwrap());
    assert!(
        done.out.contains(&format!("{variable}=\"whsec_")) && done.out.contains("Nothing is changed yet"),
        "{}",
        done.out
    );
    assert_eq!(fs::read_to_string(file.path("config.toml")).unwrap(), destination(&format!("secret = \"{OLD}\"")));

    let error = file.fails(2, &["destinations", "rotate-secret", "my-tol"]);
    assert!(error.contains("no [[destination]] in config.toml is called \"my-tol\"; there are: my-tool"), "{error}");
}

/// A genuine request of now, raw.
fn request(body: &str) -> String {
    let at = quintile::clock::now().seconds();
    let signature = signature(&Key::parse_all(OLD).unwrap(), "msg_1", at, body.as_bytes());
    format!(
        "POST /hook HTTP/1.1\r\nwebhook-id: msg_1\r\nwebhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\n\r\n{body}"
    )
}

fn with_input(mut command: Command, input: &str) -> Done {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finished(child.wait_with_output().unwrap())
}

#[test]
fn verify_says_what_is_wrong_with_a_request() {
    let home = Home::new(&destination(&format!("secret = \"{OLD}\"")));
    let raw = request("{\"name\":\"Zoë\"}");
    home.write("request", &raw);
    let said = home.ok(&["verify", "--request", "request", "--destination", "my-tool"]);
    assert!(said.starts_with("ok     msg_1 is genuine, ") && said.ends_with(" seconds old\n"), "{said}");

    let (headers, body) = raw.split_once("\r\n\r\n").unwrap();
    home.write("headers", headers);
    home.write("body", &format!("{body}\n"));
    let parts = home.run(&["verify", "--headers", "headers", "--body", "body", "--secret", OLD]);
    assert_eq!(parts.code, 1);
    assert_eq!(
        parts.out,
        "wrong  body: the body was changed: it matches without the newline at its end; an editor or `echo` added it\n"
    );

    let json = ["verify", "--request", "-", "--secret-env", "S", "--at", "2000-01-01T00:00:00Z", "--format", "json"];
    let mut command = home.command(&json);
    command.env("S", OLD);
    let early = with_input(command, &raw);
    let verdict: Value = serde_json::from_str(&early.out).unwrap();
    assert_eq!((early.code, &verdict["valid"], &verdict["key"]), (1, &Value::Bool(false), &Value::from(1)));
    assert_eq!(verdict["faults"][0]["part"], "webhook-timestamp");
    assert_eq!(verdict["faults"].as_array().unwrap().len(), 1);
    let no_time = home.ok(&["verify", "--request", "request", "--secret", OLD, "--no-time"]);
    assert_eq!(no_time, "ok     msg_1 is genuine\n");

    let malformed = home.run(&["verify", "--request", "request", "--secret", "hunter2"]);
    assert_eq!(malformed.code, 1);
    assert!(malformed.out.starts_with("wrong  secret: the secret does not start with whsec_"), "{}", malformed.out);
    assert!(!malformed.out.contains("hunter2"));
    assert_eq!(home.run(&["verify", "--request", "request"]).code, 2);
}

#[test]
fn verify_needs_no_configuration() {
    let home = Home(Folder::new());
    home.write("request", &request("{}"));
    home.ok(&["verify", "--request", "request", "--secret", OLD]);
}
