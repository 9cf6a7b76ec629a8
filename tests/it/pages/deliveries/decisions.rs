//! Retry, send, give up: with one, and with all that match.

use axum::{
    Router,
    http::{Method, StatusCode},
};

use super::{ids, one::newest, post, post_from, shop};
use crate::support::pages::{Answer, NOW, Shop, send};

fn count(shop: &Shop, sql: &str) -> i64 {
    shop.value(&format!("SELECT count(*) FROM deliveries WHERE {sql}"))
}

fn get(router: &Router, path: &str) -> Answer {
    send(router.clone(), Method::GET, path, &[("host", "localhost")])
}

/// Asks, and presses the button with the fields of the page that asked.
fn decide(shop: &Shop, query: &str) -> Answer {
    decide_after(shop, query, |_| {})
}

/// [`decide`], and what happens before the button is pressed.
fn decide_after(shop: &Shop, query: &str, meanwhile: impl FnOnce(&Shop)) -> Answer {
    let router = shop.router();
    let asked = get(&router, &format!("/deliveries/decide?{query}"));
    assert_eq!(asked.status, StatusCode::OK, "{query}");
    let names = asked.attributes("main form input[type=hidden]", "name");
    let values = asked.attributes("main form input[type=hidden]", "value");
    let fields: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    meanwhile(shop);
    let answer = post(&router, &asked.attributes("main form", "action")[0], &fields);
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    get(&router, answer.location())
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
    assert_eq!(page.text(".notice"), "2 deliveries are tried now, or once their destination is sent to again.");
    assert_eq!((count(&shop, "state = 'dead'"), count(&shop, "replay_of IS NOT NULL AND state = 'waiting'")), (0, 2));
    assert_eq!(count(&shop, "state = 'superseded'"), 2);

    let page = decide(&shop, "action=retry&state=retrying");
    assert_eq!(page.text(".notice"), "2 deliveries are tried now, or once their destination is sent to again.");
    assert_eq!(page.texts(".rows .when"), ["at its turn", "at its turn"]);

    let page = decide(&shop, "action=discard&state=waiting&destination=klaviyo");
    assert_eq!(page.text(".notice"), "3 deliveries will not be sent.");
    assert_eq!(count(&shop, "state = 'discarded' AND destination = 'klaviyo'"), 3);
    assert_eq!(count(&shop, "state = 'waiting' AND destination = 'brevo'"), 6, "others are left alone");
    assert_eq!(page.texts(".tabs a")[5], "Not sent 5");
}

#[test]
fn no_link_makes_the_page_say_that_something_was_done() {
    let shop = shop();
    let router = shop.router();
    let id = newest(&shop, "held");
    for query in ["done=retry&n=3", "done=retry&n=more", "said=", "said=1", "said=00000000000000000000000000000000"] {
        for path in [format!("/deliveries?state=dead&{query}"), format!("/deliveries/{id}?{query}")] {
            assert_eq!(get(&router, &path).texts(".notice").len(), 0, "{path}");
        }
    }
    let led = post(&router, &format!("/deliveries/{id}"), &[("action", "release")]);
    assert_eq!(get(&router, led.location()).text(".notice"), "1 delivery is sent when it is its turn.");
    assert_eq!(get(&router, led.location()).texts(".notice").len(), 0, "nor does one that was followed before");
}

#[test]
fn a_run_that_nothing_is_held_of_waits_no_more() {
    let shop = shop();
    shop.execute("UPDATE runs SET held = 1 WHERE id = 25");
    decide(&shop, "action=discard&state=held&run=25");
    assert_eq!(shop.value::<i64>("SELECT held FROM runs WHERE id = 25"), 0);
}

