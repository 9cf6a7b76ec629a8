//! One conformance test over all presets, and what the template language promises.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Request, Secret, Shop};

const SECRET: &str = "S3CR3T-us6";

/// A destination of `kind` with everything that it may be told.
fn destination(kind: &str) -> config::Destination {
    let preset = Preset::of(kind).unwrap();
    let settings = |settings: &BTreeMap<String, config::Setting>, value: &str| -> BTreeMap<String, String> {
        settings.keys().map(|name| (name.clone(), value.to_owned())).collect()
    };
    let mut vars = settings(&preset.vars, "12");
    vars.remove("dc");
    let mut destination = config::Destination {
        name: "tool".to_owned(),
        kind: kind.to_owned(),
        vars,
        secrets: settings(&preset.secrets, SECRET).into_iter().map(|(k, v)| (k, Secret::new(v))).collect(),
        fields: ["segment", "rfm", "counters", "email", "name", "phone"].map(str::to_owned).to_vec(),
        batch: preset.batch.max(1),
        ..Default::default()
    };
    match kind {
        "webhook" => destination.url = "https://hooks.example.com/catch/1".to_owned(),
        "template" => {
            destination.secrets.insert("token".to_owned(), Secret::new(SECRET));
            destination.events = vec!["rfm/segment.changed".to_owned()];
            destination.request = vec![Request {
                method: "PUT".to_owned(),
                url: "https://crm.example/people/{{ customer.email }}?segment={{ event.newSegment }}".to_owned(),
                headers: [("Authorization", "Bearer {{ secret.token }}"), ("x-name", "{{ customer.firstName or '' }}")]
                    .map(|(name, text)| (name.to_owned(), text.to_owned()))
                    .into(),
                body: r#"{"segment": {{ event.newSegment }}, "spent": {{ customer.totalSpent|number }}, "name": {{ customer.firstName }}}"#
                    .to_owned(),
                ..Default::default()
            }];
        }
        _ => {}
    }
    destination
}

fn plan(kind: &str) -> Plan {
    Plan::from_config(&destination(kind), &Shop::default()).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

fn envelope(kind: &str, email: &str, first_name: Option<&str>) -> Value {
    json!({
        "type": kind, "timestamp": "2026-11-23T02:00:04.120Z", "id": "evt_01JDBQC1S8E0R8X6VJ2S3T4V5W", "seq": 7,
        "data": {
            "shopId": "demo.myshopify.com", "customerId": "118", "oldSegment": "loyal", "newSegment": "champion",
            "eventTimestamp": "2026-11-23T02:00:04.120Z", "runId": 1, "cause": "order", "rfm": {"r": 5, "f": 4, "m": 3},
            "customer": {
                "source": "shopify", "externalId": "7001", "email": email, "firstName": first_name, "lastName": null,
                "phone": null, "orderCount": 7, "totalSpent": "412.50", "currency": "EUR",
                "lastOrderAt": "2026-11-21T09:12:00Z",
            },
        },
    })
}

fn batch(events: &[Value]) -> Value {
    json!({
        "type": "rfm/segment.changed.batch", "timestamp": "2026-11-23T02:00:04.120Z", "id": "msg_1",
        "count": events.len(), "data": {"shopId": "demo.myshopify.com", "runId": 1, "events": events},
    })
}

/// All requests of a message.
fn all(plan: &Plan, envelope: &Value, quiet: bool) -> Result<Vec<Rendered>, RenderError> {
    let body = envelope.to_string();
    let message = Message { body: body.as_bytes(), message_id: "msg_1", quiet };
    let mut requests = Vec::new();
    for step in 0..plan.steps() {
        requests.extend(plan.render(step, &message)?);
    }
    Ok(requests)
}

fn body(request: &Rendered) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_else(|_| {
        let fields = url::form_urlencoded::parse(&request.body);
        Value::Object(fields.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect())
    })
}

