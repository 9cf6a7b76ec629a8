//! With a real database, in real folders.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::db::Database;

fn shop() -> (TempDir, Config, Database) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut config = Config::default();
    config.database.path = folder.path().join("shop.db");
    config.backup.folder = folder.path().join("kept/nightly");
    config.backup.copy_to = folder.path().join("second");
    let database = Database::open(&config.database.path, "test").unwrap();
    (folder, config, database)
}

fn night(number: i64) -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-02T02:05:12Z").unwrap().plus_millis((number - 2) * Timestamp::DAY)
}

/// Makes one and finishes it.
fn whole(backups: &Backups, now: Timestamp) -> Backup {
    let made = backups.make(now).unwrap().unwrap();
    backups.finish(now).unwrap();
    made
}

/// Without the note whose they are.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.contains(".shop")).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_backup_is_private_whole_and_in_both_folders() {
    let (_folder, config, database) = shop();
    let backups = Backups::from_config(&config);
    assert_eq!((backups.newest(night(2)), backups.is_overdue(night(2))), (None, true));
    fs::create_dir(&config.backup.copy_to).unwrap();
    database.writer().write_blocking(|tx| Ok(tx.execute("INSERT INTO meta VALUES ('a', 'in the log')", [])?)).unwrap();
    let backup = whole(&backups, night(2));
    assert_eq!((backup.contents.schema, backup.violations.as_slice()), (SCHEMA_VERSION, &[][..]));

    for folder in [&config.backup.folder, &config.backup.copy_to] {
        assert_eq!(names(folder), ["shop-20261102T020512Z.db"]);
        let copy = folder.join("shop-20261102T020512Z.db");
        assert_eq!(mode(&copy), 0o600);
        let connection = rusqlite::Connection::open(copy).unwrap();
        let text: String =
            connection.query_row("SELECT value FROM meta WHERE key = 'a'", [], |row| row.get(0)).unwrap();
        assert_eq!(text, "in the log");
    }
    assert_eq!(mode(&config.backup.folder), 0o700);
    let newest = backups.newest(night(3)).unwrap();
    assert_eq!((&newest.path, newest.taken_at, newest.bytes), (&backup.path, night(2), backup.bytes));
    let day = night(3);
    assert!(!backups.is_overdue(day) && backups.is_overdue(day.plus_millis(3 * 60 * 60 * 1000)));
}

#[test]
fn old_ones_go_and_what_is_not_ours_stays() {
    let (_folder, config, _database) = shop();
    let backups = Backups::from_config(&Config {
        backup: crate::config::Backup { keep_daily: 2, keep_weekly: 1, ..config.backup.clone() },
        ..config.clone()
    });
    fs::create_dir(&config.backup.copy_to).unwrap();
    fs::create_dir_all(&config.backup.folder).unwrap();
    let others = ["other-20200101T000000Z.db", "shop-by-hand.db", "shop-20200101T000000Z.db.txt", "shop.db"];
    for other in others {
        fs::write(config.backup.folder.join(other), "mine").unwrap();
    }
    fs::write(config.backup.folder.join("shop-20200101T000000Z.db.partial"), "half").unwrap();
    for number in 2..=5 {
        whole(&backups, night(number));
    }
    let kept = ["shop-20261104T020512Z.db", "shop-20261105T020512Z.db"];
    assert_eq!(names(&config.backup.copy_to), kept);
    let mut all: Vec<&str> = others.into_iter().chain(kept).collect();
    all.sort_unstable();
    assert_eq!(names(&config.backup.folder), all);
    assert_eq!(backups.longest_days(), 7);
}

#[test]
fn those_of_a_clock_that_was_ahead_stand_in_nobodys_way() {
    let (_folder, config, _database) = shop();
    fs::create_dir(&config.backup.copy_to).unwrap();
    let backups = Backups::from_config(&Config {
        backup: crate::config::Backup { keep_daily: 2, keep_weekly: 1, ..config.backup.clone() },
        ..config.clone()
    });
    let path = Path::new("config.toml");
    for ahead in 20..=24 {
        whole(&backups, night(ahead));
    }
    // There is no other.
    assert!(backups.is_overdue(night(3)));
    assert!(advice(&config, path, night(3)).contains("shop-20261124T020512Z.db"));
    for number in 3..=6 {
        let made = whole(&backups, night(number));
        assert!(made.path.exists() && !backups.is_overdue(night(number)));
        assert_eq!(backups.newest(night(number)).unwrap().path, made.path);
        assert!(advice(&config, path, night(number)).contains(&made.path.display().to_string()));
    }
    let kept = ["05", "06", "23", "24"].map(|day| format!("shop-202611{day}T020512Z.db"));
    assert_eq!((names(&config.backup.folder), names(&config.backup.copy_to)), (kept.to_vec(), kept.to_vec()));
    // It is their time.
    whole(&backups, night(25));
    assert_eq!(names(&config.backup.folder), ["24", "25"].map(|day| format!("shop-202611{day}T020512Z.db")));
}

