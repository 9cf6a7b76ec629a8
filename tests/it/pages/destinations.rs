//! Destinations: how they fare, and their buttons.

use std::fs;

use axum::http::StatusCode;
use quintile::config::{Destination, Environment, Secret};
use rusqlite::params;

use super::deliveries::{post, post_from, shop};
use crate::support::{
    folder::Folder,
    pages::{NOW, Shop},
    receiver::{Answer, Receiver, SECRET},
};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Name, pill and the note beside it.
fn card(shop: &Shop, place: usize) -> (String, String, String) {
    let page = shop.get("/destinations");
    let of = |selector: &str| page.text(&format!("#d{place} {selector}"));
    (of("h2"), of(".pill"), of(".pill + .mut"))
}

fn fact(page: &crate::support::pages::Answer, place: usize, term: &str) -> String {
    let terms = page.texts(&format!("#d{place} > .facts dt"));
    let at = terms.iter().position(|found| found == term).unwrap_or_else(|| panic!("no {term} in {terms:?}"));
    page.texts(&format!("#d{place} > .facts dd")).swap_remove(at)
}

#[test]
fn without_a_destination_the_page_says_how_to_connect_one() {
    let mut shop = Shop::empty();
    shop.config.destination.clear();
    let page = shop.get("/destinations");
    assert_eq!((page.status, page.text(".empty h2")), (StatusCode::OK, "No tool connected yet".to_owned()));
    assert!(page.text(".empty pre").starts_with("[[destination]] name = \"klaviyo\" kind = \"klaviyo\""));
    assert!(page.text(".empty").contains("config.toml") && page.text(".empty").contains("quintile check"));
    assert!(
        page.text(".empty .cap").contains("webhook, klaviyo, mailchimp, omnisend, brevo, activecampaign, template")
    );
}

#[test]
fn each_destination_shows_how_it_fares() {
    let mut shop = shop();
    shop.config.destination[0].to = vec!["champion".to_owned()];
    shop.config.destination[0].cause = vec!["order".to_owned()];
    shop.config.destination[1].secret = Secret::new(format!("{SECRET} {OLD}@2026-11-24T10:00:00Z"));
    shop.config.destination.push(Destination {
        name: "crm & co".to_owned(),
        kind: "klaviyo".to_owned(),
        secrets: [("api_key".to_owned(), Secret::new("pk_0123456789abcdef"))].into(),
        ..Destination::default()
    });
    shop.write(|tx| {
        for (id, millis) in [(1, 40), (2, 60), (3, 4000)] {
            tx.execute(
                "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status)
                 SELECT id, 1, created_at, ?2, 200 FROM deliveries WHERE state = 'delivered' AND destination = 'klaviyo'
                  ORDER BY id DESC LIMIT 1 OFFSET ?1",
                params![id, millis],
            )?;
        }
        Ok(())
    });
    let page = shop.get("/destinations");
    assert_eq!(page.status, StatusCode::OK);
    for hidden in [SECRET, OLD, "s3cr3t-p4th", "pk_0123456789abcdef", &SECRET[6..20]] {
        assert!(!page.body.contains(hidden), "{hidden} is on the page");
    }
    assert_eq!(page.texts(".dst h2"), ["klaviyo", "brevo", "crm & co"]);
    assert_eq!(fact(&page, 1, "Goes to"), "https://hooks.example.com/…");
    assert_eq!(fact(&page, 1, "Queue"), "3");
    assert_eq!(fact(&page, 2, "Queue"), "6");
    assert_eq!(fact(&page, 3, "Queue"), "empty");
    assert_eq!((fact(&page, 1, "Answers in"), fact(&page, 1, "Latency")), ("60 ms".to_owned(), "4.0 s".to_owned()));
    assert_eq!((fact(&page, 2, "Answers in"), fact(&page, 3, "Latency")), ("–".to_owned(), "–".to_owned()));
    assert_eq!(fact(&page, 1, "Gets"), "all events; to Champions; caused by order");
    assert_eq!(fact(&page, 1, "Secret"), "whsec_…b7oD");
    assert_eq!(fact(&page, 2, "Secret"), "whsec_…b7oD; the one before signs too, until tomorrow at 11:00");
    assert_eq!(fact(&page, 3, "Secret"), "api_key is set");
    assert_eq!(page.attributes(".dst a.button", "href")[2], "/deliveries?destination=crm+%26+co");
    let csv = shop.get("/destinations.csv").body;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "name,kind,state,reason,since,next_probe_at,wait_until,queue,answers_ms,latency_ms,failures,goes_to,gets,batch"
    );
    assert!(
        lines[1].starts_with("klaviyo,webhook,active,,")
            && lines[1].contains(",3,60,4000,0,https://hooks.example.com/…,all events; to Champions"),
        "{csv}"
    );
    assert!(lines[3].starts_with("crm & co,klaviyo,active,,") && lines[3].contains(",0,,,0,"), "{csv}");
    // Only what signs has a secret to replace; only a tool that knows people may want an e-mail.
    assert_eq!(page.attributes("form[action$=rotate]", "action").len(), 2);
    assert_eq!(page.attributes("form input[type=email]", "name").len(), 1);
    assert!(page.attributes("form", "action").contains(&"/destinations/crm%20%26%20co/test".to_owned()));
}

