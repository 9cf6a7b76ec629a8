//! Who an email tool is told of, and what the first run of all does to it.

use std::{sync::Arc, time::Duration};

use quintile::{
    config::{Baseline, UnknownConsent},
    outbox::{self, Claim, Claims, Disposition, Places, Route, State},
};

use tokio_util::sync::CancellationToken;

use super::{
    fixture::{Shop, until},
    tools::targets,
};
use crate::support::{
    folder::ONCE,
    receiver::{Answer, Receiver},
};

const NO: &str = "the customer has not agreed to e-mail marketing";
const HOUR: Duration = Duration::from_secs(3600);
/// A tool's kind, the requests that tell it quietly, those that tell it news, and the word in the
/// last of them that says which.
type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], Option<&'a str>);

/// Klaviyo takes what it gets; nothing is known of anybody's consent.
fn silent(tool: &Receiver) -> Shop {
    let shop = Shop::with_tool("klaviyo", tool);
    shop.says_consent(1..=400, None);
    shop
}

fn reasons(shop: &Shop) -> Vec<Option<String>> {
    shop.deliveries().into_iter().map(|delivery| delivery.last_error).collect()
}

#[tokio::test]
async fn only_who_agreed_and_has_an_address_is_told_of() {
    let tool = Receiver::start().await;
    let shop = silent(&tool);
    shop.says_consent([1, 4], Some("subscribed"));
    shop.says_consent([2], Some("unsubscribed"));
    shop.says_consent([3], Some("not_subscribed"));
    shop.write(|tx| Ok(tx.execute("UPDATE customers SET email = NULL WHERE id = 4", [])?));
    shop.moves(&[1, 2, 3, 4, 5], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["delivered", "discarded", "discarded", "discarded", "held"]);
    let no_email = "the customer has no e-mail address";
    assert_eq!(reasons(&shop), [None, Some(NO.into()), Some(NO.into()), Some(no_email.into()), None]);
    let body = String::from_utf8(tool.received()[0].body.clone()).unwrap();
    assert!(body.contains("customer1@example.com") && !body.contains("subscribed"), "{body}");
    assert_eq!(tool.received().len(), 1);
}

/// A first run may be held for everybody: what waits for a consent is looked for among all of that.
#[tokio::test]
async fn what_is_held_for_other_reasons_is_looked_through_in_slices() {
    let tool = Receiver::start().await;
    let shop = silent(&tool);
    shop.dir.except(&[ONCE]);
    shop.moves(&[1], "champion");
    shop.write(|tx| {
        Ok(tx.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
             INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, hold, created_at)
             SELECT randomblob(16), 'tool', 1, 1, 1, 'held', 'baseline', 1 FROM n",
            [],
        )?)
    });
    shop.moves(&[2], "champion");
    shop.says_consent([1, 2], Some("subscribed"));
    let review = |after: i64| {
        let (routes, now) = (Route::from_config(&shop.config).unwrap(), shop.now());
        shop.write(move |tx| Ok(outbox::review_consent(tx, &routes, after, 1000, now)?))
    };
    let ends = || {
        let states = shop.states();
        (states[0], states[states.len() - 1])
    };
    assert_eq!((review(0), ends()), (Some(10_000), ("waiting", "held")));
    assert_eq!((review(10_000), ends()), (None, ("waiting", "waiting")));
}

#[tokio::test]
async fn what_a_guest_said_holds_when_an_id_takes_them_over() {
    let tool = Receiver::start().await;
    let mut shop = silent(&tool);
    // Customers 3 and 4 were guests before their ids came; 4 has said otherwise since.
    shop.write(|tx| {
        Ok(tx.execute_batch(
            "UPDATE customers SET email_key = email;
             INSERT INTO customers (source, email, email_key, consent, merged_into, created_at)
               SELECT 'csv', email, email_key, CASE id WHEN 3 THEN 'not_subscribed' ELSE 'subscribed' END, id, 1
               FROM customers WHERE id IN (3, 4, 5);
             UPDATE customers SET consent_version = 1 WHERE id = 4",
        )?)
    });
    shop.config.consent.unknown = UnknownConsent::Send;
    shop.moves(&[3], "champion");
    assert_eq!(shop.deliver().await.delivered, 0);
    assert_eq!((shop.states(), reasons(&shop)), (vec!["discarded"], vec![Some(NO.into())]));
    shop.config.consent.unknown = UnknownConsent::Hold;
    shop.moves(&[4, 5], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["discarded", "held", "delivered"]);
}

#[tokio::test]
async fn what_waits_for_consent_goes_out_by_itself() {
    let tool = Receiver::start().await;
    let shop = silent(&tool);
    shop.moves(&[1, 2, 3], "champion");
    shop.moves(&[1], "loyal");
    shop.deliver().await;
    assert_eq!(shop.states(), ["superseded", "held", "held", "held"], "the next change stands in for the one before");
    assert_eq!(tool.received().len(), 0);
    shop.says_consent([1], Some("subscribed"));
    shop.says_consent([2], Some("unsubscribed"));
    // A start of the forwarder looks; of the last one nothing is known still.
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["superseded", "discarded", "held", "delivered"]);
    assert_eq!(reasons(&shop)[1].as_deref(), Some(NO));
    let [request] = tool.received().try_into().unwrap();
    let body = String::from_utf8(request.body).unwrap();
    assert!(body.contains("customer1@example.com") && body.contains("\"new_segment\":\"loyal\""), "{body}");
}