#[test]
fn what_a_crash_left_goes_though_the_next_one_fails_too() {
    let (_folder, config, _database) = shop();
    let config = Config { database: crate::config::Database { path: config.database.path.join("gone") }, ..config };
    let folder = &config.backup.folder;
    fs::create_dir_all(folder).unwrap();
    for left in ["gone-20261101T020512Z.db.partial", "gone-20261101T020512Z.db.partial-journal"] {
        fs::write(folder.join(left), "half").unwrap();
    }
    Backups::from_config(&config).make(night(2)).unwrap_err();
    assert_eq!(names(folder), [""; 0]);
}

#[test]
fn what_cannot_be_made_or_copied_is_told_until_it_can() {
    let (_folder, config, _database) = shop();
    let backups = Backups::from_config(&config);
    fs::create_dir(config.backup.folder.parent().unwrap()).unwrap();
    fs::write(&config.backup.folder, "no folder").unwrap();
    let error = backups.make(night(1)).unwrap_err();
    let failed = Failure { at: night(1), step: Step::Make, reason: format!("{error:#}") };
    assert_eq!(backups.failure(), Some(failed));
    fs::remove_file(&config.backup.folder).unwrap();
    backups.make(night(2)).unwrap();
    assert_eq!(backups.failure(), None);

    let error = backups.finish(night(2)).unwrap_err();
    let said = format!("{error:#}");
    assert!(said.ends_with("the folder is not there; is its drive connected?"), "{said}");
    assert_eq!(backups.clone().failure(), Some(Failure { at: night(2), step: Step::Finish, reason: said }));
    fs::create_dir(&config.backup.copy_to).unwrap();
    for later in [night(2), night(3)] {
        backups.finish(later).unwrap();
        assert_eq!(backups.failure(), None);
        for folder in [&config.backup.folder, &config.backup.copy_to] {
            assert_eq!(names(folder), ["shop-20261102T020512Z.db"], "the one that was made, and no other");
        }
    }
}

#[test]
fn what_another_shop_copied_under_the_same_name_is_no_copy() {
    let (_folder, config, _database) = shop();
    let backups = Backups::from_config(&config);
    fs::create_dir(&config.backup.copy_to).unwrap();
    let theirs = config.backup.copy_to.join("shop-20261102T020512Z.db");
    fs::write(&theirs, "another shop").unwrap();
    backups.make(night(2)).unwrap();
    let said = format!("{:#}", backups.finish(night(2)).unwrap_err());
    assert!(said.ends_with("is there and differs; does another shop copy there too?"), "{said}");
    assert_eq!(fs::read(&theirs).unwrap(), b"another shop");
}

#[test]
fn a_folder_that_another_shop_has_is_left_to_it() {
    let (folder, config, _database) = shop();
    let second = &config.backup.copy_to;
    fs::create_dir(second).unwrap();
    let backups = Backups::from_config(&config);
    let theirs = whole(&backups, night(2)).path;
    assert_eq!(fs::read_to_string(second.join("shop.shop")).unwrap(), config.shop.id);
    assert_eq!(mode(&second.join("shop.shop")), 0o600);

    let mut other = config.clone();
    other.shop.id = "other.myshopify.com".to_owned();
    other.database.path = folder.path().join("other/shop.db");
    other.backup.folder = folder.path().join("other/backups");
    (other.backup.keep_daily, other.backup.keep_weekly) = (1, 1);
    fs::create_dir(folder.path().join("other")).unwrap();
    let _database = Database::open(&other.database.path, "test").unwrap();
    fs::write(second.join("shop-20261101T020512Z.db.partial"), "half").unwrap();
    let before = names(second);
    let refused = "has the backups of the shop demo.myshopify.com under the same name; name another folder in [backup]";
    let others = Backups::from_config(&other);
    for number in [3, 4] {
        others.make(night(number)).unwrap();
        let said = format!("{:#}", others.finish(night(number)).unwrap_err());
        assert!(said.contains(refused) && said.contains(&second.join("shop.shop").display().to_string()), "{said}");
        assert_eq!(others.failure().unwrap().step, Step::Finish);
    }
    assert_eq!((names(&other.backup.folder), names(second)), (vec!["shop-20261104T020512Z.db".to_owned()], before));
    fs::remove_dir_all(&other.backup.folder).unwrap();
    assert!(advice(&other, Path::new("config.toml"), night(5)).contains("there is no verified backup"));

    // The first folder too.
    other.backup.folder.clone_from(&config.backup.folder);
    let others = Backups::from_config(&other);
    let said = format!("{:#}", others.make(night(5)).unwrap_err());
    assert!(said.contains(refused) && theirs.exists(), "{said}");
    assert_eq!((others.newest(night(5)), backups.newest(night(5)).unwrap().path), (None, theirs));

    // An older program left no note, or a crash an empty one.
    fs::write(config.backup.folder.join("shop.shop"), "").unwrap();
    whole(&backups, night(6));
    assert_eq!(fs::read_to_string(config.backup.folder.join("shop.shop")).unwrap(), config.shop.id);
}