#[test]
fn what_came_into_the_state_after_the_question_was_not_asked_about() {
    let shop = shop();
    let nothing = "Nothing was done: it stands elsewhere by now, or waits for its customer to agree to e-mail.";
    // Queued since.
    let page = decide_after(&shop, "action=discard&state=held", |shop| {
        shop.execute("UPDATE deliveries SET created_at = 1795431700000 WHERE id = (SELECT max(id) FROM deliveries WHERE state = 'held')");
    });
    assert_eq!((page.text(".notice").as_str(), count(&shop, "state = 'held'")), ("3 deliveries will not be sent.", 1));
    // Given up since.
    let page = decide_after(&shop, "action=retry&state=dead", |shop| {
        shop.execute("UPDATE deliveries SET finished_at = 1795431700000 WHERE state = 'dead'");
    });
    assert_eq!((page.text(".notice").as_str(), count(&shop, "state = 'dead'")), (nothing, 2));
    // Failed for the first time since; and one that was already on its way.
    let page = decide_after(&shop, "action=discard&state=retrying", |shop| {
        shop.execute(
            "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status)
             SELECT id, 1, 1795431600001 - 5000 * (id = (SELECT min(id) FROM deliveries WHERE state = 'retrying')), 5000, 503
               FROM deliveries WHERE state = 'retrying'",
        );
    });
    assert_eq!((page.text(".notice").as_str(), count(&shop, "state = 'retrying'")), (nothing, 2));
    // What was tried before the question is meant.
    shop.execute("UPDATE attempts SET started_at = 1795431590000");
    assert_eq!(decide(&shop, "action=discard&state=retrying").text(".notice"), "2 deliveries will not be sent.");
}

#[test]
fn a_button_that_is_pressed_twice_does_it_once() {
    let shop = shop();
    let router = shop.router();
    let again = "Nothing more was done: it was sent again already.";
    for (state, action, said) in [
        ("delivered", "replay", "1 delivery is sent again, as a new message."),
        ("dead", "retry", "1 delivery is tried now, or once its destination is sent to again."),
    ] {
        let (id, before) = (newest(&shop, state), count(&shop, "replay_of IS NOT NULL"));
        let path = format!("/deliveries/{id}");
        let page = get(&router, &path);
        let seen = page.attributes("main form input[name=seen]", "value").remove(0);
        let fields = [("action", action), ("seen", seen.as_str())];
        let pages = [0, 1, 2].map(|_| get(&router, post(&router, &path, &fields).location()));
        assert_eq!(count(&shop, "replay_of IS NOT NULL"), before + 1, "{state}");
        let new: i64 = shop.value("SELECT max(id) FROM deliveries");
        assert_eq!(pages.each_ref().map(|page| page.text(".notice")), [said, again, again]);
        assert!(pages.iter().all(|page| page.text("h1").starts_with(&format!("Delivery {new} "))), "{state}");
    }
    // At once, too: the one that comes second is decided about after the first.
    let id = newest(&shop, "delivered");
    let path = format!("/deliveries/{id}");
    let seen: String = get(&router, &path).attributes("main form input[name=seen]", "value").remove(0);
    assert_ne!(seen, "0", "a page that knows of one");
    let before = count(&shop, "replay_of IS NOT NULL");
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| post(&router, &path, &[("action", "replay"), ("seen", &seen)]));
        }
    });
    assert_eq!(count(&shop, "replay_of IS NOT NULL"), before + 1, "can have it sent once more");
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
    let (id, router) = (newest(&shop, "held"), shop.router());
    let answer = post(&router, &format!("/deliveries/{id}"), &[("action", "release")]);
    assert!(answer.location().starts_with(&format!("/deliveries/{id}?said=")));
    assert!(get(&router, answer.location()).text(".notice").starts_with("Nothing was done"));
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
    assert!(location.starts_with(&format!("/deliveries/{again}?said=")), "{location}");
    assert_eq!((state(dead).as_str(), state(again).as_str()), ("superseded", "waiting"));
    let page = get(&router, &location);
    assert_eq!(page.text(".notice"), "1 delivery is tried now, or once its destination is sent to again.");
    assert!(page.attributes(".facts a", "href").contains(&format!("/deliveries/{dead}")));
    assert!(
        shop.get(&format!("/deliveries/{dead}"))
            .attributes(".facts a", "href")
            .contains(&format!("/deliveries/{again}"))
    );

    let retrying = newest(&shop, "retrying");
    press(retrying, "retry");
    assert_eq!(shop.value::<i64>(&format!("SELECT due_at FROM deliveries WHERE id = {retrying}")), NOW);
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
    assert!(get(&router, &location).text(".notice").starts_with("Nothing was done"));
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
        vec![("action", "discard"), ("state", "held"), ("asked", "soon")],
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
    assert!(answer.location().starts_with("/deliveries?state=held&run=0&said="));
    assert!(get(&router, answer.location()).text(".notice").starts_with("Nothing was done"));
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