#[test]
fn health_is_said_with_its_reason() {
    let shop = shop();
    let set = |state: &'static str, reason: &'static str, probe: Option<i64>, wait: Option<i64>, failures: i64| {
        shop.write(move |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO destinations (name, state, reason, since, failures, probe_at, wait_until)
                 VALUES ('klaviyo', ?1, ?2, ?3, ?6, ?4, ?5)",
                params![state, reason, NOW - 3_600_000, probe, wait, failures],
            )
            .map(drop)
        });
        let (_, pill, note) = card(&shop, 1);
        (pill, note)
    };
    let told = |pill: &str, note: &str| (pill.to_owned(), note.to_owned());
    assert_eq!(card(&shop, 1).1, "Healthy");
    assert_eq!(set("active", "", None, None, 2), told("Unsteady", "The last 2 tries failed."));
    assert_eq!(
        set("active", "", None, Some(NOW + 120_000), 0),
        told("Asked to slow down", "It is sent to again in 2 min.")
    );
    assert_eq!(
        set("failing", "refused our <key> (401)", Some(NOW + 240_000), None, 1),
        told("Failing", "Since today at 11:00: refused our <key> (401). Next try in 4 min.")
    );
    assert_eq!(
        set("paused", "paused by hand", None, None, 0),
        told("Paused", "Since today at 11:00. Its queue waits.")
    );
    assert_eq!(
        set("disabled", "asked for nothing more (410)", None, None, 0),
        told("Disabled", "Since today at 11:00: asked for nothing more (410). Its queue waits.")
    );
    let page = shop.get("/destinations");
    assert_eq!(page.attributes("#d1 form[action$=pause]", "action").len(), 0);
    assert_eq!(page.attributes("#d1 form[action$=resume] button", "value"), ["all", "latest", "none"]);
    assert_eq!(page.attributes("#d2 form[action$=resume]", "action").len(), 0);
}