#[test]
fn old_ones_go_though_the_second_folder_is_away() {
    let (_folder, config, _database) = shop();
    let backups = Backups::from_config(&Config {
        backup: crate::config::Backup { keep_daily: 1, keep_weekly: 1, ..config.backup.clone() },
        ..config.clone()
    });
    for number in [3, 4] {
        backups.make(night(number)).unwrap();
        backups.finish(night(number)).unwrap_err();
    }
    assert_eq!(names(&config.backup.folder), ["shop-20261104T020512Z.db"]);
}

#[test]
fn the_advice_names_the_command() {
    let (_folder, config, _database) = shop();
    let path = Path::new("shops/config.toml");
    let said = advice(&config, path, night(3));
    assert!(
        said.contains("there is no verified backup in")
            && said.contains("quintile --config shops/config.toml restore FILE"),
        "{said}"
    );
    let said = advice(&config, Path::new("my mother's shop/config.toml"), night(3));
    assert!(said.contains(r"`quintile --config 'my mother'\''s shop/config.toml' restore FILE`"), "{said}");
    fs::create_dir(&config.backup.copy_to).unwrap();
    let backup = whole(&Backups::from_config(&config), night(2));
    let command = format!("`quintile restore {}`", backup.path.display());
    assert!(advice(&config, Path::new("config.toml"), night(3)).contains(&command));
    // The first disk is lost.
    fs::remove_dir_all(&config.backup.folder).unwrap();
    let second = config.backup.copy_to.join("shop-20261102T020512Z.db");
    assert!(advice(&config, path, night(3)).contains(&second.display().to_string()));
}

#[test]
fn what_others_may_read_is_named_and_a_folder_of_somebody_else_is_not() {
    let (folder, config, _database) = shop();
    let backups = Backups::from_config(&config);
    assert_eq!(backups.open_to_others(), [""; 0]);
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(folder.path(), 0o1777);
    assert_eq!(backups.open_to_others(), [""; 0], "as /tmp is");
    open(folder.path(), 0o711);
    let path = folder.path().display();
    assert_eq!(
        backups.open_to_others(),
        [format!("others are let into the folder {path} (mode 711); unless they need it, run chmod 700 {path}")]
    );
    open(folder.path(), 0o700);
    fs::create_dir(&config.backup.copy_to).unwrap();
    open(&config.backup.copy_to, 0o700);
    for name in ["shop-20261102T020512Z.db", "shop-by-hand.db", "other-20261102T020512Z.db"] {
        fs::write(config.backup.copy_to.join(name), "").unwrap();
        open(&config.backup.copy_to.join(name), 0o604);
    }
    fs::write(folder.path().join("shop.db.before-restore-1"), "").unwrap();
    open(&folder.path().join("shop.db.before-restore-1"), 0o644);
    assert_eq!(
        backups.open_to_others(),
        [format!(
            "others are let into {path}/shop.db.before-restore-1 (mode 644) and 1 more like it; run chmod 600 \
             {path}/shop.db* {path}/second/shop-20261102T020512Z.db"
        )]
    );
    open(&folder.path().join("shop.db.before-restore-1"), 0o600);
    let elsewhere = folder.path().join("it's here");
    fs::rename(&config.backup.copy_to, &elsewhere).unwrap();
    let moved = Backups { copy_to: Some(elsewhere), ..backups };
    let said = moved.open_to_others();
    assert!(said[0].ends_with(&format!("run chmod 600 '{path}/it'\\''s here/shop-20261102T020512Z.db'")), "{said:?}");
}