#[tokio::test]
async fn a_running_forwarder_looks_once_an_hour() {
    let tool = Receiver::start().await;
    let shop = silent(&tool);
    shop.moves(&[1], "champion");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    until(|| shop.clock_reads() > 3).await;
    shop.says_consent([1], Some("subscribed"));
    shop.pass(HOUR);
    tool.wait_for(1).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(shop.states(), ["delivered"]);
}

#[tokio::test]
async fn who_changes_their_mind_before_the_request_is_not_told_of() {
    for batch in [1, 10] {
        let tool = Receiver::start().await;
        let mut shop = silent(&tool);
        shop.config.destination[0].batch = batch;
        shop.says_consent([1, 2, 3], Some("subscribed"));
        shop.moves(&[1, 2, 3], "champion");
        shop.says_consent([1], Some("unsubscribed"));
        shop.says_consent([2], None);
        shop.deliver().await;
        assert_eq!(shop.states(), ["discarded", "held", "delivered"], "batch = {batch}");
        assert_eq!(reasons(&shop)[0].as_deref(), Some(NO));
        let body = String::from_utf8(tool.received()[0].body.clone()).unwrap();
        assert_eq!((tool.received().len(), body.matches("@example.com").count()), (1, 1), "{body}");
    }
}

#[tokio::test]
async fn who_changes_their_mind_between_two_attempts_leaves_the_batch() {
    let tool = Receiver::start().await;
    tool.answers(500);
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 10;
    shop.moves(&[1, 2, 3, 4, 5], "champion");
    shop.deliver().await;
    shop.says_consent([2], Some("unsubscribed"));
    shop.says_consent([5], None);
    tool.answers(200);
    shop.pass(HOUR);
    shop.deliver().await;
    let bodies: Vec<String> = tool.received().into_iter().map(|it| String::from_utf8(it.body).unwrap()).collect();
    let told = |customer: i64| {
        bodies[1..].iter().map(|body| body.matches(&format!("customer{customer}@example.com")).count()).sum::<usize>()
    };
    assert_eq!((1..=5).map(told).collect::<Vec<_>>(), [1, 0, 1, 1, 0]);
    let mut states = shop.states();
    states.retain(|state| *state != "delivered");
    states.sort_unstable();
    assert_eq!(states, ["discarded", "held"]);
}

#[tokio::test]
async fn many_who_agree_no_more_do_not_hide_those_who_do() {
    let tool = Receiver::start().await;
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 3;
    shop.moves(&(1..=400).collect::<Vec<_>>(), "champion");
    shop.says_consent(1..=394, Some("unsubscribed"));
    let report = shop.deliver().await;
    assert_eq!((report.waiting, report.retrying), (0, 0));
    assert_eq!(
        tool.received()
            .iter()
            .map(|it| String::from_utf8_lossy(&it.body).matches("@example.com").count())
            .sum::<usize>(),
        6
    );
    assert_eq!(shop.states().iter().filter(|state| **state == "discarded").count(), 394);
}

#[tokio::test]
async fn unknown_may_count_as_agreed_and_webhooks_are_not_asked() {
    let tool = Receiver::start().await;
    let mut shop = silent(&tool);
    shop.config.consent.unknown = UnknownConsent::Send;
    shop.says_consent([2], Some("unsubscribed"));
    shop.moves(&[1, 2], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["delivered", "discarded"], "a refusal stays one");

    let own = Receiver::start().await;
    let shop = Shop::new(&[&own]);
    shop.says_consent([1], Some("unsubscribed"));
    shop.moves(&[1, 2], "champion");
    assert_eq!(shop.deliver().await.delivered, 2, "the merchant's own program");
}

