//! Customers by a column: those that a search found, and all of a large shop.

use std::collections::HashSet;

use crate::support::{
    folder::MERGED,
    pages::{Answer, Shop, ids},
};

/// The ids of a list over all its pages, and those of its file.
fn walk(shop: &Shop, query: &str) -> [Vec<i64>; 2] {
    let (mut walked, mut next) = (Vec::new(), Some(format!("/customers?{query}")));
    while let Some(path) = next {
        let page = shop.get(&path);
        assert_eq!(page.status, 200, "{path}");
        walked.extend(ids(&page));
        next = page.attributes("a[rel=next]", "href").into_iter().next();
        assert!(walked.len() < 10_000, "the walk does not end");
    }
    let csv = shop.get(&format!("/customers.csv?{query}"));
    let mut file = csv::Reader::from_reader(csv.body.as_bytes());
    let file = file.records().map(|row| row.unwrap()[0].parse().unwrap()).collect();
    [walked, file]
}

fn expected(shop: &Shop, which: &str, order: &str) -> Vec<i64> {
    let sql = format!(
        "SELECT c.id FROM customers c LEFT JOIN scores s ON s.customer_id = c.id WHERE {which} ORDER BY {order}"
    );
    let connection = shop.database.readers().get().unwrap();
    let mut statement = connection.prepare(&sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// How the headings say that the list is sorted.
fn sorted(page: &Answer) -> Vec<String> {
    page.attributes("th[aria-sort]", "aria-sort")
}

/// What the arrows of the headings lead to.
fn arrows(page: &Answer) -> Vec<String> {
    page.attributes("th a.sort", "href")
}

/// Where the e-mail key or a name begins like the text.
const ANNA: &str = "(first_name = 'Anna' OR email_key LIKE 'anna%')";

#[test]
fn what_a_search_found_is_sorted() {
    let shop = Shop::scored(2100);
    for (query, order) in [
        ("sort=spent", "c.total_spent DESC, c.id DESC"),
        ("sort=spent&dir=asc", "c.total_spent, c.id"),
        ("sort=orders", "c.order_count DESC, c.id DESC"),
        ("sort=last", "coalesce(c.last_order_at, -1) DESC, c.id DESC"),
        ("sort=email", "c.email_key IS NULL, c.email_key, c.id"),
        ("sort=email&dir=desc", "c.email_key IS NULL, c.email_key DESC, c.id DESC"),
    ] {
        for (filter, which) in [("q=anna", ANNA.to_owned()), ("q=anna&f=1", format!("{ANNA} AND s.f = 1"))] {
            let expected = expected(&shop, &which, order);
            assert!(expected.len() > 55, "one page would do");
            let [walked, file] = walk(&shop, &format!("{filter}&{query}"));
            assert_eq!(walked, expected, "{filter}&{query}");
            assert_eq!(file, expected, "{filter}&{query} as CSV");
        }
    }
    let page = shop.get("/customers?q=anna&sort=spent");
    assert_eq!(sorted(&page), ["descending"]);
    assert_eq!(
        arrows(&page),
        [
            "/customers?q=anna&sort=email",
            "/customers?q=anna&sort=orders",
            "/customers?q=anna&sort=spent&dir=asc",
            "/customers?q=anna&sort=last"
        ]
    );
    // The form keeps the order, and the usual one is a link away.
    let turned = shop.get("/customers?q=anna&sort=spent&dir=asc");
    assert_eq!(turned.attributes("form input[type=hidden]", "value"), ["spent", "asc"]);
    assert_eq!(turned.attributes(".by a", "href"), ["/customers?q=anna"]);
    assert_eq!(shop.get("/customers?q=anna").texts(".by a").len(), 0);
}

#[test]
fn a_search_that_finds_too_many_says_so_and_forgets_the_sort() {
    let shop = Shop::with_customers(1100);
    shop.execute("UPDATE customers SET first_name = 'Anna', email = NULL, email_key = NULL WHERE id > 3");
    let page = shop.get("/customers?q=anna&sort=spent");
    let said = page.text(".by");
    assert!(said.starts_with("These cannot be sorted, because they are more than 1,000"), "{said}");
    assert_eq!(sorted(&page).len(), 0);
    let addresses = page.attributes("a[rel=next], .head a.button", "href");
    assert!(addresses.len() == 2 && addresses.iter().all(|href| !href.contains("sort")), "{addresses:?}");
    let [walked, file] = walk(&shop, "q=anna&sort=spent");
    let [plain, _] = walk(&shop, "q=anna");
    assert_eq!((&walked, &file), (&plain, &plain));
    assert_eq!(walked.iter().collect::<HashSet<_>>().len(), walked.len());
    assert!(walked.len() > 1000);

    // One less than too many.
    shop.execute("UPDATE customers SET first_name = 'Tom', last_name = 'T' WHERE id > 990");
    assert_eq!(walk(&shop, "q=anna&sort=spent")[0], expected(&shop, ANNA, "c.total_spent DESC, c.id DESC"));
}

#[test]
fn a_large_shop_is_sorted_by_email_alone() {
    let shop = Shop::scored(730);
    shop.folder.except(&[MERGED]);
    // Its highest number is all that makes it large.
    shop.execute(
        "INSERT INTO customers (id, source, external_id, email, email_key, created_at) VALUES
           (90000, 'csv', 'x-1', 'anna.55@example.com', 'anna.55@example.com', 1), (90001, 'csv', 'x-2', NULL, NULL, 1);
         UPDATE customers SET merged_into = 8 WHERE id = 7; UPDATE customers SET deleted_at = 1 WHERE id = 9;
         UPDATE run_segments SET customers = 20001 WHERE run_id = 25 AND segment = 'at_risk';",
    );
    let there = "c.merged_into IS NULL AND c.deleted_at IS NULL";
    for (query, which) in [
        ("sort=email", "TRUE"),
        ("segment=at_risk&sort=email", "s.segment = 'at_risk'"),
        ("segment=potential&r=3&sort=email", "s.segment = 'potential' AND s.r = 3"),
        ("segment=none&sort=email", "s.segment IS NULL"),
    ] {
        for (dir, order) in [
            ("", "c.email_key IS NULL, c.email_key, c.id"),
            ("&dir=desc", "c.email_key IS NULL, c.email_key DESC, c.id DESC"),
        ] {
            let expected = expected(&shop, &format!("{which} AND {there}"), order);
            assert!(expected.len() > 15, "{query}");
            let [walked, file] = walk(&shop, &format!("{query}{dir}"));
            assert_eq!(walked, expected, "{query}{dir}");
            assert_eq!(file, expected, "{query}{dir} as CSV");
        }
    }
    let everybody = shop.get("/customers?sort=email");
    assert_eq!(sorted(&everybody), ["ascending"]);
    assert!(everybody.text(".by").starts_with("By e-mail; those without one are the last."));

    // What has no index is not offered, and asked for all the same it is said why.
    let page = shop.get("/customers");
    assert_eq!(arrows(&page), ["/customers?sort=email"]);
    assert!(page.text(".by").contains("Orders, spent and last order have no index"));
    let refused = shop.get("/customers?sort=spent");
    assert_eq!((sorted(&refused).len(), ids(&refused)[0]), (0, 90_001));
    assert!(refused.text(".by").starts_with("These are too many to sort by that column"), "{}", refused.text(".by"));
    assert_eq!(refused.attributes("a[rel=next]", "href"), shop.get("/customers").attributes("a[rel=next]", "href"));
    // Within a filter that leaves few it works as in a small shop, also where only the most is known.
    let both = expected(&shop, "s.segment = 'potential' AND s.r = 3", "c.total_spent DESC, c.id DESC");
    assert_eq!(walk(&shop, "segment=potential&r=3&sort=spent"), [both.clone(), both]);
    let few = shop.get("/customers?segment=lost&sort=spent");
    assert_eq!((sorted(&few), arrows(&few).len()), (vec!["descending".to_owned()], 4));
    let richest = expected(&shop, "s.segment = 'lost'", "c.total_spent DESC, c.id DESC");
    assert_eq!(ids(&few), richest[..ids(&few).len()]);
}
