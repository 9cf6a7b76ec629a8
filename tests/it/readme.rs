//! What README.md promises: its snippets verify real signatures, its tables match the program.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use crate::support::{folder::Folder, process};

const README: &str = include_str!("../../README.md");

/// The first code block of a language.
fn snippet(language: &str) -> &'static str {
    let start = README.find(&format!("```{language}\n")).expect("README has the snippet") + language.len() + 4;
    &README[start..start + README[start..].find("```").expect("the block ends")]
}

/// Requests as a receiver sees them, and whether they are genuine. Signed by the public library.
fn requests() -> Vec<(&'static str, Value, bool)> {
    let key = |byte: u8| format!("whsec_{}", BASE64.encode([byte; 32]));
    let now = quintile::clock::now().seconds();
    let request = |secret: &str, timestamp: i64, body: &str, signature: &str| {
        json!({
            "secret": secret,
            "headers": {"webhook-id": "msg_1", "webhook-timestamp": timestamp.to_string(), "webhook-signature": signature},
            "body": BASE64.encode(body),
        })
    };
    let sign = |secret: &str, timestamp: i64, body: &str| {
        standardwebhooks::Webhook::new(secret).unwrap().sign("msg_1", timestamp, body.as_bytes()).unwrap()
    };
    let (secret, other, body) = (key(7), key(9), r#"{"firstName":"Zoë 💐"}"#);
    let good = sign(&secret, now, body);
    let rotating = format!("{} {good}", sign(&other, now, body));
    vec![
        ("genuine", request(&secret, now, body, &good), true),
        ("during rotation", request(&secret, now, body, &rotating), true),
        ("another body", request(&secret, now, "{}", &good), false),
        ("another time", request(&secret, now + 1, body, &good), false),
        ("another secret", request(&other, now, body, &good), false),
        ("an hour old", request(&secret, now - 3600, body, &sign(&secret, now - 3600, body)), false),
        ("an hour ahead", request(&secret, now + 3600, body, &sign(&secret, now + 3600, body)), false),
        ("no version", request(&secret, now, body, good.trim_start_matches("v1,")), false),
        ("another version", request(&secret, now, body, &good.replace("v1,", "v2,")), false),
        ("junk", request(&secret, now, body, "v1,, v1 ☃"), false),
        ("no headers", json!({"secret": secret, "headers": {}, "body": BASE64.encode(body)}), false),
    ]
}

/// Runs the snippet followed by a driver that reads all requests as JSON and prints the verdicts.
fn check_snippet(command: &str, language: &str, file: &str, program: &str) {
    if Command::new(command).arg("--version").output().is_err() {
        eprintln!("skipped: {command} is not installed");
        return;
    }
    let folder = Folder::new();
    let path = folder.path().join(file);
    std::fs::write(&path, program.replace("{{ snippet }}", snippet(language))).unwrap();
    let mut child = Command::new(command)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let requests = requests();
    let input: Vec<&Value> = requests.iter().map(|(_, request, _)| request).collect();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&input).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the {language} snippet failed");
    let verdicts: Vec<bool> = serde_json::from_slice(&output.stdout).expect("a list of verdicts");
    assert_eq!(verdicts.len(), requests.len());
    for ((name, _, genuine), verdict) in requests.iter().zip(verdicts) {
        assert_eq!(verdict, *genuine, "{language}: {name}");
    }
}

#[test]
fn the_node_snippet_verifies() {
    check_snippet(
        "node",
        "js",
        "verify.mjs",
        r#"{{ snippet }}
import { readFileSync } from "node:fs";
const requests = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(requests.map((r) => verify(r.secret, r.headers, Buffer.from(r.body, "base64")))));
"#,
    );
}

#[test]
fn the_python_snippet_verifies() {
    check_snippet(
        "python3",
        "python",
        "verify.py",
        r#"{{ snippet }}
import json, sys
print(json.dumps([verify(r["secret"], r["headers"], base64.b64decode(r["body"])) for r in json.load(sys.stdin)]))
"#,
    );
}

#[test]
fn the_php_snippet_verifies() {
    check_snippet(
        "php",
        "php",
        "verify.php",
        r"<?php
{{ snippet }}
$verdicts = [];
foreach (json_decode(stream_get_contents(STDIN), true) as $r) {
    $verdicts[] = verify($r['secret'], $r['headers'], base64_decode($r['body']));
}
echo json_encode($verdicts);
",
    );
}

/// Every destination that the README shows can be used as it stands, given its secrets.
#[test]
fn the_destinations_to_copy_work() {
    use quintile::{
        config::{Config, Environment, Loading, Missing, Preset},
        delivery::{destination::Destination, plan::Message},
    };

    let secret = format!("whsec_{}", BASE64.encode([7; 32]));
    let environment = Environment::from([
        ("KLAVIYO_KEY", "pk_1"),
        ("MAILCHIMP_KEY", "abc-us6"),
        ("OMNISEND_KEY", "k"),
        ("BREVO_KEY", "k"),
        ("ACTIVECAMPAIGN_KEY", "k"),
        ("ACTIVECAMPAIGN_EVENT_KEY", "k"),
        ("MY_PROGRAM_SECRET", secret.as_str()),
        ("HUBSPOT_TOKEN", "k"),
        ("LISTMONK_TOKEN", "user:k"),
    ]);
    let event = json!({
        "type": "rfm/segment.changed", "timestamp": "2026-11-23T02:00:04.120Z", "id": "evt_01JDBQC1S8E0R8X6VJ2S3T4V5W",
        "seq": 1, "data": {
            "shopId": "demo.myshopify.com", "customerId": "118", "oldSegment": "loyal", "newSegment": "at_risk", "cause": "order",
            "rfm": {"r": 1, "f": 4, "m": 3},
            "customer": {"email": "anna@example.com", "orderCount": 7, "totalSpent": "412.50", "currency": "EUR", "lastOrderAt": null},
        },
    });
    let mut kinds = std::collections::BTreeSet::new();
    let blocks: Vec<&str> = README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    for block in blocks {
        let folder = Folder::new();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, block).unwrap();
        let loading = Loading { environment: &environment, secrets: Missing::Refuse, also: |_| Vec::new() };
        let config = Config::load_with(&path, loading).unwrap();
        for (destination, written) in Destination::from_config(&config).unwrap().iter().zip(&config.destination) {
            kinds.insert(written.kind.clone());
            let body = event.to_string();
            let message = Message { body: body.as_bytes(), message_id: "msg_1", quiet: false };
            let steps = 0..destination.plan.steps();
            let requests: Vec<_> = steps.filter_map(|step| destination.plan.render(step, &message).unwrap()).collect();
            assert!(!requests.is_empty(), "{} sends nothing", destination.name);
        }
    }
    assert_eq!(kinds.len(), Preset::all().len(), "{kinds:?}");
    for preset in Preset::all() {
        assert!(README.contains(&format!("\n| `{}` |", preset.kind)), "the table lacks {}", preset.kind);
    }
}

#[test]
fn the_table_of_commands_is_the_programs() {
    let folder = Folder::new();
    let help = String::from_utf8(process::run(folder.path(), &["--help"]).stdout).unwrap();
    let of_program: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   ")))
        .filter(|command| *command != "help")
        .collect();
    let of_readme: Vec<&str> =
        README.lines().filter_map(|line| line.strip_prefix("| `quintile ")?.split(['`', ' ']).next()).collect();
    assert!(of_program.len() > 10, "{help}");
    assert_eq!(of_readme, of_program);
}
