use super::{captured::NotACapture, *};
use crate::delivery::sign::signature;

const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ID: &str = "msg_01JDABCDEFGHJKMNPQRSTVWXYZ";
const AT: i64 = 1_795_694_400;
const BODY: &str =
    "{\"type\":\"rfm/segment.changed\",\"id\":\"evt_1\",\"name\":\"Zoë 💐 a/b \\\"q\\\" \\u0007\",\"n\":1.50}";

fn keys(secret: &str) -> Vec<Key> {
    Key::parse_all(secret).unwrap()
}

/// A genuine request with its body, and any header, replaced.
fn request(body: &[u8], changes: &[(&str, Option<&str>)]) -> Captured {
    let signature = signature(&keys(NEW), ID, AT, BODY.as_bytes());
    let at = AT.to_string();
    let genuine = [("Webhook-Id", ID), ("webhook-timestamp", &at), ("WEBHOOK-SIGNATURE", &signature)];
    let value = |name: &str, value: &str| match changes.iter().find(|(it, _)| name.eq_ignore_ascii_case(it)) {
        Some((_, change)) => change.map(str::to_owned),
        None => Some(value.to_owned()),
    };
    let lines: Vec<String> =
        genuine.iter().filter_map(|(name, it)| Some(format!("{name}: {}", value(name, it)?))).collect();
    Captured::from_parts(format!("POST /hook HTTP/1.1\r\n{}", lines.join("\r\n")).as_bytes(), body.to_vec()).unwrap()
}

fn faults(request: &Captured, secret: &str, seconds: i64) -> Vec<Fault> {
    check(request, &keys(secret), Some(Timestamp::from_millis(seconds * 1000))).faults
}

#[test]
fn a_genuine_request_has_no_fault() {
    let genuine = request(BODY.as_bytes(), &[]);
    let report = check(&genuine, &keys(&format!("{OLD} {NEW}")), Some(Timestamp::from_millis((AT + 7) * 1000)));
    assert_eq!(
        report,
        Report { faults: vec![], message_id: Some(ID.to_owned()), timestamp: Some(AT), age_s: Some(7), key: Some(1) }
    );
    for late in [-300, 0, 300] {
        assert_eq!(faults(&genuine, NEW, AT + late), [], "{late}");
    }
    assert_eq!(check(&genuine, &keys(NEW), None).faults, [], "its age is not asked for");
}

#[test]
fn each_wrong_part_is_named() {
    let body = BODY.as_bytes();
    let with = |name: &'static str, value: Option<&str>| request(body, &[(name, value)]);
    for (name, wrong, fault) in [
        ("no id", with("webhook-id", None), Fault::Missing("webhook-id")),
        ("no time", with("webhook-timestamp", None), Fault::Missing("webhook-timestamp")),
        ("an empty signature", with("webhook-signature", Some("")), Fault::Missing("webhook-signature")),
        ("no version", with("webhook-signature", Some("g0hM9SsE+OTPJTGt= v1a,xx")), Fault::NoVersion),
        ("junk", with("webhook-signature", Some("v1,junk")), Fault::Unmatched),
        ("a lower-cased id", with("webhook-id", Some(&ID.to_lowercase())), Fault::Id(ID.to_owned())),
        ("another time", with("webhook-timestamp", Some(&(AT + 1).to_string())), Fault::Unmatched),
        ("milliseconds", with("webhook-timestamp", Some(&(AT * 1000).to_string())), Fault::Timestamp(AT)),
        ("another body", request(b"{}", &[]), Fault::Unmatched),
    ] {
        assert_eq!(faults(&wrong, NEW, AT), [fault], "{name}");
    }
    let word = with("webhook-timestamp", Some("2026-11-26T12:00:00Z"));
    assert_eq!(faults(&word, NEW, AT), [Fault::NotATimestamp, Fault::Unmatched]);

    let genuine = request(body, &[]);
    assert_eq!(faults(&genuine, NEW, AT + 301), [Fault::TooOld(301)]);
    assert_eq!(faults(&genuine, NEW, AT - 301), [Fault::TooNew(301)]);
    assert_eq!(faults(&genuine, OLD, AT), [Fault::Unmatched]);
    let end = Timestamp::from_millis(AT * 1000);
    assert_eq!(faults(&genuine, &format!("{OLD} {NEW}@{end}"), AT), [Fault::KeyEnded(end)]);
}

