//! The email tools' presets through the real forwarder: what arrives, in which order, and what the
//! tools' own answers do to a delivery.

use std::time::Duration;

use quintile::outbox::{self, Delivery, DestinationState, State};
use serde_json::{Value, json};

use super::fixture::{Shop, until};
use crate::support::receiver::{Answer, Received, Receiver};

const TOOLS: [&str; 5] = ["klaviyo", "mailchimp", "omnisend", "brevo", "activecampaign"];
/// Customer 1 in the audience: the MD5 of customer1@example.com.
const MEMBER: &str = "/3.0/lists/a1b2/members/4cdde47d052101fe3de4e3659acc6dea";
const MINUTE: Duration = Duration::from_secs(60);

/// Method and path behind the `base_url`, as "PUT /people".
pub fn target(request: &Received) -> String {
    format!("{} {}", request.method, request.path.strip_prefix("/hook/secret-path").unwrap())
}

pub fn targets(tool: &Receiver) -> Vec<String> {
    tool.received().iter().map(target).collect()
}

/// The fields of a form.
fn form(request: &Received) -> Value {
    url::form_urlencoded::parse(&request.body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn only(shop: &Shop) -> Delivery {
    let [delivery] = shop.deliveries().try_into().unwrap();
    delivery
}

fn contact() -> Value {
    json!({
        "rfm_segment": "champion", "rfm_r": 5, "rfm_f": 4, "rfm_m": 3, "total_spent": 49.9, "order_count": 3,
        "last_order_at": "1970-01-01T00:00:00Z",
    })
}

/// The id of the newest event, as envelopes have it.
fn event_id(shop: &Shop) -> String {
    let events = outbox::events(&shop.db().readers().get().unwrap(), 0, 1000).unwrap();
    outbox::evt_id(&events.last().unwrap().id)
}

#[tokio::test]
async fn each_tool_gets_the_requests_of_its_own_api() {
    let basic = "Basic cXVpbnRpbGU6UzNDUjNULXVzNg=="; // quintile:S3CR3T-us6
    let patch = format!("PATCH {MEMBER}");
    let tags = format!("POST {MEMBER}/tags");
    let cases: [(&str, &[&str], (&str, &str)); 5] = [
        ("klaviyo", &["POST /api/event-bulk-create-jobs"], ("authorization", "Klaviyo-API-Key S3CR3T-us6")),
        ("mailchimp", &[&patch, &tags], ("authorization", basic)),
        ("omnisend", &["POST /api/events"], ("authorization", "Omnisend-API-Key S3CR3T-us6")),
        ("brevo", &["POST /v3/contacts", "POST /v3/events"], ("api-key", "S3CR3T-us6")),
        ("activecampaign", &["POST /api/3/contact/sync", "POST /event"], ("api-token", "S3CR3T-us6")),
    ];
    for (kind, expected, (header, credentials)) in cases {
        let tool = Receiver::start().await;
        let shop = Shop::with_tool(kind, &tool);
        shop.moves(&[1], "champion");
        assert_eq!(shop.deliver().await.delivered, 1, "{kind}");
        assert_eq!(targets(&tool), expected, "{kind}");
        let received = tool.received();
        assert_eq!(received[0].header(header), credentials);
        assert!(received[0].headers.get("webhook-signature").is_none(), "signatures are for webhooks");
        let bodies: Vec<Value> = received
            .iter()
            .map(|request| serde_json::from_slice(&request.body).unwrap_or_else(|_| form(request)))
            .collect();
        let time = shop.now().to_string();
        match kind {
            "klaviyo" => {
                assert_eq!(received[0].header("revision"), "2026-07-15");
                assert_eq!(received[0].header("content-type"), "application/vnd.api+json");
                let job = &bodies[0]["data"]["attributes"]["events-bulk-create"]["data"][0]["attributes"];
                let profile = &job["profile"]["data"]["attributes"];
                assert_eq!(*profile, json!({"email": "customer1@example.com", "properties": contact()}));
                let event = &job["events"]["data"][0]["attributes"];
                assert_eq!((&event["unique_id"], &event["time"]), (&json!(event_id(&shop)), &json!(time)));
                assert_eq!(event["metric"]["data"]["attributes"]["name"], "RFM Segment Changed");
                let said = json!({"old_segment": "loyal", "new_segment": "champion", "cause": "order",
                    "customer_id": "1", "shop": "demo.myshopify.com"});
                assert_eq!(event["properties"], said);
            }
            "mailchimp" => {
                let fields = json!({"SEGMENT": "champion", "RFM_R": 5, "RFM_F": 4, "RFM_M": 3, "SPENT": 49.9,
                    "ORDERS": 3, "LASTORDER": "1970-01-01"});
                assert_eq!(bodies[0], json!({"merge_fields": fields}));
                let tags = json!([{"name": "rfm-loyal", "status": "inactive"},
                    {"name": "rfm-champion", "status": "active"}]);
                assert_eq!(bodies[1], json!({"tags": tags, "is_syncing": false}));
            }
            "omnisend" => {
                assert_eq!(received[0].header("omnisend-version"), "2026-03-15");
                assert_eq!(
                    bodies[0]["contact"],
                    json!({"email": "customer1@example.com", "customProperties": contact()})
                );
                assert_eq!(
                    (&bodies[0]["eventName"], &bodies[0]["eventTime"]),
                    (&json!("RFM Segment Changed"), &json!(time))
                );
                assert_eq!(bodies[0]["eventID"].as_str().unwrap().len(), 36);
            }
            "brevo" => {
                let attributes = json!({"RFM_SEGMENT": "champion", "RFM_R": 5, "RFM_F": 4, "RFM_M": 3,
                    "TOTAL_SPENT": 49.9, "ORDER_COUNT": 3, "LAST_ORDER_AT": "1970-01-01"});
                let email = "customer1@example.com";
                assert_eq!(bodies[0], json!({"email": email, "updateEnabled": true, "attributes": attributes}));
                assert_eq!(bodies[1]["event_name"], "rfm_segment_changed");
                assert_eq!(bodies[1]["identifiers"], json!({"email_id": email}));
                let said = json!({"old_segment": "loyal", "new_segment": "champion", "cause": "order",
                    "event_id": event_id(&shop)});
                assert_eq!(bodies[1]["event_properties"], said);
            }
            _ => {
                let contact =
                    json!({"email": "customer1@example.com", "fieldValues": [{"field": "12", "value": "champion"}]});
                assert_eq!(bodies[0], json!({"contact": contact}));
                let event = json!({"actid": "77", "key": "EV3NT", "event": "RFM Segment Changed",
                    "eventdata": "champion", "visit": "{\"email\": \"customer1@example.com\"}"});
                assert_eq!(bodies[1], event);
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_succeeded_is_never_repeated() {
    for (kind, first, second) in [
        ("mailchimp", format!("PATCH {MEMBER}"), format!("POST {MEMBER}/tags")),
        ("brevo", "POST /v3/contacts".to_owned(), "POST /v3/events".to_owned()),
        ("activecampaign", "POST /api/3/contact/sync".to_owned(), "POST /event".to_owned()),
    ] {
        let tool = Receiver::start().await;
        let failing = second.clone();
        tool.decides(move |request| if target(request) == failing { 500.into() } else { 200.into() });
        let shop = Shop::with_tool(kind, &tool);
        shop.moves(&[1], "champion");
        assert_eq!(shop.deliver().await.retrying, 1);
        assert_eq!(targets(&tool), [first.clone(), second.clone()], "{kind}");
        let delivery = only(&shop);
        assert_eq!(delivery.last_error.as_deref(), Some("answered 500: it has a fault of its own"));
        let wait = delivery.next_attempt_at.unwrap().millis() - shop.now().millis();
        assert!((4000..=6000).contains(&wait), "{wait} ms");

        // Not before its time, and not even after a restart again from the beginning.
        let shop = shop.reopened();
        shop.deliver().await;
        assert_eq!(tool.received().len(), 2);
        shop.pass(MINUTE);
        shop.deliver().await;
        tool.answers(200);
        let shop = shop.reopened();
        shop.pass(MINUTE);
        assert_eq!(shop.deliver().await.delivered, 1);
        assert_eq!(targets(&tool), [first, second.clone(), second.clone(), second], "{kind}");
        let received = tool.received();
        assert_eq!(received[1].body, received[3].body, "the same request");
        assert_eq!((only(&shop).state, only(&shop).attempts), (State::Delivered, 3));
    }
}

#[tokio::test]
async fn who_is_not_in_the_mailchimp_audience_is_passed_over() {
    let tool = Receiver::start().await;
    tool.answers(404);
    let shop = Shop::with_tool("mailchimp", &tool);
    shop.moves(&[1], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(targets(&tool), [format!("PATCH {MEMBER}")], "no tags for whom it does not know");
    let delivery = only(&shop);
    let words = "passed over: the tool does not know this customer";
    assert_eq!((delivery.last_status, delivery.last_error.as_deref()), (Some(404), Some(words)));
    assert_eq!(shop.health("tool").state, DestinationState::Active);
}

#[tokio::test]
async fn a_tool_that_wants_nothing_more_still_gets_the_rest_of_what_it_took() {
    let tool = Receiver::start().await;
    tool.decides(|request| {
        let answer = Answer::from(200);
        if target(request).starts_with("PATCH") { answer.header("webhook-delivery", "disable") } else { answer }
    });
    let shop = Shop::with_tool("mailchimp", &tool);
    shop.moves(&[1], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(targets(&tool), [format!("PATCH {MEMBER}"), format!("POST {MEMBER}/tags")]);
    let health = shop.health("tool");
    let words = "asked for nothing more (webhook-delivery: disable)";
    assert_eq!((health.state, health.reason.as_deref()), (DestinationState::Disabled, Some(words)));
}

#[tokio::test]
async fn what_a_tool_repeats_of_its_key_is_not_stored() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(500).body("no: S3CR3T-us6, Basic cXVpbnRpbGU6UzNDUjNULXVzNg=="));
    let shop = Shop::with_tool("mailchimp", &tool);
    shop.moves(&[1], "champion");
    shop.deliver().await;
    let answer = String::from_utf8(shop.attempts(1).remove(0).answer).unwrap();
    assert!(answer.starts_with("no: …, Basic ") && !answer.contains("UzNDUjNU"), "{answer}");
}

#[tokio::test]
async fn an_activecampaign_200_without_success_is_tried_three_times() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(200).body(r#"{"success":0,"message":"No such field"}"#));
    let shop = Shop::with_tool("activecampaign", &tool);
    shop.moves(&[1], "champion");
    for (attempt, state) in [(1, State::Retrying), (2, State::Retrying), (3, State::Dead)] {
        shop.deliver().await;
        assert_eq!((only(&shop).attempts, only(&shop).state), (attempt, state));
        shop.pass(MINUTE);
    }
    shop.deliver().await;
    assert_eq!(targets(&tool), ["POST /api/3/contact/sync"; 3]);
    let error = only(&shop).last_error;
    assert_eq!(error.as_deref(), Some("given up: answered 200 and refused the event: No such field"));
}

#[tokio::test]
async fn a_bare_403_of_mailchimp_waits_as_429_does() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(403).header("content-type", "text/html").body("<h1>Access Denied</h1>"));
    let shop = Shop::with_tool("mailchimp", &tool);
    shop.moves(&[1], "champion");
    shop.deliver().await;
    let health = shop.health("tool");
    assert_eq!((health.state, health.failures), (DestinationState::Active, 0), "{health:?}");
    assert_eq!(health.wait_until, Some(shop.now().plus_millis(5_000)), "all of it waits");
    assert_eq!(only(&shop).last_error.as_deref(), Some("answered 403: it asks us to slow down"));
    shop.moves(&[2], "champion");
    shop.deliver().await;
    assert_eq!(tool.received().len(), 1);
    tool.answers(200);
    for _ in 0..3 {
        shop.pass(MINUTE); // its rate was halved
        shop.deliver().await;
    }
    assert_eq!((shop.states(), tool.received().len()), (vec!["delivered"; 2], 5));

    // One with a problem document is about the key.
    tool.answers(Answer::from(403).header("content-type", "application/problem+json; charset=utf-8").body("{}"));
    shop.moves(&[1], "lost");
    shop.deliver().await;
    assert_eq!(shop.health("tool").state, DestinationState::Failing);
}

#[tokio::test]
async fn brevo_says_in_its_own_header_how_long_to_wait() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(429).header("x-sib-ratelimit-reset", "40"));
    let shop = Shop::with_tool("brevo", &tool);
    shop.moves(&[1], "champion");
    shop.deliver().await;
    assert_eq!(only(&shop).next_attempt_at, Some(shop.now().plus_millis(40_000)));
    tool.answers(200);
    shop.pass(Duration::from_millis(39_999));
    shop.deliver().await;
    assert_eq!(tool.received().len(), 1);
    shop.pass(Duration::from_millis(1));
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(targets(&tool), ["POST /v3/contacts", "POST /v3/contacts", "POST /v3/events"]);
}

#[tokio::test]
async fn a_wrong_key_is_named_and_kills_nothing() {
    for kind in TOOLS {
        let tool = Receiver::start().await;
        tool.answers(Answer::from(401).body(r#"{"errors":[{"code":"not_authenticated"}]}"#));
        let shop = Shop::with_tool(kind, &tool);
        shop.moves(&[1], "champion");
        shop.deliver().await;
        let health = shop.health("tool");
        assert_eq!(health.state, DestinationState::Failing, "{kind}");
        assert_eq!(health.reason.as_deref(), Some("answered 401: it does not accept the request; check the key"));
        assert_eq!(tool.received().len(), 1, "{kind}");
        tool.answers(200);
        shop.pass(MINUTE);
        assert_eq!(shop.deliver().await.delivered, 1, "{kind}");
        assert_eq!(shop.health("tool").state, DestinationState::Active);
    }
}

#[tokio::test]
async fn until_idle_waits_for_the_rate_of_a_tool() {
    let tool = Receiver::start().await;
    let shop = Shop::with_tool("omnisend", &tool);
    shop.moves(&[1, 2, 3, 4, 5], "champion");
    let start = shop.now();
    let time = until(|| {
        shop.pass(Duration::from_millis(10));
        false
    });
    tokio::select! {
        report = shop.deliver() => assert_eq!((report.delivered, report.waiting), (5, 0)),
        () = time => unreachable!("it panics"),
    }
    // 400 a minute: one every 150 ms.
    let took = shop.now().millis() - start.millis();
    assert!(took >= 450, "{took} ms");
}

/// Every text in a document.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

#[tokio::test]
async fn hostile_addresses_and_names_stay_values() {
    let long = format!("{}@example.com", "x".repeat(300));
    let people = [
        "plain@example.com",
        "\"a\\\" b\"@example.com",
        "{{ secret.api_key }}@example.com",
        "{% raw %}@example.com",
        "a\r\nx-evil: 1@example.com",
        "../../../x@example.com",
        "a?b#c%2f&d=e@example.com",
        "😀@exämple.com",
        "\"}],\"status\":\"subscribed\",\"x\":[{\"@example.com",
        long.as_str(),
    ];
    for kind in TOOLS {
        let tool = Receiver::start().await;
        let mut shop = Shop::with_tool(kind, &tool);
        shop.config.destination[0].fields = ["segment", "rfm", "counters", "name"].map(str::to_owned).to_vec();
        for (id, text) in (1..).zip(people) {
            let (id, text): (i64, String) = (id, text.to_owned());
            let update = "UPDATE customers SET email = ?2, first_name = ?2, last_name = ?2 WHERE id = ?1";
            shop.write(move |tx| Ok(tx.execute(update, (id, text))?));
        }
        let customers: Vec<i64> = (1..).take(people.len()).collect();
        shop.moves(&customers, "champion");
        let time = until(|| {
            shop.pass(Duration::from_millis(100));
            false
        });
        tokio::select! {
            report = shop.deliver() => assert_eq!(report.delivered, people.len() as u64, "{kind}"),
            () = time => unreachable!("it panics"),
        }
        let received = tool.received();
        let shape = |request: &Received| {
            let names: Vec<String> = request.headers.keys().map(ToString::to_string).collect();
            (request.method.clone(), request.path.split('/').count(), names)
        };
        let steps = received.len() / people.len();
        let plain: Vec<_> = received[..1].iter().chain(&received[received.len() - 1..]).map(shape).collect();
        assert!(received.iter().all(|request| plain.contains(&shape(request))), "{kind}: another shape");
        let mut found: Vec<Vec<String>> = Vec::new();
        for request in &received {
            let mut values = Vec::new();
            texts(&serde_json::from_slice(&request.body).unwrap_or_else(|_| form(request)), &mut values);
            assert!(!values.iter().any(|text| text.contains("S3CR3T")), "{kind} filled in a customer's template");
            for text in values.clone().iter().filter(|text| text.starts_with('{')) {
                texts(&serde_json::from_str(text).unwrap_or_default(), &mut values); // `visit` of a form
            }
            found.push(values);
        }
        let mut members: Vec<&str> = received.iter().map(|request| request.path.as_str()).collect();
        members.sort_unstable();
        members.dedup();
        if kind == "mailchimp" {
            assert_eq!(members.len(), steps * people.len(), "each has a place of their own");
        } else {
            assert_eq!(members.len(), steps, "{kind}");
            for email in people {
                let times = found.iter().filter(|values| values.iter().any(|text| text == email)).count();
                assert_eq!(times, steps, "{kind}: {email}");
            }
        }
    }
}
