//! Retry, send, give up: with one, and with all that match.

use axum::http::StatusCode;

use super::{ids, one::newest, post, post_from, shop};
use crate::support::pages::{Answer, Shop};

fn count(shop: &Shop, sql: &str) -> i64 {
    shop.value(&format!("SELECT count(*) FROM deliveries WHERE {sql}"))
}

/// Asks, and presses the button with the fields of the page that asked.
fn decide(shop: &Shop, query: &str) -> Answer {
    let asked = shop.get(&format!("/deliveries/decide?{query}"));
    assert_eq!(asked.status, StatusCode::OK, "{query}");
    let names = asked.attributes("main form input[type=hidden]", "name");
    let values = asked.attributes("main form input[type=hidden]", "value");
    let fields: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    let answer = post(&shop.router(), &asked.attributes("main form", "action")[0], &fields);
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    shop.get(answer.location())
}

#[test]
fn the_question_states_how_many_there_are_and_changes_nothing() {
    let shop = shop();
    let before: String = shop.value("SELECT group_concat(id || state) FROM deliveries");
    for (query, question, button) in [
        ("action=retry&state=dead", "Send 2 deliveries again?", "Send 2 deliveries again"),
        ("action=retry&state=retrying", "Try 2 deliveries now?", "Try 2 deliveries now"),
        ("action=release&state=held&run=25", "Send 4 deliveries after all?", "Send 4 deliveries"),
        ("action=discard&state=waiting", "Give up 3 deliveries?", "Give up 3 deliveries"),
    ] {
        let page = shop.get(&format!("/deliveries/decide?{query}"));
        assert_eq!((page.text("h1").as_str(), page.text("main button.main").as_str()), (question, button));
    }
    let none = shop.get("/deliveries/decide?action=retry&state=dead&destination=klaviyo");
    assert_eq!((none.text("h1"), none.texts("main button").len()), ("None to decide about".to_owned(), 0));
    // Each tab leads to what can be done in it, with its filter.
    let links = shop.get("/deliveries?state=held&destination=brevo").attributes("#t-all", "id");
    assert_eq!(links.len(), 1);
    let page = shop.get("/deliveries?state=held&destination=brevo");
    assert_eq!(
        page.attributes("p.actions a", "href"),
        [
            "/deliveries/decide?state=held&destination=brevo&action=release",
            "/deliveries/decide?state=held&destination=brevo&action=discard"
        ]
    );
    assert!(shop.get("/deliveries?state=delivered").attributes("p.actions a", "href").is_empty());
    assert_eq!(before, shop.value::<String>("SELECT group_concat(id || state) FROM deliveries"));
}

#[test]
fn all_that_match_are_decided_about_and_the_next_page_says_so() {
    let shop = shop();
    let page = decide(&shop, "action=release&state=held");
    assert_eq!(page.text(".notice"), "4 deliveries are sent when it is their turn.");
    assert_eq!((count(&shop, "state = 'held'"), count(&shop, "state = 'waiting' AND destination = 'brevo'")), (0, 4));

    let page = decide(&shop, "action=retry&state=dead");
    assert_eq!(page.text(".notice"), "2 deliveries are tried now.");
    assert_eq!((count(&shop, "state = 'dead'"), count(&shop, "replay_of IS NOT NULL AND state = 'waiting'")), (0, 2));
    assert_eq!(count(&shop, "state = 'superseded'"), 2);

    let page = decide(&shop, "action=retry&state=retrying");
    assert_eq!(page.text(".notice"), "2 deliveries are tried now.");
    assert_eq!(page.texts(".rows .when"), ["at its turn", "at its turn"]);

    let page = decide(&shop, "action=discard&state=waiting&destination=klaviyo");
    assert_eq!(page.text(".notice"), "3 deliveries will not be sent.");
    assert_eq!(count(&shop, "state = 'discarded' AND destination = 'klaviyo'"), 3);
    assert_eq!(count(&shop, "state = 'waiting' AND destination = 'brevo'"), 6, "others are left alone");
    assert_eq!(page.texts(".tabs a")[5], "Not sent 5");
}

#[test]
fn what_the_next_page_says_is_ours() {
    let shop = shop();
    let said = |query: &str| shop.get(&format!("/deliveries?state=dead&{query}")).texts(".notice");
    assert!(said("done=retry&n=more")[0].starts_with("There are many, so the work goes on by itself."));
    for query in ["done=nonsense&n=3", "done=retry", "done=retry&n=%3Cb%3E", "n=3"] {
        assert_eq!(said(query).len(), 0, "{query}");
    }
}

#[test]
fn a_run_that_nothing_is_held_of_waits_no_more() {
    let shop = shop();
    shop.execute("UPDATE runs SET held = 1 WHERE id = 25");
    decide(&shop, "action=discard&state=held&run=25");
    assert_eq!(shop.value::<i64>("SELECT held FROM runs WHERE id = 25"), 0);
}

#[test]
fn what_was_queued_after_the_question_was_not_asked_about() {
    let shop = shop();
    let router = shop.router();
    shop.execute("UPDATE deliveries SET created_at = 1795431700000 WHERE id = (SELECT max(id) FROM deliveries WHERE state = 'held')");
    let until = "1795431600001";
    let fields = [("action", "discard"), ("state", "held"), ("until", until)];
    let answer = post(&router, "/deliveries/decide", &fields);
    assert_eq!(answer.location(), "/deliveries?state=held&done=discard&n=3");
    assert_eq!(count(&shop, "state = 'held'"), 1);
}

