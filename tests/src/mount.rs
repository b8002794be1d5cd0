//! Small file systems: one to fill up, one to cut the power of. Both need root, as CI has it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::program::{run, said};

/// A tmpfs of a few megabytes.
#[derive(Debug)]
pub struct TmpDisk {
    folder: TempDir,
}

impl TmpDisk {
    /// Mounts one of `mebibytes`.
    ///
    /// # Panics
    /// When it cannot be mounted: the test needs root.
    #[must_use]
    pub fn mount(mebibytes: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let size = format!("size={mebibytes}m");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path()));
        Self { folder }
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TmpDisk {
    fn drop(&mut self) {
        unmount(self.folder.path());
    }
}

/// An ext4 file system in a file, whose power can be cut.
#[derive(Debug)]
pub struct LoopDisk {
    folder: TempDir,
    mounted: bool,
}

impl LoopDisk {
    /// Makes one of `mebibytes` and mounts it.
    ///
    /// # Panics
    /// When that fails: the test needs root, loop devices and mkfs.ext4.
    #[must_use]
    pub fn make(mebibytes: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut disk = Self {
            folder,
            mounted: false,
        };
        std::fs::create_dir(disk.path()).expect("a new folder");
        let size = format!("{mebibytes}M");
        run(Command::new("truncate")
            .args(["-s", &size])
            .arg(disk.image()));
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .arg(disk.image()));
        disk.mount();
        disk
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Cuts the power: from now on nothing reaches the disk, and what was not synced is lost. ext4's journal is not
    /// flushed either (`EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`). Python makes the call, since the ioctl is unsafe in Rust.
    pub fn cut_power(&self) {
        const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run(Command::new("python3")
            .args(["-c", SHUTDOWN])
            .arg(self.path()));
    }

    /// The machine comes back: mounts the file system again, which replays its journal.
    pub fn power_up(&mut self) {
        run(Command::new("umount").arg(self.path()));
        self.mounted = false;
        self.mount();
    }

    /// Fills it to its last page.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a new file");
        for bytes in [1024 * 1024, 4096] {
            while ballast.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    /// Ends what [`LoopDisk::fill`] began.
    pub fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    /// The number of its loop device, as `MAJOR:MINOR`.
    fn device(&self) -> String {
        let mut findmnt = Command::new("findmnt");
        let device = said(findmnt.args(["-n", "-o", "MAJ:MIN"]).arg(self.path()));
        device.trim().to_owned()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Holds up everything that writes, until [`LoopDisk::thaw`].
    pub fn freeze(&self) {
        run(Command::new("fsfreeze").arg("-f").arg(self.path()));
    }

    /// Ends what [`LoopDisk::freeze`] began.
    pub fn thaw(&self) {
        run(Command::new("fsfreeze").arg("-u").arg(self.path()));
    }

    /// As [`LoopDisk::thaw`], for a test that ended early.
    pub fn thaw_if_frozen(&self) {
        let thaw = Command::new("fsfreeze").arg("-u").arg(self.path()).output();
        drop(thaw);
    }

    fn mount(&mut self) {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(self.image())
            .arg(self.path()));
        self.mounted = true;
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            // A frozen file system can neither be left by its processes nor unmounted.
            self.thaw_if_frozen();
            unmount(&self.path());
        }
    }
}

/// A disk that takes few writes a second from one process (cgroup v1, blkio). Dropping it ends that.
#[derive(Debug)]
pub struct SlowDisk {
    group: PathBuf,
}

impl SlowDisk {
    /// Makes the disk slow for the process.
    ///
    /// # Panics
    /// When that fails: the test needs root and the blkio controller.
    #[must_use]
    pub fn make(disk: &LoopDisk, pid: u32, writes_a_second: u32) -> Self {
        let parent = Path::new("/sys/fs/cgroup/blkio");
        let group = parent.join(format!("millrace-{pid}"));
        std::fs::create_dir(&group).expect("cgroup v1 with blkio is there");
        let slow = Self { group };
        let limit = format!("{} {writes_a_second}", disk.device());
        slow.set("blkio.throttle.write_iops_device", &limit);
        slow.set("cgroup.procs", &pid.to_string());
        slow
    }

    fn set(&self, name: &str, value: &str) {
        std::fs::write(self.group.join(name), value).expect("a file of the control group");
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let processes = std::fs::read_to_string(self.group.join("cgroup.procs"));
        for pid in processes.unwrap_or_default().lines() {
            let _ = std::fs::write("/sys/fs/cgroup/blkio/cgroup.procs", pid);
        }
        let _ = std::fs::remove_dir(&self.group);
    }
}

/// Lazily, so that a test which fails with the broker still on it leaves nothing mounted.
fn unmount(path: &Path) {
    let _ = Command::new("umount").arg("-l").arg(path).status();
}