#[tokio::test]
async fn the_first_run_starts_nothing_in_tools_that_can_be_quiet() {
    let (jobs, member) =
        ("POST /api/event-bulk-create-jobs", "/3.0/lists/a1b2/members/4cdde47d052101fe3de4e3659acc6dea");
    let (patch, tags) = (format!("PATCH {member}"), format!("POST {member}/tags"));
    let (brevo, campaign) = (["POST /v3/contacts", "POST /v3/events"], ["POST /api/3/contact/sync", "POST /event"]);
    let cases: [Case<'_>; 5] = [
        ("klaviyo", &[jobs], &[jobs], Some("\"backfill\": ")),
        ("omnisend", &["POST /api/contacts"], &["POST /api/events"], None),
        ("mailchimp", &[&patch, &tags], &[&patch, &tags], Some("\"is_syncing\": ")),
        ("brevo", &brevo[..1], &brevo, None),
        ("activecampaign", &campaign[..1], &campaign, None),
    ];
    for (kind, quietly, loudly, word) in cases {
        for (baseline, disposition) in [(Baseline::Quiet, Disposition::Quiet), (Baseline::Send, Disposition::Send)] {
            let tool = Receiver::start().await;
            let mut shop = Shop::with_tool(kind, &tool);
            shop.config.forwarder.baseline = baseline;
            let is_quiet = baseline == Baseline::Quiet;
            let says = |quiet: bool| {
                let body = String::from_utf8(tool.received().pop().unwrap().body).unwrap();
                word.is_none_or(|word| {
                    body.contains(&format!("{word}{quiet}")) && !body.contains(&format!("{word}{}", !quiet))
                })
            };
            shop.baseline(&[1], disposition);
            assert_eq!(shop.deliver().await.delivered, 1, "{kind}");
            assert_eq!(targets(&tool), if is_quiet { quietly } else { loudly });
            assert!(says(is_quiet), "{kind} {baseline:?}");
            // What comes after the first run is news.
            shop.moves(&[1], "lost");
            assert_eq!(shop.deliver().await.delivered, 1, "{kind}");
            assert!(targets(&tool).ends_with(&loudly.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()));
            assert!(says(false), "{kind} {baseline:?}");
        }
    }
}

#[tokio::test]
async fn the_first_run_waits_for_the_merchant_where_it_cannot_be_quiet() {
    let own = Receiver::start().await;
    let mut shop = Shop::new(&[&own]);
    let mut crm = super::fixture::email_tool("template", &own);
    crm.name = "crm".to_owned();
    crm.request = vec![quintile::config::Request {
        method: "PUT".to_owned(),
        url: "https://crm.example/people/{{ customer.email }}".to_owned(),
        body: "{\"segment\": {{ event.newSegment }}}".to_owned(),
        ..Default::default()
    }];
    shop.config.destination.push(crm);
    shop.says_consent([1, 2], Some("subscribed"));
    shop.baseline(&[1], Disposition::Quiet);
    shop.deliver().await;
    let held: Vec<_> = shop.deliveries().into_iter().map(|it| (it.destination, it.state)).collect();
    assert_eq!(held, [("tool".to_owned(), State::Held), ("crm".to_owned(), State::Held)]);
    let holds: Vec<String> = {
        let reader = shop.db().readers().get().unwrap();
        let mut select = reader.prepare("SELECT hold FROM deliveries").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    assert_eq!((holds, own.received().len()), (vec!["baseline".to_owned(); 2], 0));
    shop.baseline(&[2], Disposition::Send);
    assert_eq!(shop.deliver().await.delivered, 2);
    let mut sent = targets(&own);
    sent.sort();
    assert_eq!(sent, ["POST ", "PUT /people/customer2%40example.com"]);
}

#[tokio::test]
async fn a_claim_stands_only_while_everybody_in_it_agrees() {
    for (batch, one_in) in [(1, vec![vec![1], vec![2], vec![3], vec![4]]), (2, vec![vec![1, 2], vec![3, 4]])] {
        let tool = Receiver::start().await;
        let mut shop = Shop::with_tool("klaviyo", &tool);
        shop.config.destination[0].batch = batch;
        shop.moves(&[1, 2, 3, 4], "champion");
        let routes: Arc<[Route]> = Route::from_config(&shop.config).unwrap().into();
        let claims = Claims {
            boot: "boot".into(),
            number: 1,
            shop: outbox::Shop::from_config(&shop.config),
            routes: routes.clone(),
            places: vec![Places { free: 16, ..Places::default() }],
            start: 0,
            limit: 128,
            now: shop.now(),
            latest: shop.now().plus_millis(1_000_000_000),
        };
        let claimed = shop.write(move |tx| Ok(outbox::claim(tx, &claims)?)).claims;
        let stand = || {
            let reader = shop.db().readers().get().unwrap();
            let ask = |claim: &Claim| outbox::may_send(&reader, &routes[0], claim.delivery_id, &claim.token).unwrap();
            claimed.iter().map(ask).collect::<Vec<_>>()
        };
        assert_eq!(stand(), vec![true; one_in.len()]);
        for (customer, state) in [(2, Some("unsubscribed")), (3, None)] {
            shop.says_consent([customer], state);
            let others: Vec<bool> = one_in.iter().map(|customers| !customers.contains(&customer)).collect();
            assert_eq!(stand(), others, "batch = {batch}, {customer} says {state:?}");
            shop.says_consent([customer], Some("subscribed"));
        }
        let strange =
            outbox::may_send(&shop.db().readers().get().unwrap(), &routes[0], claimed[0].delivery_id, "boot:0");
        assert!(!strange.unwrap(), "another claim");
    }
}

/// The second request of a delivery asks again.
#[tokio::test]
async fn who_changes_their_mind_between_two_requests_is_spared_the_second() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(200).hanging());
    let shop = Shop::with_tool("mailchimp", &tool);
    shop.moves(&[1], "champion");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    tool.wait_for(1).await;
    shop.says_consent([1], Some("unsubscribed"));
    tool.release();
    until(|| shop.states() == ["discarded"]).await;
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(tool.received().len(), 1);
}