/// Every key in a JSON document.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            found.push(key.to_lowercase());
            keys(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn every_preset_keeps_the_rules() {
    let long = "Å".repeat(3000);
    let people = [
        ("anna@example.com", Some("Anna")),
        ("anna@example.com", None),
        ("\"a b\"/..?#%2f&=\r\n@exämple.com", Some("\"}],{\"status\":\"subscribed\r\nx: y")),
        ("a@b.example", Some(long.as_str())),
    ];
    for preset in Preset::all() {
        let (kind, plan) = (preset.kind.as_str(), plan(&preset.kind));
        for (email, name) in people {
            // Of an erasure presets have no words.
            let told = sample::TYPES.into_iter().filter(|kind| *kind != sample::REDACTED || preset.sign);
            let singles: Vec<Value> = told.map(|kind| envelope(kind, email, name)).collect();
            let batches = [batch(&singles[..1]), batch(&[singles[0].clone(), singles[0].clone()])];
            let batches = if plan.batch_limit() > 1 { &batches[..] } else { &[] };
            for (envelope, quiet) in singles.iter().chain(batches).flat_map(|one| [(one, false), (one, true)]) {
                let requests = match all(&plan, envelope, quiet) {
                    Ok(requests) => requests,
                    // The example of a template puts the name into a header.
                    Err(error) if error.part == "header x-name" && name.is_some_and(|name| name.contains('\n')) => {
                        continue;
                    }
                    Err(error) => panic!("{kind} {quiet} {email}: {error}"),
                };
                assert!(!requests.is_empty(), "{kind} sends nothing");
                assert_eq!(requests, all(&plan, envelope, quiet).unwrap(), "{kind} is not deterministic");
                for request in &requests {
                    let content_type = request.headers[CONTENT_TYPE].to_str().unwrap();
                    assert!(content_type.contains("json") || content_type.contains("form"), "{kind}: {content_type}");
                    assert!(!request.url.as_str().contains(SECRET), "{kind} shows a secret in its address");
                    assert_eq!(request.url.scheme(), "https");
                    if kind == "webhook" {
                        assert_eq!(body(request), *envelope);
                        continue;
                    }
                    let mut names = Vec::new();
                    keys(&body(request), &mut names);
                    let consent = |name: &&String| {
                        ["subscri", "consent", "optin", "opt_in", "blacklist", "status", "channels"]
                            .iter()
                            .any(|word| name.contains(word))
                    };
                    let tags = request.url.path().ends_with("/tags");
                    assert_eq!(names.iter().find(consent).filter(|_| !tags), None, "{kind} speaks of consent");
                }
                let auth = ["authorization", "api-key", "api-token"];
                let signed_in = auth.iter().any(|name| requests[0].headers.contains_key(*name));
                assert_eq!(signed_in, kind != "webhook", "{kind}");
            }
        }
        assert!(!format!("{plan:?}").contains("S3CR3T"), "{plan:?}");
    }
}

#[test]
fn what_the_presets_say() {
    let event = envelope("rfm/segment.changed", "Anna@Example.com", Some("Anna"));
    let properties = json!({
        "rfm_segment": "champion", "rfm_r": 5, "rfm_f": 4, "rfm_m": 3, "total_spent": 412.5, "order_count": 7,
        "last_order_at": "2026-11-21T09:12:00Z",
    });

    for (message, quiet, count) in [(event.clone(), false, 1), (batch(&[event.clone(), event.clone()]), true, 2)] {
        let klaviyo = all(&plan("klaviyo"), &message, quiet).unwrap();
        assert_eq!(klaviyo[0].headers["authorization"], "Klaviyo-API-Key S3CR3T-us6");
        assert_eq!(klaviyo[0].headers["revision"], "2026-07-15");
        let jobs = body(&klaviyo[0])["data"]["attributes"]["events-bulk-create"]["data"].clone();
        assert_eq!(jobs.as_array().unwrap().len(), count);
        let job = &jobs[0]["attributes"];
        assert_eq!(job["backfill"], quiet);
        assert_eq!(job["profile"]["data"]["attributes"]["properties"], properties);
        assert_eq!(job["profile"]["data"]["attributes"]["email"], "Anna@Example.com");
        let attributes = &job["events"]["data"][0]["attributes"];
        assert_eq!(attributes["unique_id"], "evt_01JDBQC1S8E0R8X6VJ2S3T4V5W");
        assert_eq!(attributes["metric"]["data"]["attributes"]["name"], "RFM Segment Changed");
    }

    let mailchimp = all(&plan("mailchimp"), &event, true).unwrap();
    // The MD5 of anna@example.com.
    let member = "https://us6.api.mailchimp.com/3.0/lists/12/members/6b56db1f84a3997b902509d3fbf0a306";
    assert_eq!(mailchimp[0].method, Method::PATCH);
    assert_eq!(mailchimp[0].url.as_str(), format!("{member}?skip_merge_validation=true"));
    assert_eq!(body(&mailchimp[0])["merge_fields"]["SEGMENT"], "champion");
    assert_eq!(body(&mailchimp[0])["merge_fields"]["LASTORDER"], "2026-11-21");
    assert_eq!(mailchimp[1].url.as_str(), format!("{member}/tags"));
    assert_eq!(
        body(&mailchimp[1]),
        json!({"tags": [{"name": "rfm-loyal", "status": "inactive"}, {"name": "rfm-champion", "status": "active"}], "is_syncing": true})
    );
    assert_eq!(mailchimp.len(), 2);

    let omnisend = all(&plan("omnisend"), &event, false).unwrap();
    assert_eq!((omnisend.len(), omnisend[0].url.path()), (1, "/api/events"));
    assert_eq!(body(&omnisend[0])["contact"]["customProperties"], properties);
    let id = body(&omnisend[0])["eventID"].as_str().unwrap().to_owned();
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    let quiet = all(&plan("omnisend"), &event, true).unwrap();
    assert_eq!((quiet.len(), quiet[0].url.path()), (1, "/api/contacts"));
    assert_eq!(body(&quiet[0])["identifiers"], json!([{"type": "email", "id": "Anna@Example.com"}]));

    let brevo = all(&plan("brevo"), &event, false).unwrap();
    assert_eq!(body(&brevo[0])["attributes"]["TOTAL_SPENT"], json!(412.5));
    assert_eq!(body(&brevo[0])["updateEnabled"], true);
    assert_eq!(body(&brevo[1])["event_name"], "rfm_segment_changed");
    assert_eq!(all(&plan("brevo"), &event, true).unwrap().len(), 1);

    let campaign = all(&plan("activecampaign"), &event, false).unwrap();
    assert_eq!(campaign[0].url.as_str(), "https://12.api-us1.com/api/3/contact/sync");
    assert_eq!(body(&campaign[0])["contact"]["fieldValues"][0], json!({"field": "12", "value": "champion"}));
    assert_eq!(campaign[1].url.as_str(), "https://trackcmp.net/event");
    assert_eq!(body(&campaign[1])["visit"], r#"{"email": "Anna@Example.com"}"#);
    assert_eq!(body(&campaign[1])["eventdata"], "champion");
}

#[test]
fn other_events_have_names_and_unknown_ones_are_passed_over() {
    for (kind, name) in [("customer/first_order", "First Order"), ("customer/lapsed", "Customer Lapsed")] {
        let omnisend = all(&plan("omnisend"), &envelope(kind, "a@b.example", None), false).unwrap();
        assert_eq!(body(&omnisend[0])["eventName"], name);
    }
    let mut test = envelope("test", "a@b.example", None);
    test["test"] = true.into();
    let marked = all(&plan("klaviyo"), &test, false).unwrap();
    assert!(String::from_utf8_lossy(&marked[0].body).contains("\"test\":true"));
    let redacted = envelope("customer/redacted", "a@b.example", None);
    assert_eq!(all(&plan("klaviyo"), &redacted, false), Ok(Vec::new()));
}

#[test]
fn who_lost_their_segment_loses_it_in_the_tool() {
    let mut event = envelope("rfm/segment.changed", "a@b.example", None);
    event["data"]["newSegment"] = Value::Null;
    event["data"]["rfm"] = Value::Null;
    let brevo = all(&plan("brevo"), &event, false).unwrap();
    assert_eq!(body(&brevo[0])["attributes"]["RFM_SEGMENT"], "");
    let tags = all(&plan("mailchimp"), &event, false).unwrap();
    assert_eq!(body(&tags[1])["tags"], json!([{"name": "rfm-loyal", "status": "inactive"}]));
    event["type"] = "customer/first_order".into();
    assert!(body(&all(&plan("brevo"), &event, false).unwrap()[0])["attributes"].get("RFM_SEGMENT").is_none());
}

#[test]
fn names_and_base_url_change_what_they_say() {
    let mut changed = destination("klaviyo");
    changed.names = [("rfm_segment", "segment_rfm"), ("rfm_r", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    changed.base_url = "http://127.0.0.1:9000/stand-in/".to_owned();
    let plan = Plan::from_config(&changed, &Shop::default()).unwrap();
    let request = &all(&plan, &envelope("rfm/segment.changed", "a@b.example", None), false).unwrap()[0];
    assert_eq!(request.url.as_str(), "http://127.0.0.1:9000/stand-in/api/event-bulk-create-jobs");
    assert_eq!(plan.masked_url(), "http://127.0.0.1:9000/…");
    let text = String::from_utf8_lossy(&request.body).into_owned();
    assert!(
        text.contains("\"segment_rfm\":\"champion\"") && !text.contains("rfm_r") && text.contains("rfm_f"),
        "{text}"
    );
}

#[test]
fn where_requests_go_and_how_many() {
    for (kind, hosts, requests) in [
        ("webhook", vec!["hooks.example.com"], 1),
        ("klaviyo", vec!["a.klaviyo.com"], 1),
        ("mailchimp", vec!["us6.api.mailchimp.com"], 2),
        ("omnisend", vec!["api.omnisend.com"], 1),
        ("brevo", vec!["api.brevo.com"], 2),
        ("activecampaign", vec!["12.api-us1.com", "trackcmp.net"], 2),
        ("template", vec!["crm.example"], 1),
    ] {
        let plan = plan(kind);
        let hosts: Vec<(String, u16)> = hosts.into_iter().map(|host| (host.to_owned(), 443)).collect();
        assert_eq!((plan.hosts(), plan.requests()), (hosts, requests), "{kind}");
    }
    let mut campaign = destination("activecampaign");
    campaign.secrets.remove("event_key");
    let plan = Plan::from_config(&campaign, &Shop::default()).unwrap();
    assert_eq!((plan.steps(), plan.requests()), (2, 1), "without a key there are no events");
}

#[test]
fn an_answer_is_read_as_the_tool_means_it() {
    let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    };
    let meaning = |kind: &str, status, pairs: &[(&'static str, &'static str)], body: &str| {
        plan(kind).read(0, status, &headers(pairs), body.as_bytes()).meaning
    };
    assert_eq!(meaning("mailchimp", 404, &[], "{}"), Meaning::Skipped);
    assert_eq!(meaning("mailchimp", 403, &[("content-type", "text/html")], "<html>"), Meaning::Throttled);
    let problem = [("content-type", "application/problem+json; charset=utf-8")];
    assert_eq!(meaning("mailchimp", 403, &problem, "{}"), Meaning::Plain);
    for zero in ["0", "\"0\"", "false"] {
        let body = format!("{{\"success\":{zero},\"message\":\"Invalid key\\n\"}}");
        assert_eq!(meaning("activecampaign", 200, &[], &body), Meaning::Refused("Invalid key".to_owned()));
    }
    assert_eq!(meaning("activecampaign", 200, &[], r#"{"success":1}"#), Meaning::Plain);
    assert_eq!(meaning("activecampaign", 200, &[], r#"{"contact":{}}"#), Meaning::Plain);
    let limited = plan("brevo").read(0, 429, &headers(&[("x-sib-ratelimit-reset", "7")]), b"");
    assert_eq!(limited, Reading { meaning: Meaning::Plain, retry_after: Some("7".to_owned()) });
}

/// What is said of a template destination whose request was changed.
fn refused(change: impl FnOnce(&mut config::Destination)) -> String {
    let mut destination = destination("template");
    change(&mut destination);
    Plan::from_config(&destination, &Shop::default()).expect_err("it is refused").to_string()
}

#[test]
fn a_mistake_in_a_template_shows_at_start() {
    type Change = fn(&mut config::Destination);
    let cases: [(Change, &str); 12] = [
        (
            |d| d.request[0].body = "{\"a\": {{ event.newSegmnt }}}".into(),
            "number 1, body: there is no event.newSegmnt",
        ),
        (
            |d| d.fields = vec!["segment".into()],
            "number 1, header x-name: there is no customer.firstName; add \"name\"",
        ),
        (|d| d.secrets.clear(), "there is no secret.token; write it as a key of the destination"),
        (
            |d| d.request[0].body = "{\"a\": \"{{ event.id }}\"}".into(),
            "number 1, body: what it makes is not JSON at line 1",
        ),
        (|d| d.request[0].body = "{\"a\": {{ event.id }".into(), "number 1, body: syntax error"),
        (
            |d| d.request[0].url = "crm.example/{{ customer.id }}".into(),
            "number 1, url: what it makes is not an address",
        ),
        (|d| d.request[0].url = "http://crm.example/".into(), "number 1, url: it must start with https://"),
        (
            |d| d.request[0].url = "https://crm.example/../x".into(),
            "number 1, url: the address has a part that is only dots",
        ),
        (
            |d| d.request[0].url = "https://crm.example/{{ customer.phonee }}".into(),
            "number 1, url: there is no customer.phonee",
        ),
        (|d| d.request[0].when = "event.test ==".into(), "number 1, when: syntax error"),
        (|d| d.request[0].body = "{\"a\": {{ event.id|safe }}}".into(), "number 1, body: unknown filter: filter safe"),
        (
            |d| d.request[0].headers = [("a b".to_owned(), String::new())].into(),
            "number 1, header a b: this is not a name",
        ),
    ];
    for (change, message) in cases {
        let found = refused(change);
        assert!(found.starts_with("[[destination]] \"tool\": `request` number 1, "), "{found}");
        assert!(found.contains(message), "{found}\nlacks {message}");
        assert!(!found.contains("S3CR3T"), "{found}");
    }
    let mut keyless = destination("mailchimp");
    keyless.secrets.insert("api_key".to_owned(), Secret::new("nosuffix"));
    let found = Plan::from_config(&keyless, &Shop::default()).unwrap_err().to_string();
    assert!(found.contains("`vars` lacks dc: the data center, like us6") && !found.contains("nosuffix"), "{found}");
}

#[test]
fn a_customer_cannot_change_where_a_request_goes() {
    let mut elsewhere = destination("template");
    elsewhere.request[0].url = "https://{{ customer.email|replace('@example.com', '') }}.example/".to_owned();
    let plan = Plan::from_config(&elsewhere, &Shop::default()).unwrap();
    let error = all(&plan, &envelope("rfm/segment.changed", "evil@example.com", Some("A")), false).unwrap_err();
    assert!(error.problem.contains("another host"), "{error}");
    for email in ["", ".", ".."] {
        let error =
            all(&self::plan("template"), &envelope("rfm/segment.changed", email, Some("A")), false).unwrap_err();
        assert_eq!(error.part, "url");
    }
}

#[test]
fn a_template_is_tried_with_every_type_that_reaches_it() {
    let with = |body: &str, events: &[&str]| {
        let mut given = destination("template");
        given.request[0].url = "https://crm.example/people".to_owned();
        given.request[0].body = body.to_owned();
        given.events = events.iter().map(|kind| (*kind).to_owned()).collect();
        Plan::from_config(&given, &Shop::default()).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with("{\"r\": {{ event.rfm.r }}}", &[]), Ok(()), "empty where there are no scores");
    let score = "{\"r\": {{ event.rfm.r + 1 }}}";
    let found = with(score, &[]).unwrap_err();
    for part in ["`request` number 1, body: ", "of an event of type customer/first_order", "`events`"] {
        assert!(found.contains(part), "{found}\nlacks {part}");
    }
    assert_eq!(with(score, &["rfm/segment.changed"]), Ok(()));
    assert!(with(score, &["customer/lapsed"]).unwrap_err().contains("of type customer/lapsed"));
    assert_eq!(with("{\"days\": {{ event.lapsedDays }}}", &["customer/lapsed"]), Ok(()));
}

#[test]
fn a_command_without_the_secrets_still_has_a_plan() {
    let mut destination = destination("mailchimp");
    destination.secrets.insert("api_key".to_owned(), Secret::default());
    assert_eq!(Plan::from_config(&destination, &Shop::default()).unwrap().connections(), 10);
}

/// Made once for all cases.
static PLANS: std::sync::LazyLock<Vec<(&str, Plan)>> = std::sync::LazyLock::new(|| {
    Preset::all().iter().map(|preset| (preset.kind.as_str(), plan(&preset.kind))).collect()
});

/// A template destination with one body of another kind than JSON.
fn with_body(content_type: &str, body: &str) -> Plan {
    let mut destination = destination("template");
    destination.request[0].headers.insert("Content-Type".to_owned(), content_type.to_owned());
    body.clone_into(&mut destination.request[0].body);
    Plan::from_config(&destination, &Shop::default()).unwrap_or_else(|error| panic!("{content_type}: {error}"))
}

#[test]
fn a_body_is_written_as_its_content_type_wants_it() {
    let event = envelope("rfm/segment.changed", "a&status=subscribed<admin/>\"'@x.example", Some("A"));
    let sent = |plan: &Plan| String::from_utf8(all(plan, &event, false).unwrap()[0].body.clone()).unwrap();
    let form =
        with_body("application/x-www-form-urlencoded; charset=utf-8", "a={{ customer.email }}&b={{ event.seq }}");
    assert_eq!(
        url::form_urlencoded::parse(sent(&form).as_bytes()).collect::<Vec<_>>(),
        [("a".into(), "a&status=subscribed<admin/>\"'@x.example".into()), ("b".into(), "7".into())]
    );
    for xml in ["application/xml", "text/html", "application/soap+xml", "TEXT/XML;charset=utf-8"] {
        let plan = with_body(xml, "<p id='{{ customer.email }}'/>");
        let attribute = "a&amp;status=subscribed&lt;admin&#x2f;&gt;&quot;&#x27;@x.example";
        assert_eq!(sent(&plan), format!("<p id='{attribute}'/>"), "{xml}");
    }
    let text = with_body("text/plain", "{{ customer.email }}\nHi");
    assert_eq!(sent(&text), "a&status=subscribed<admin/>\"'@x.example\nHi");
    let broken = envelope("rfm/segment.changed", "a\nb@x.example", Some("A"));
    for plan in [&text, &with_body("application/xml", "<p>{{ customer.email }}</p>")] {
        assert_eq!(all(plan, &broken, false).unwrap_err().part, "body");
    }
    for unknown in ["{{ event.id }}", "text/csv", "multipart/form-data; boundary=x", ""] {
        let found = refused(|d| {
            d.request[0].headers.insert("content-type".to_owned(), unknown.to_owned());
        });
        assert!(found.contains("number 1, header Content-Type: write application/json, "), "{unknown}: {found}");
    }
}

proptest! {
    #[test]
    fn no_value_breaks_out_of_a_form_or_markup(email in any::<String>()) {
        let event = envelope("rfm/segment.changed", &email, Some("A"));
        let form = with_body("application/x-www-form-urlencoded", "a={{ customer.email }}&b=1");
        // Elsewhere in the request it stands too: in the address.
        if let Ok(requests) = all(&form, &event, false) {
            let fields: Vec<_> = url::form_urlencoded::parse(&requests[0].body).collect();
            prop_assert_eq!(fields, [("a".into(), email.as_str().into()), ("b".into(), "1".into())]);
        }
        if let Ok(requests) = all(&with_body("text/xml", "<a>{{ customer.email }}</a>"), &event, false) {
            let body = String::from_utf8(requests[0].body.clone()).unwrap();
            prop_assert_eq!(body.matches(['<', '>']).count(), 4);
            prop_assert!(!body.contains(char::is_control));
        }
    }

    #[test]
    fn no_value_breaks_out(email in any::<String>(), name in any::<String>()) {
        let (_, plan) = PLANS.iter().find(|(kind, _)| *kind == "template").unwrap();
        let event = envelope("rfm/segment.changed", &email, Some(&name));
        match all(plan, &event, false) {
            Ok(requests) => {
                let request = &requests[0];
                prop_assert_eq!(request.url.host_str(), Some("crm.example"));
                prop_assert_eq!(request.url.path_segments().unwrap().count(), 2);
                let segment = request.url.path_segments().unwrap().nth(1).unwrap();
                let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().unwrap();
                prop_assert_eq!(decoded.as_ref(), email.as_str());
                prop_assert_eq!(body(request), json!({"segment": "champion", "spent": 412.5, "name": name}));
                for value in request.headers.values() {
                    prop_assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
                }
            }
            Err(error) => prop_assert!(
                (error.part == "url" && ["", ".", ".."].contains(&email.as_str()))
                    || (error.part == "header x-name" && name.contains(char::is_control)),
                "{}", error
            ),
        }
        for (_, plan) in PLANS.iter().filter(|(kind, plan)| *kind != "template" && !plan.sign()) {
            let plain = envelope("rfm/segment.changed", "a@b.example", Some("A"));
            let (hostile, plain) = (all(plan, &event, false).unwrap(), all(plan, &plain, false).unwrap());
            prop_assert_eq!(hostile.len(), plain.len());
            for (hostile, plain) in hostile.iter().zip(&plain) {
                let (mut found, mut expected) = (Vec::new(), Vec::new());
                keys(&body(hostile), &mut found);
                keys(&body(plain), &mut expected);
                prop_assert_eq!(found, expected);
                prop_assert_eq!(hostile.url.host_str(), plain.url.host_str());
                prop_assert_eq!(hostile.url.path().split('/').count(), plain.url.path().split('/').count());
            }
        }
    }
}
