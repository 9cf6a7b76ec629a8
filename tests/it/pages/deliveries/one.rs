//! The page of one delivery.

use quintile::config::{self, Destination, Secret};

use super::{SECRET_PATH, ids, shop};
use crate::support::{
    pages::{Answer, Shop},
    receiver::SECRET,
};

/// The newest delivery in a state.
pub fn newest(shop: &Shop, state: &str) -> i64 {
    shop.value(&format!("SELECT max(id) FROM deliveries WHERE state = '{state}'"))
}

fn detail(shop: &Shop, id: i64) -> Answer {
    let page = shop.get(&format!("/deliveries/{id}"));
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(SECRET) && !page.body.contains(&SECRET[6..]), "the secret is on the page");
    assert!(!page.body.contains(SECRET_PATH), "the address of the tool is on the page");
    page
}

#[test]
fn what_waits_shows_what_would_be_sent() {
    let shop = shop();
    let id = newest(&shop, "waiting");
    let page = detail(&shop, id);
    assert_eq!(page.text("h1"), format!("Delivery {id} to klaviyo"));
    assert_eq!(page.text("#t-req"), "What would be sent");
    assert_eq!(page.text(".line"), "POST https://hooks.example.com/…");
    let headers = page.texts(".headers div");
    for header in ["content-type: application/json", "webhook-signature: …", "quintile-event: rfm/segment.changed"] {
        assert!(headers.contains(&header.to_owned()), "{headers:?}");
    }
    let body: serde_json::Value = serde_json::from_str(&page.text("pre")).unwrap();
    let segment: String =
        shop.value(&format!("SELECT new_segment FROM outbox JOIN deliveries USING (seq) WHERE id = {id}"));
    assert_eq!((&body["type"], &body["data"]["newSegment"]), (&"rfm/segment.changed".into(), &segment.into()));
    assert!(page.text(".sub").contains("Next try: at its turn"), "{}", page.text(".sub"));
    let curl = page.text(".curl textarea");
    assert!(curl.starts_with("curl --request POST 'https://hooks.example.com/YOUR-PATH'"), "{curl}");
    assert!(curl.contains("'webhook-signature: SIGNATURE'") && curl.contains("--data-raw '{\"type\""), "{curl}");
    assert_eq!(page.attributes("form[method=post] button", "value"), ["discard"]);
    // The customer and the run are one click away, and the customer's page leads back.
    let links = page.attributes(".facts a", "href");
    let customer = links.iter().find(|href| href.starts_with("/customers/")).unwrap();
    assert!(links.contains(&"/runs/25".to_owned()), "{links:?}");
    assert!(shop.get(customer).attributes(".time a", "href").contains(&format!("/deliveries/{id}")));
}

#[test]
fn a_secret_is_hidden_wherever_a_template_puts_it() {
    const TOKEN: &str = "t0ken-of-the-crm-0123456789";
    let mut shop = shop();
    shop.config.destination[0] = Destination {
        name: "klaviyo".to_owned(),
        kind: "template".to_owned(),
        secrets: [("token".to_owned(), Secret::new(TOKEN))].into(),
        request: vec![config::Request {
            url: "https://crm.example/people?key={{ secret.token }}".to_owned(),
            headers: [("Authorization".to_owned(), "Bearer {{ secret.token }}".to_owned())].into(),
            body: "{\"key\": {{ secret.token }}, \"segment\": {{ event.newSegment }}}".to_owned(),
            ..config::Request::default()
        }],
        ..Destination::default()
    };
    let page = detail(&shop, newest(&shop, "waiting"));
    assert!(!page.body.contains(TOKEN) && !page.body.contains("people"));
    assert_eq!(page.text(".line"), "POST https://crm.example/…");
    assert!(page.text("pre").starts_with("{\"key\": \"…\", \"segment\": \""), "{}", page.text("pre"));
    let curl = page.text(".curl textarea");
    assert!(curl.contains("'authorization: YOUR-SECRET'") && curl.contains("{\"key\": \"YOUR-SECRET\""), "{curl}");
    shop.config.destination[0].request[0].body = "{{ event.nonsense }}".to_owned();
    assert!(detail(&shop, newest(&shop, "waiting")).text("section").contains("The request cannot be made"));
}

