//! What the pages call things, what they explain, and what they say when something is not there.

use crate::support::{
    folder::HISTORY,
    pages::{NOW, Shop, ids, number, send},
};

/// Those that show customers or deliveries of a shop that was scored.
const PAGES: [&str; 12] = [
    "/",
    "/segments",
    "/segments/lost",
    "/customers",
    "/customers/3",
    "/runs",
    "/runs/25",
    "/syncs",
    "/deliveries",
    "/deliveries/3",
    "/destinations",
    "/import",
];

#[test]
fn a_segment_that_there_is_not_is_refused_with_those_there_are() {
    let shop = Shop::scored(60);
    shop.folder.except(&[HISTORY]);
    for path in [
        "/customers?segment=xyz",
        "/customers.csv?segment=xyz",
        "/deliveries?segment=xyz",
        "/deliveries.csv?segment=xyz",
        "/deliveries?segment=none",
    ] {
        let page = shop.get(path);
        assert_eq!(page.status, 400, "{path}");
        let text = page.text(".empty");
        assert!(text.contains("There is no segment “") && text.contains("at_risk, champion, hibernating"), "{text}");
    }
    // One that only the last run still has is known.
    shop.execute("UPDATE run_segments SET segment = 'old_rule' WHERE segment = 'lost'; UPDATE segments SET name = 'old_rule' WHERE name = 'lost'");
    assert_eq!(shop.get("/customers?segment=old_rule").status, 200);
    assert_eq!(shop.get("/customers?segment=lost").status, 200, "the rules in force have it");
}

#[test]
fn runs_to_compare_are_named_and_those_that_are_not_there_are_said() {
    let shop = Shop::scored(300);
    assert_eq!(shop.get("/segments").texts("#flow .notice, #flow .cap a").len(), 0, "all runs are offered");
    assert!(shop.get("/segments").text("#flow option").ends_with(", run 25"));
    let missed = shop.get("/segments?from=999&to=25").text("#flow .notice");
    assert!(missed.starts_with("Run 999 cannot be compared"), "{missed}");
    assert_eq!(shop.get("/runs/25").attributes("[aria-labelledby=t-facts] .ch a", "href"), ["/segments?to=25#flow"]);

    shop.write(|tx| {
        for night in 1..=90 {
            tx.execute(
                "INSERT INTO runs (trigger, state, as_of, started_at, scored_at, ties, window_days, rules, scored)
                 VALUES ('manual', 'done', ?1, ?1, ?1, 'together', 0, 'x', 1)",
                [NOW - (30 + night) * 86_400_000],
            )?;
        }
        Ok(())
    });
    let page = shop.get("/segments?from=30&to=25");
    let offered = page.texts("#flow select[name=from] option").len();
    let said = page.texts("#flow .cap")[0].clone();
    assert!(said.starts_with(&format!("{offered} of 104 runs can be chosen here: the last 60 one by one")), "{said}");
    assert_eq!(page.attributes("#flow select[name=from] option[selected]", "value"), ["30"], "any run can be named");
}

#[test]
fn lists_say_their_order() {
    let shop = Shop::scored(2000);
    for (path, said) in [
        ("/customers", "The newest customer first. Columns with an arrow sort the list."),
        ("/customers?dir=asc", "The oldest customer first. Columns with an arrow sort the list."),
        ("/customers?q=anna", "Whole ids first, then e-mails by the alphabet, then names, the newest customer first."),
        ("/deliveries?state=delivered", "The newest first. Oldest first"),
        ("/deliveries?state=delivered&order=oldest", "The oldest first. Newest first"),
        ("/deliveries?state=delivered&run=25", "By destination, then the newest first. Oldest first"),
        ("/runs", "The newest first. Columns with an arrow sort the list."),
        ("/destinations", "Order: Configuration"),
        ("/segments", "The best segment first, as the rules rank them."),
    ] {
        let text = shop.get(path).text("#main");
        assert!(text.contains(said), "{path} does not say {said}");
    }
    let segment = shop.get("/segments/at_risk");
    let own: i64 = shop.value("SELECT count(*) FROM scores WHERE segment = 'at_risk'");
    let listed = segment.text(".lead");
    assert!(listed.starts_with(&format!("The first 50 of {own} in the last run, the newest first.")), "{listed}");
    assert_eq!(
        segment.attributes(".lead a", "href"),
        ["/customers?segment=at_risk", "/customers?segment=at_risk&sort=spent", "/customers?segment=at_risk&sort=last"]
    );
    let richest = ids(&shop.get("/customers?segment=at_risk&sort=spent"))[0];
    assert_eq!(
        richest,
        shop.value::<i64>("SELECT id FROM customers JOIN scores ON id = customer_id WHERE segment = 'at_risk' ORDER BY customers.total_spent DESC, id DESC LIMIT 1")
    );
}

#[test]
fn the_badge_counts_what_gave_up_on_every_page() {
    let shop = Shop::scored(300);
    assert_eq!(shop.get("/customers").texts(".badge").len(), 0);
    shop.execute("UPDATE deliveries SET state = 'dead' WHERE id <= 3");
    for path in PAGES {
        assert_eq!(shop.get(path).texts(".badge"), [", gave up: 3"], "{path}");
    }
}