#[test]
fn what_was_done_to_the_body_is_said() {
    let spaced = BODY.replace(',', ", ").replace("\":", "\": ");
    let python = spaced.replace('ë', "\\u00eb").replace("💐", "\\ud83d\\udc90");
    let pretty = BODY.replace('{', "{\n  ").replace(',', ",\n  ");
    let php = BODY.replace("a/b", "a\\/b").replace("rfm/", "rfm\\/");
    let latin1: String = BODY.bytes().map(char::from).collect();
    for (body, change) in [
        (format!("{BODY}\n"), Change::NewlineAdded),
        (format!("{BODY}\r\n"), Change::NewlineAdded),
        (format!("\u{feff}{BODY}"), Change::ByteOrderMark),
        (latin1, Change::Latin1),
        (spaced, Change::Reserialised),
        (python, Change::Reserialised),
        (pretty, Change::Reserialised),
        (php, Change::Reserialised),
    ] {
        let faults = faults(&request(body.as_bytes(), &[]), NEW, AT);
        assert_eq!(faults, [Fault::Body(change)], "{body}");
    }
    for (sent, came, change) in [
        ("{\n}", "{\r\n}", Change::LineEndings),
        ("{\r\n}", "{\n}", Change::LineEndingsUnified),
        ("{}\n", "{}", Change::NewlineRemoved),
    ] {
        let signature = signature(&keys(NEW), ID, AT, sent.as_bytes());
        let changed = request(came.as_bytes(), &[("webhook-signature", Some(&signature))]);
        assert_eq!(faults(&changed, NEW, AT), [Fault::Body(change)], "{came:?}");
    }
}

#[test]
fn an_id_from_the_body_is_recognised() {
    let signature = signature(&keys(NEW), "evt_1", AT, BODY.as_bytes());
    let mistaken = request(BODY.as_bytes(), &[("webhook-signature", Some(&signature))]);
    assert_eq!(faults(&mistaken, NEW, AT), [Fault::Id("evt_1".to_owned())]);
}

#[test]
fn a_capture_may_have_many_shapes() {
    let expected = Captured::from_parts(b"webhook-id: msg_1\nx: 2", b"{}\n\n{}".to_vec()).unwrap();
    assert_eq!(expected.header("webhook-id"), Some("msg_1"));
    for raw in [
        "POST /h HTTP/1.1\r\nWebhook-Id:msg_1\r\nX: 2\r\n\r\n{}\n\n{}",
        "webhook-id: msg_1\nx: 2\n\n{}\n\n{}",
        "\u{feff}POST http://a:80/h HTTP/1.1\nwebhook-id:  msg_1 \nx:2\n\n{}\n\n{}",
    ] {
        assert_eq!(Captured::from_request(raw.as_bytes()).unwrap(), expected, "{raw:?}");
    }
    let object = br#"{"Webhook-Id": ["msg_1"], "x": 2, "y": null}"#;
    let object = Captured::from_parts(object, b"{}".to_vec()).unwrap();
    assert_eq!((object.header("webhook-id"), object.header("x"), object.header("y")), (Some("msg_1"), Some("2"), None));
    for (raw, error) in [
        (b"webhook-id: msg_1\r\n{}".as_slice(), NotACapture::NoBlankLine),
        (b"{\"a\": \n\n", NotACapture::NotAnObject),
        (b"\xff: 1\n\n", NotACapture::NotText),
        (b"nothing here\n\n{}", NotACapture::NoHeaders),
    ] {
        assert_eq!(Captured::from_request(raw).unwrap_err(), error, "{}", String::from_utf8_lossy(raw));
    }
}
