//! A disk so small that a test can fill it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::process::hand_over;

/// A file system of a few MiB, in memory. It ends with this value.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Makes one of so many MiB, whose directory belongs to `account`; none where this process may not mount, and says so.
    pub fn new(mebibytes: u32, account: &str) -> Option<Self> {
        let directory = TempDir::new().expect("a temporary directory");
        let size = format!("size={mebibytes}m,mode=755");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        if !mount.is_ok_and(|output| output.status.success()) {
            eprintln!("not tried: a full disk takes the right to mount one (root, and not in a container without it)");
            return None;
        }
        let disk = Self(directory);
        hand_over(disk.path(), account);
        Some(disk)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let zeros = std::fs::File::open("/dev/zero").expect("/dev/zero");
        let mut filler = std::fs::File::create(self.filler()).expect("the filler can be created");
        let full = std::io::copy(&mut { zeros }, &mut filler).expect_err("a disk is not endless");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    /// Gives it back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what runs on it ends later.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
