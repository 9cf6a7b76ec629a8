//! One run in full, and what was fetched from the shop.

use crate::support::pages::{Answer, NOW, Shop};

#[test]
fn a_run_shows_who_moved_from_where_to_where() {
    let shop = Shop::scored(2000);
    let sum = |page: &Answer, selector: &str| -> i64 {
        let numbers = page.texts(selector).into_iter();
        numbers.map(|text| text.chars().filter(char::is_ascii_digit).collect::<String>().parse::<i64>().unwrap()).sum()
    };
    let moved: i64 = shop.value("SELECT sum(customers) FROM run_moves WHERE run_id = 25 AND old <> new");
    let page = shop.get("/runs/25");
    // Those who left a segment without a move are there too: in this shop, counts drift by hand.
    let left: i64 = sum(&page, ".matrix tbody td.all") - moved;
    assert!(left >= 0);
    assert!(page.text("[aria-labelledby=t-all] h2").starts_with("All movements: "));
    assert_eq!(page.attributes("#moves .ch a", "href"), ["/segments?from=24&to=25#flow"]);
    let [show] = page.attributes("#moves .cap a", "href").try_into().unwrap();
    assert_eq!(show, "/runs/25?unchanged=1#moves");

    let all = shop.get("/runs/25?unchanged=1");
    let scored: i64 = shop.value("SELECT sum(customers) FROM run_segments WHERE run_id = 25");
    assert!(sum(&all, ".matrix tbody td.all") >= scored);
    assert_eq!(all.attributes("#moves .cap a", "href"), ["/runs/25#moves"]);
    // The first run has nobody who stayed.
    let first = shop.get("/runs/12");
    assert_eq!(first.texts(".matrix tbody th"), ["Not scored before"]);
    assert_eq!(sum(&first, ".matrix tbody td.all"), shop.value::<i64>("SELECT count(*) FROM scores"));
    assert_eq!(first.texts("#moves .cap a").len(), 0);
    // A backfill moves nobody.
    assert_eq!(shop.get("/runs/1").texts("#moves").len(), 0);
}

#[test]
fn a_run_that_stands_for_missed_nights_says_how_many() {
    let shop = Shop::scored(30);
    let notes = |shop: &Shop| -> Vec<String> {
        let notes = shop.get("/runs").texts("td.note").into_iter();
        notes.filter(|note| note.starts_with("stands for ")).collect()
    };
    assert_eq!(notes(&shop), Vec::<String>::new());
    shop.write(|tx| tx.execute("UPDATE runs SET missed = id - 23 WHERE id IN (24, 25)", []).map(drop));
    assert_eq!(notes(&shop), ["stands for 2 missed nights more", "stands for 1 missed night more"]);
}

#[test]
fn the_page_of_imports_says_when_the_shop_is_asked() {
    let mut shop = Shop::scored(30);
    let card = |shop: &Shop| shop.get("/import").text("[aria-labelledby=t-api]");
    assert!(card(&shop).contains("Not set up."));
    assert!(shop.get("/import").attributes("a", "href").contains(&"/import/sample.csv".to_owned()));
    assert_eq!(shop.get("/import").text(".ways code"), "https://your-address/webhooks/shopify");

    shop.config.shopify.missing = vec!["the token is somewhere else".to_owned()];
    "https://hooks.lantern.example/webhooks/shopify".clone_into(&mut shop.config.sync.webhook_address);
    assert_eq!(
        shop.get("/import").texts(".ways code"),
        ["shopify", "woocommerce", "orders"].map(|path| format!("https://hooks.lantern.example/webhooks/{path}"))
    );
    let facts = |shop: &Shop| shop.get("/import").texts("[aria-labelledby=t-api] .facts div");
    assert_eq!(facts(&shop), ["Lastnot yet", "Nextat once"]);

    // Two hours ago, so the next one is due in four: at 16:00 in Berlin.
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO syncs (trigger, mode, state, since, watermark, started_at, finished_at, orders_read, orders_new, orders_updated, orders_missed)
             VALUES ('scheduled', 'incremental', 'done', ?1 - 86400000, ?1, ?1 - 7200000, ?1 - 7100000, 12, 3, 9, 2)",
            [NOW],
        )
        .map(drop)
    });
    assert_eq!(
        facts(&shop),
        [
            "LastDone 23 Nov 2026, 10:00",
            "Asked forsince 22 Nov 2026, 12:00",
            "Orders read12: 3 new, 9 updated, 0 deleted",
            "Missed by webhook2",
            "Nexttoday at 16:00",
        ]
    );
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO syncs (trigger, mode, state, watermark, started_at, finished_at, error)
             VALUES ('manual', 'full', 'failed', ?1, ?1 - 120000, ?1 - 60000, 'the shop is closed <or> paused')",
            [NOW],
        )
        .map(drop)
    });
    let page = shop.get("/import");
    assert_eq!(page.text("[aria-labelledby=t-api] .notice.bad"), "the shop is closed <or> paused.");
    assert_eq!(facts(&shop).last().unwrap(), "Nexttoday at 12:09");
}
