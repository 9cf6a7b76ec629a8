//! A database on a disk that is not this machine's: refused at once, with what to do. The disk is real,
//! mounted by sshfs, which here talks to a server of files on this machine.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use quintile::db::Database;

use super::NOWHERE;
use crate::support::{merchant::Merchant, process::run};

/// Where the parts of OpenSSH bring it, by system.
const SFTP_SERVERS: [&str; 2] = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server"];

/// `shop` below a merchant's folder, which is the folder `disk` seen through sshfs.
struct Mount(PathBuf);

impl Mount {
    fn new(merchant: &Merchant, options: &str) -> Self {
        let at = |name: &str| merchant.path().join(name);
        for folder in ["disk", "shop"] {
            fs::create_dir(at(folder)).unwrap();
        }
        let server = SFTP_SERVERS.iter().find(|server| fs::exists(server).is_ok_and(|is| is)).expect("an sftp-server");
        fs::write(at("ssh"), format!("#!/bin/sh\nexec {server}\n")).unwrap();
        fs::set_permissions(at("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let mounted = Command::new("sshfs")
            .args(["-o", &format!("ssh_command={}{options}", at("ssh").display())])
            .arg(format!("localhost:{}", at("disk").display()))
            .arg(at("shop"))
            .status()
            .expect("sshfs is installed: tests/run --full does it");
        assert!(mounted.success(), "this needs /dev/fuse");
        Self(at("shop"))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-uz").arg(&self.0).status();
    }
}

/// A merchant who keeps the database on such a disk, which is mounted with these options.
fn merchant(options: &str) -> (Merchant, Mount) {
    let merchant = Merchant::new(NOWHERE);
    merchant.configure("[webhooks]", "[database]\npath = \"shop/quintile.db\"\n[webhooks]");
    let mount = Mount::new(&merchant, options);
    (merchant, mount)
}

fn refused(merchant: &Merchant) -> String {
    let output = run(merchant.path(), &["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(".db is on a network drive"), "{said}");
    assert!(said.contains("put it on a disk of this machine"), "{said}");
    said
}

#[test]
#[ignore = "wants sshfs: tests/run --full installs it and runs this"]
fn a_network_drive_is_refused_by_its_name() {
    let (merchant, _mount) = merchant("");
    let said = refused(&merchant);
    assert!(said.contains("(fuse.sshfs)"), "{said}");
    assert!(!merchant.path().join("disk/quintile.db").exists());
}

#[test]
#[ignore = "wants sshfs: tests/run --full installs it and runs this"]
fn a_disk_that_cannot_share_memory_is_refused_whatever_its_name() {
    let (merchant, _mount) = merchant(",direct_io,dir_cache=no,subtype=unknown");
    refused(&merchant);

    // Also a database that was made elsewhere and brought there.
    merchant.configure("shop/quintile.db", "shop/brought.db");
    let brought = merchant.path().join("disk/brought.db");
    drop(Database::open(&brought, "quintile test").unwrap());
    let before = fs::read(&brought).unwrap();
    refused(&merchant);
    assert_eq!(fs::read(&brought).unwrap(), before);
}