#[test]
fn what_waits_for_a_consent_is_not_released() {
    let shop = shop();
    shop.execute(
        "UPDATE deliveries SET hold = 'consent' WHERE id = (SELECT max(id) FROM deliveries WHERE state = 'held')",
    );
    assert_eq!(
        decide(&shop, "action=release&state=held").text(".notice"),
        "3 deliveries are sent when it is their turn."
    );
    let id = newest(&shop, "held");
    let answer = post(&shop.router(), &format!("/deliveries/{id}"), &[("action", "release")]);
    assert_eq!(answer.location(), format!("/deliveries/{id}?done=release&n=0"));
    assert!(shop.get(answer.location()).text(".notice").starts_with("Nothing was done"));
}

#[test]
fn one_is_decided_about_on_its_own_page() {
    let shop = shop();
    let router = shop.router();
    let press = |id: i64, action: &str| {
        let answer = post(&router, &format!("/deliveries/{id}"), &[("action", action)]);
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{action}");
        answer.location().to_owned()
    };
    let state = |id: i64| shop.value::<String>(&format!("SELECT state FROM deliveries WHERE id = {id}"));

    // A dead letter goes out as a new one, which is the page that comes next.
    let dead = newest(&shop, "dead");
    let location = press(dead, "retry");
    let again: i64 = shop.value("SELECT max(id) FROM deliveries");
    assert_eq!(location, format!("/deliveries/{again}?done=retry&n=1"));
    assert_eq!((state(dead).as_str(), state(again).as_str()), ("superseded", "waiting"));
    let page = shop.get(&location);
    assert_eq!(page.text(".notice"), "1 delivery is tried now.");
    assert!(page.attributes(".facts a", "href").contains(&format!("/deliveries/{dead}")));
    assert!(
        shop.get(&format!("/deliveries/{dead}"))
            .attributes(".facts a", "href")
            .contains(&format!("/deliveries/{again}"))
    );

    let retrying = newest(&shop, "retrying");
    press(retrying, "retry");
    assert_eq!(
        shop.value::<i64>(&format!("SELECT due_at FROM deliveries WHERE id = {retrying}")),
        crate::support::pages::NOW
    );
    let held = newest(&shop, "held");
    press(held, "release");
    assert_eq!(state(held), "waiting");
    press(held, "discard");
    assert_eq!(state(held), "discarded");
    let delivered = newest(&shop, "delivered");
    press(delivered, "replay");
    assert_eq!((state(delivered).as_str(), count(&shop, "replay_of IS NOT NULL")), ("delivered", 2));
    // Pressed on a page that is older than what became of it.
    let location = press(delivered, "discard");
    assert_eq!(location, format!("/deliveries/{delivered}?done=discard&n=0"));
}

#[test]
fn an_unclear_form_or_one_of_another_site_does_nothing() {
    let shop = shop();
    let router = shop.router();
    let before: String = shop.value("SELECT group_concat(id || state) FROM deliveries");
    for fields in [
        vec![],
        vec![("action", "retry")],
        vec![("action", "nonsense"), ("state", "dead")],
        vec![("action", "replay"), ("state", "delivered")],
        vec![("action", "release"), ("state", "dead")],
        vec![("action", "discard"), ("state", "held"), ("until", "soon")],
    ] {
        let answer = post(&router, "/deliveries/decide", &fields);
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
        assert!(answer.text(".empty").contains("nothing was done"));
    }
    assert_eq!(shop.get("/deliveries/decide").status, StatusCode::UNPROCESSABLE_ENTITY);
    let id = newest(&shop, "held");
    assert_eq!(post(&router, &format!("/deliveries/{id}"), &[]).status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(post(&router, "/deliveries/999999", &[("action", "retry")]).status, StatusCode::NOT_FOUND);
    for path in ["/deliveries/decide".to_owned(), format!("/deliveries/{id}")] {
        let answer = post_from(&router, &path, &[("action", "release"), ("state", "held")], "cross-site");
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    // A run that is no number means no delivery, not all of them.
    let answer = post(&router, "/deliveries/decide", &[("action", "release"), ("state", "held"), ("run", "x")]);
    assert_eq!(answer.location(), "/deliveries?state=held&run=0&done=release&n=0");
    assert_eq!(before, shop.value::<String>("SELECT group_concat(id || state) FROM deliveries"));
    assert_eq!(ids(&shop.get("/deliveries?state=held")).len(), 4);
}

#[test]
fn what_stands_in_the_way_is_said_above_the_list() {
    let shop = shop();
    shop.execute(
        "INSERT INTO destinations (name, state, reason, since) VALUES ('brevo', 'paused', 'paused by hand', 0),
           ('klaviyo', 'failing', 'refused our key (401)', 0)",
    );
    let page = shop.get("/deliveries?state=retrying");
    assert_eq!(
        page.texts(".notice"),
        [
            "brevo is paused, so nothing goes to it until you resume it. Destinations",
            "klaviyo is failing: refused our key (401). Destinations"
        ]
    );
    assert_eq!(page.texts(".rows .when")[0], "when its destination is resumed: it is paused");
    assert_eq!(shop.get("/deliveries?state=delivered").texts(".notice").len(), 0);
    let page = shop.get(&format!("/deliveries/{}", newest(&shop, "retrying")));
    assert!(page.texts(".notice")[0].starts_with("brevo is paused"));
}
