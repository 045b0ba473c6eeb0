//! Who is to own the files that are written.

use crate::output::Owner;

/// The caller of `sudo`, if it was sudo that made us root: from `SUDO_UID` and `SUDO_GID`, which it sets.
pub fn from_sudo() -> Option<Owner> {
    let id = |name: &str| std::env::var(name).ok();
    // SAFETY: geteuid has no preconditions and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if root { owner(id("SUDO_UID")?, id("SUDO_GID")?) } else { None }
}

fn owner(user: String, group: String) -> Option<Owner> {
    Some(Owner { user: user.parse().ok()?, group: group.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers() {
        assert_eq!(owner("1000".into(), "100".into()), Some(Owner { user: 1000, group: 100 }));
        assert_eq!(owner("-1".into(), "100".into()), None);
        assert_eq!(owner("root".into(), String::new()), None);
    }
}
