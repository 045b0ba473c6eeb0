//! Why a module has no unwind table though its file is open.

use std::sync::Arc;

use crate::unwind::{BuildError, TableMemoryError};

/// See the module.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WithoutTable {
    /// There is one, but no room for it.
    #[error(transparent)]
    NoRoom(TableMemoryError),
    /// None can be built.
    #[error("its unwind table cannot be built: {0}")]
    NotBuilt(Arc<BuildError>),
    /// Its file was written to while the table was built. It became another module then.
    #[error("the file was changed while its unwind table was built")]
    Changed,
}

impl WithoutTable {
    /// What the user can do about it, or should know.
    pub fn hint(&self) -> String {
        match self {
            Self::NoRoom(error) => format!("raise --unwind-memory: {error}"),
            Self::NotBuilt(_) | Self::Changed => self.to_string(),
        }
    }
}