#[test]
fn what_was_sent_shows_its_own_bytes() {
    let shop = shop();
    let id = newest(&shop, "retrying");
    shop.write(move |tx| {
        let body = r#"{"type":"rfm/segment.changed","data":{"newSegment":"as it was","name":"<b>Bob</b> 'x'"}}"#;
        let frozen = "UPDATE deliveries SET body = CAST(replace(?2, '\"data\"', format('\"seq\":%d,\"data\"', seq)) AS BLOB) WHERE id = ?1";
        tx.execute(frozen, (id, body)).map(drop)
    });
    let page = detail(&shop, id);
    assert_eq!(page.text("#t-req"), "What was sent");
    assert!(page.text("pre").contains("\"as it was\",\"name\":\"<b>Bob</b> 'x'\""), "{}", page.text("pre"));
    assert!(page.text(".curl textarea").contains(r"<b>Bob</b> '\''x'\''"));
    assert!(!page.body.contains("<b>Bob"));
    assert!(page.texts(".headers div").contains(&"quintile-attempt: 2".to_owned()));
    assert_eq!(page.attributes("form[method=post] button", "value"), ["retry", "discard"]);
    assert!(page.text(".sub").contains("Next try: in 4 min"));
}

#[test]
fn what_is_kept_no_more_says_so() {
    let shop = shop();
    let page = detail(&shop, newest(&shop, "delivered"));
    assert_eq!(page.text("#t-req"), "Request");
    assert!(page.text("section").contains("not kept any more"), "{}", page.text("section"));
    assert_eq!(page.attributes("form[method=post] button", "value"), ["replay"]);
    assert_eq!(page.texts(".curl").len(), 0);

    shop.execute(
        "UPDATE deliveries SET state = 'discarded', attempts = 0, finished_at = 1795431600000 WHERE state = 'held'",
    );
    assert!(detail(&shop, newest(&shop, "discarded")).text("section").contains("It was never sent."));
    shop.execute("UPDATE deliveries SET destination = 'gone' WHERE state = 'waiting'");
    let page = detail(&shop, newest(&shop, "waiting"));
    assert!(page.text("section").contains("no destination of this name"), "{}", page.text("section"));
}

#[test]
fn a_hostile_answer_is_only_text() {
    let shop = shop();
    let id = newest(&shop, "dead");
    shop.write(move |tx| {
        let answer = b"<script>alert(1)</script>\x1b[2J\x00\xff\xfe\r\nsecond line \xe2\x80\xaeturned</pre></li>";
        tx.execute(
            "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status, error, answer)
             VALUES (?1, 3, 1795431600000, 45, 422, 'refused the event: <img src=x onerror=alert(2)>', ?2),
                    (?1, 2, 1795431590000, 15000, NULL, 'no answer within 15 s', NULL),
                    (?1, 1, 1795431580000, NULL, NULL, 'interrupted', NULL)",
            (id, &answer[..]),
        )?;
        tx.execute("UPDATE deliveries SET last_error = '<svg onload=alert(3)>' WHERE id = ?1", [id]).map(drop)
    });
    let page = detail(&shop, id);
    for evil in ["<script", "<img", "<svg onload", "\u{1b}", "\0", "\u{202e}"] {
        assert!(!page.body.contains(evil), "{evil:?} is in the page");
    }
    assert_eq!(
        page.text(".tries pre"),
        "<script>alert(1)</script>�[2J��� second line �turned</pre></li>".to_owned(),
        "all of it, as text"
    );
    let tries = page.texts(".tries li");
    assert_eq!(tries.len(), 3);
    assert!(
        tries[0].starts_with("Try 3 23 Nov 2026, 12:00refused the event: <img src=x onerror=alert(2)> · 45 ms"),
        "{tries:?}"
    );
    assert!(tries[1].contains("no answer within 15 s · 15.0 s"), "{tries:?}");
    assert!(page.text(".notice").contains("<svg onload=alert(3)>"));
    assert_eq!(page.attributes("form[method=post] button", "value"), ["retry"]);
    // Nor does it do anything in the list.
    let list = shop.get("/deliveries?state=dead");
    assert!(ids(&list).contains(&id.to_string()) && !list.body.contains("<svg onload"));
}

#[test]
fn held_ones_say_why_and_what_waits_for_consent_cannot_be_sent() {
    let shop = shop();
    let id = newest(&shop, "held");
    for (hold, pill, next, buttons) in [
        ("baseline", "Held: first run", "when you decide", vec!["release", "discard"]),
        ("run", "Held: unusual run", "when you decide", vec!["release", "discard"]),
        ("consent", "Held: no consent", "when the customer agrees to e-mail", vec!["discard"]),
        ("destination", "Held", "when its destination is resumed", vec!["release", "discard"]),
    ] {
        shop.write(move |tx| tx.execute("UPDATE deliveries SET hold = ?2 WHERE id = ?1", (id, hold)).map(drop));
        let page = detail(&shop, id);
        assert_eq!(page.text(".sub .pill"), pill);
        assert!(page.text(".sub").contains(next), "{}", page.text(".sub"));
        assert_eq!(page.attributes("form[method=post] button", "value"), buttons, "{hold}");
    }
}
