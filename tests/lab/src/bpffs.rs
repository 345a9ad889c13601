//! Makes sure that the BPF file system is mounted, where pinned maps live.

use crate::{LabError, command};
use std::{fs, process::Command};

const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Mounts bpffs at /sys/fs/bpf unless it is there; returns whether it had to.
///
/// # Errors
/// Without root, or when the kernel has no bpffs.
pub fn mount_bpffs() -> Result<bool, LabError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(LabError::file("/proc/self/mounts"))?;
    if is_mounted(&mounts) {
        return Ok(false);
    }
    command::succeed(Command::new("mount").args(["-t", "bpf", "bpf", MOUNT_POINT]), None)?;
    Ok(true)
}

fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(MOUNT_POINT) && fields.next() == Some("bpf")
    })
}

#[cfg(test)]
mod tests {
    use super::is_mounted;

    #[test]
    fn only_bpffs_at_its_place_counts() {
        assert!(is_mounted("sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n"));
        assert!(!is_mounted("tmpfs /sys/fs/bpf tmpfs rw 0 0\nbpf /mnt bpf rw 0 0\n"));
    }
}