#[test]
fn every_page_explains_its_words_and_every_heading_leads_to_them() {
    let shop = Shop::scored(300);
    for path in PAGES.into_iter().chain(["/settings"]) {
        let page = shop.get(path);
        let entries = page.attributes(".terms dl > div", "id");
        assert!(!entries.is_empty(), "{path} explains nothing");
        assert_eq!(entries.len(), page.texts(".terms dd").len());
        for href in page.attributes("a.term", "href") {
            assert!(entries.contains(&href[1..].to_owned()), "{path} links to {href}, which is not there");
        }
        assert!(page.attributes("a.term", "title").iter().all(|title| title.len() > 20));
    }
    let linked = |path: &str| shop.get(path).texts("a.term").len();
    assert!(linked("/") >= 6 && linked("/segments") >= 6 && linked("/runs") >= 5 && linked("/segments/lost") >= 6);
}

#[test]
fn from_new_to_potential_is_neither_up_nor_down() {
    let shop = Shop::scored(300);
    shop.execute(
        "DELETE FROM run_moves WHERE run_id = 25;
         INSERT INTO run_moves VALUES (25, 'new', 'potential', 9), (25, 'new', 'at_risk', 2), (25, 'potential', 'loyal', 3)",
    );
    let page = shop.get("/");
    let kpi = page.texts(".kpi div:nth-child(4) dd");
    assert_eq!((kpi[0].as_str(), kpi[1].as_str()), ("14", "3 up, 2 down, 9 neither"));
    assert_eq!(page.texts(".mv tbody tr")[0], "Newto→Potential9");
}

#[test]
fn a_segment_that_the_rules_lost_is_neither_above_nor_below_on_any_page() {
    let shop = Shop::scored(300);
    shop.folder.except(&[HISTORY]);
    // The night after the rules changed: the run before has a segment that there is no more.
    let gone: String =
        shop.value("SELECT old FROM run_moves WHERE run_id = 25 AND old <> new AND '' NOT IN (old, new) LIMIT 1");
    shop.write(move |tx| {
        for sql in [
            "UPDATE run_segments SET segment = 'old_rule' WHERE segment = ?1 AND run_id = 24",
            "UPDATE history SET segment = 'old_rule' WHERE segment = ?1 AND run_id <= 24",
            "UPDATE outbox SET old_segment = 'old_rule' WHERE old_segment = ?1 AND run_id = 25",
            "UPDATE outbox SET new_segment = 'old_rule' WHERE new_segment = ?1 AND run_id <= 24",
            "UPDATE run_moves SET old = 'old_rule' WHERE old = ?1 AND run_id = 25",
        ] {
            tx.execute(sql, [&gone])?;
        }
        Ok(())
    });
    let page = shop.get("/segments?from=24&to=25&unchanged=1");
    let up_down = |text: &str| {
        ["up", "down", "neither"].map(|word| {
            let end = text.find(&format!(" {word}"));
            end.map(|end| text[..end].rsplit([' ', ',']).next().unwrap().to_owned()).unwrap_or_default()
        })
    };
    let flow = page.text("#flow .lead");
    let overview = shop.get("/").text(".kpi div:nth-child(4) .note");
    assert_eq!(up_down(&flow), up_down(&overview), "{flow} {overview}");
    assert!(!up_down(&flow)[2].is_empty(), "{flow}");
}

#[test]
fn a_failure_is_said_in_words_with_the_age_of_the_numbers() {
    let shop = Shop::scored(60);
    let router = shop.router();
    let get = |path| send(router.clone(), axum::http::Method::GET, path, &[("host", "localhost")]);
    assert_eq!(get("/").status, 200);
    shop.execute("ALTER TABLE run_moves RENAME TO gone");
    let page = get("/runs");
    assert_eq!(page.status, 500);
    let said = page.text(".empty");
    assert!(
        said.starts_with("The database answered otherwise than this version of quintile expects. The numbers that were shown last were scored today at 02:00."),
        "{said}"
    );
    assert!(said.contains("What to do: Load the page again; if this stays, quintile check"), "{said}");
    assert!(!page.body.contains("no such table") && !page.body.contains("run_moves"), "{said}");
    assert!(shop.get("/runs").text(".empty").contains("No page with numbers was shown since quintile started."));
    shop.execute("ALTER TABLE gone RENAME TO run_moves");
}

#[test]
fn consent_is_said_in_words() {
    let shop = Shop::scored(60);
    shop.execute(
        "UPDATE customers SET consent = NULL WHERE id = 4; UPDATE customers SET consent = 'not_subscribed' WHERE id = 5",
    );
    for (id, said) in [
        (3, "E-mail marketingAgreed, so email tools hear of changes"),
        (4, "E-mail marketingUnknown, so what email tools would hear is held"),
        (5, "E-mail marketingNever agreed, so email tools do not hear of changes"),
    ] {
        let facts = shop.get(&format!("/customers/{id}")).texts(".facts div");
        assert!(facts.contains(&said.to_owned()), "{said} in {facts:?}");
    }
}

#[test]
fn the_receipt_of_a_run_has_the_words_of_the_tabs() {
    let shop = super::deliveries::shop();
    let page = shop.get("/runs/25");
    assert_eq!(
        page.texts("[aria-labelledby=t-rec] thead th"),
        ["Destination", "Events", "Delivered", "Waiting", "Retrying", "Held", "Gave up", "Not sent"]
    );
    let brevo = page.texts("[aria-labelledby=t-rec] tbody tr:first-child td");
    assert_eq!(brevo[2..], ["0", "2", "4", "2", "0"], "{brevo:?}");
    let total: i64 = brevo[1..].iter().map(|count| number(count)).sum();
    assert_eq!(total, number(&brevo[0]), "the tabs are all there is");
    for href in page.attributes("[aria-labelledby=t-rec] tbody td a", "href") {
        assert!(!shop.get(&href).texts(".rows tbody tr").is_empty(), "{href}");
    }
}
