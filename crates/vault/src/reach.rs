//! Who can reach a file that holds a key, by its mode and owner.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use nix::unistd::Uid;

/// Whether nobody but this process's user can reach the file, or it is a mounted secret.
pub fn is_closed(about: &Metadata) -> bool {
    let user = Uid::effective().as_raw();
    about.mode() & 0o077 == 0 || is_mounted_secret(about.mode(), about.uid(), user)
}

/// Whether the file looks as Kubernetes mounts a secret for a user that isn't root: it is root's, and
/// this process reads it by its group.
pub(crate) fn is_mounted_secret(mode: u32, owner: u32, user: u32) -> bool {
    owner == 0 && user != 0 && mode & 0o037 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_root_may_be_read_by_its_group() {
        for (mode, owner, user, mounted) in [
            (0o100_440, 0, 65532, true),
            (0o100_400, 0, 65532, true),
            (0o100_640, 0, 65532, true),
            (0o100_444, 0, 65532, false),
            (0o100_460, 0, 65532, false),
            (0o100_440, 65532, 65532, false),
            (0o100_440, 1000, 65532, false),
            (0o100_440, 0, 0, false),
        ] {
            assert_eq!(is_mounted_secret(mode, owner, user), mounted, "{mode:o} {owner} {user}");
        }
    }
}
