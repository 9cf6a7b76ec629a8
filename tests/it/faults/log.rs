//! A write-ahead log that has grown long: somebody looked for long at an old state of the file.

use std::time::{Duration, Instant};

use crate::support::{process::eventually, scored_shop::Shop};

/// 60 MiB of changes, in fifteen commits.
pub fn fill(shop: &Shop) {
    for part in 0..15 {
        shop.write(move |tx| {
            let rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                        INSERT INTO meta SELECT ?1 || '-' || i, printf('%.*c', 4000, 'x') FROM n";
            tx.execute(rows, [part]).unwrap();
        });
    }
}

/// Pages in the log from which on a commit copies it; 0: none does.
fn copied_from(shop: &Shop) -> i64 {
    shop.write(|tx| tx.pragma_query_value(None, "wal_autocheckpoint", |row| row.get(0)).unwrap())
}

#[test]
fn it_is_copied_beside_the_writer_and_not_by_whoever_writes_next() {
    let shop = Shop::forty();
    let usual = copied_from(&shop);
    assert!(usual > 0);
    let looking = shop.outside();
    looking.execute_batch("BEGIN; SELECT count(*) FROM orders").unwrap();
    fill(&shop);
    eventually("a commit that does not copy so much", || (copied_from(&shop) == 0).then_some(()));
    looking.execute_batch("COMMIT").unwrap();
    eventually("the copy", || (copied_from(&shop) == usual).then_some(()));
    assert!(shop.db.readers().empty_log().unwrap());
}

#[test]
fn the_end_of_the_program_does_not_wait_until_a_long_one_is_copied() {
    let shop = Shop::forty();
    let looking = shop.outside();
    looking.execute_batch("BEGIN; SELECT count(*) FROM orders").unwrap();
    fill(&shop);
    shop.db.ending().announce();
    let told = Instant::now();
    let shop = shop.reopened();
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM meta WHERE value LIKE 'xxx%'"), 15_000);
}
