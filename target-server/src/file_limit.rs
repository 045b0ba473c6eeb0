//! The limit of open files: each connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The process may not open enough files.
#[derive(Debug, thiserror::Error)]
#[error(
    "{needed} open files are needed, but only {allowed} are allowed: type `ulimit -n {needed}` first (as root if it is refused)"
)]
pub struct TooFewFiles {
    needed: u64,
    allowed: u64,
}

/// Raises this process's limit of open files as far as it may without privileges, and gives the limit.
pub fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Whether `allowed` open files are enough.
pub fn require(needed: u64, allowed: u64) -> Result<(), TooFewFiles> {
    if needed <= allowed { Ok(()) } else { Err(TooFewFiles { needed, allowed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_type() {
        assert!(require(10, 10).is_ok());
        assert!(require(2064, 1024).unwrap_err().to_string().contains("`ulimit -n 2064`"));
    }
}