#[test]
fn pause_and_resume_change_the_database_and_say_so() {
    let shop = shop();
    let router = shop.router();
    let press = |path: &str, fields: &[(&str, &str)]| {
        let answer = post(&router, path, fields);
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/destinations#d2"), "{path}");
        let page = crate::support::pages::send(
            router.clone(),
            axum::http::Method::GET,
            "/destinations",
            &[("host", "localhost")],
        );
        (page.text("#d2 .pill"), page.text("#d2 .notice b"))
    };
    let state = || shop.value::<String>("SELECT state FROM destinations WHERE name = 'brevo'");
    let (pill, said) = press("/destinations/brevo/pause", &[]);
    assert_eq!((pill.as_str(), state().as_str()), ("Paused", "paused"));
    assert!(said.starts_with("Paused. "), "{said}");
    assert!(press("/destinations/brevo/pause", &[]).1.starts_with("Nothing was done"));

    shop.execute("UPDATE deliveries SET hold = 'destination' WHERE state = 'held'");
    let (pill, said) = press("/destinations/brevo/resume", &[("send", "all")]);
    assert_eq!((pill.as_str(), state().as_str()), ("Healthy", "active"));
    assert_eq!(said, "Resumed: everything in its queue goes out, in order.");
    assert_eq!(
        shop.value::<i64>("SELECT count(*) FROM deliveries WHERE destination = 'brevo' AND state = 'waiting'"),
        4
    );
    assert!(press("/destinations/brevo/resume", &[("send", "all")]).1.starts_with("Nothing was done"));

    press("/destinations/brevo/pause", &[]);
    assert!(press("/destinations/brevo/resume", &[("send", "latest")]).1.contains("newest news"));
    press("/destinations/brevo/pause", &[]);
    assert!(press("/destinations/brevo/resume", &[("send", "none")]).1.contains("nothing of its queue"));
    assert_eq!(
        shop.value::<i64>("SELECT count(*) FROM deliveries WHERE destination = 'brevo' AND state = 'discarded'"),
        6
    );
    let unclear = post(&router, "/destinations/brevo/resume", &[("send", "some")]);
    assert_eq!(unclear.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn forms_that_are_not_ours_or_not_there_do_nothing() {
    let shop = shop();
    let router = shop.router();
    for action in ["test", "pause", "resume", "rotate"] {
        let path = format!("/destinations/brevo/{action}");
        let answer = post_from(&router, &path, &[("send", "none")], "cross-site");
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{action}");
        assert_eq!(shop.get(&path).status, StatusCode::METHOD_NOT_ALLOWED, "{action}");
    }
    assert_eq!(post(&router, "/destinations/nobody/pause", &[]).status, StatusCode::NOT_FOUND);
    assert_eq!(post(&router, "/destinations/brevo/nonsense", &[]).status, StatusCode::NOT_FOUND);
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM destinations"), 0);
}

#[test]
fn a_test_shows_what_was_sent_and_what_the_tool_said() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let receiver = runtime.block_on(Receiver::start());
    let mut shop = shop();
    shop.config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
    shop.config.destination[0].url = receiver.url().to_owned();
    shop.config.destination[0].allow_http = true;
    let router = shop.router();
    let press = || {
        assert_eq!(post(&router, "/destinations/klaviyo/test", &[]).location(), "/destinations#d1");
        crate::support::pages::send(router.clone(), axum::http::Method::GET, "/destinations", &[("host", "localhost")])
    };
    let page = press();
    assert_eq!(page.text("#d1 .notice b"), "It works: your tool took the test event.");
    let received = receiver.received();
    assert_eq!(received.len(), 1);
    received[0].assert_signed();
    assert_eq!(received[0].json()["test"], true);
    assert!(page.text("#d1 .notice pre").contains("\"test\":true"));
    assert!(page.texts("#d1 .notice .headers div").contains(&"webhook-signature: …".to_owned()));
    assert!(page.text("#d1 .notice summary").contains(", answered 200 in "));

    receiver.answers(Answer::from(401).body(&b"<script>alert(1)</script>\x1b[2J\xff"[..]));
    let page = press();
    assert!(page.text("#d1 .notice b").contains("401"), "{}", page.text("#d1 .notice b"));
    assert_eq!(page.attributes("#d1 .notice", "class"), ["notice bad"]);
    assert!(page.texts("#d1 .notice pre")[1].starts_with("<script>alert(1)</script>�[2J�"));
    assert!(!page.body.contains("<script") && !page.body.contains("secret-path") && !page.body.contains(SECRET));
    // Nothing of it is in the queue, and a pause does not stop it.
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM deliveries WHERE created_at > 1795431600000"), 0);
}

#[test]
fn a_new_secret_stands_in_the_file_and_on_no_page() {
    let folder = Folder::new();
    let file = folder.path().join("config.toml");
    let mut shop = shop();
    shop.config_path.clone_from(&file);
    let rotate = |shop: &Shop, name: &str| {
        let router = shop.router();
        assert_eq!(post(&router, &format!("/destinations/{name}/rotate"), &[]).status, StatusCode::SEE_OTHER);
        crate::support::pages::send(router, axum::http::Method::GET, "/destinations", &[("host", "localhost")])
    };
    let said = |page: &crate::support::pages::Answer| page.text(".notice b");

    let page = rotate(&shop, "brevo");
    assert!(said(&page).starts_with("Nothing was changed: the configuration cannot be read"), "{}", said(&page));
    assert!(said(&page).contains("`quintile destinations rotate-secret brevo`"));

    let text = format!(
        "[[destination]]\nname = \"brevo\"\nurl = \"https://hooks.example.com/x\"\nsecret = \"{SECRET}\" # signs\n"
    );
    fs::write(&file, &text).unwrap();
    let page = rotate(&shop, "brevo");
    let written = fs::read_to_string(&file).unwrap();
    let fresh = written.split('"').nth(5).unwrap().split(' ').next().unwrap().to_owned();
    assert!(fresh.starts_with("whsec_") && fresh != SECRET);
    assert_eq!(written, text.replace(SECRET, &format!("{fresh} {SECRET}@2026-11-24T11:00:00Z")));
    assert!(said(&page).starts_with(&format!(
        "The new secret whsec_…{} stands first in {}",
        &fresh[fresh.len() - 4..],
        file.display()
    )));
    assert!(said(&page).contains("before tomorrow at 12:00, and restart quintile"), "{}", said(&page));
    assert!(!page.body.contains(&fresh) && !page.body.contains(SECRET));
    // Once more before the restart: what was read at the start is not what is written.
    rotate(&shop, "brevo");
    let again = fs::read_to_string(&file).unwrap();
    assert!(
        again.contains(&format!("{fresh}@")) && again.contains(&format!("{SECRET}@")),
        "both older ones still sign"
    );
    // The page never drops a key: it may be the one that quintile signs with until its restart.
    let page = rotate(&shop, "brevo");
    assert_eq!(fs::read_to_string(&file).unwrap(), again);
    assert!(said(&page).contains("the oldest of the three still signs until tomorrow at 12:00."), "{}", said(&page));
    assert!(said(&page).contains("`quintile destinations rotate-secret brevo`"), "{}", said(&page));
    assert_eq!(page.attributes(".notice", "class"), ["notice warn"]);
    assert!(!page.body.contains(&fresh) && !page.body.contains(SECRET));

    let page = rotate(&shop, "klaviyo");
    assert!(said(&page).contains("no destination of this name any more"), "{}", said(&page));
    shop.environment = Environment::from([("QUINTILE_DESTINATION__BREVO__SECRET", SECRET)]);
    let page = rotate(&shop, "brevo");
    assert!(said(&page).contains("environment variable QUINTILE_DESTINATION__BREVO__SECRET"), "{}", said(&page));
    assert_eq!(fs::read_to_string(&file).unwrap(), again, "nothing is written where it would not count");
}

#[test]
fn what_waits_for_a_destination_that_is_gone_is_not_forgotten() {
    let mut shop = shop();
    shop.config.destination.remove(0);
    let page = shop.get("/destinations");
    assert!(page.text(".notice").starts_with("Left behind 3 open for klaviyo, which is not in the configuration"));
    assert_eq!(page.attributes(".notice a", "href"), ["/deliveries?destination=klaviyo"]);
}
