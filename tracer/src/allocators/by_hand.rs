//! Allocation functions that the user names: by symbol, or by address where a file has no symbols.
//!
//! ```text
//! NAME, MODULE+0xADDRESS     the first argument is the size, as of malloc
//! …:N                        argument N is, counted from 0 to 3
//! …:0*1, …:1*2               a product of two is, as of calloc and reallocarray
//! …:realloc                  as of realloc: argument 1 is the size, argument 0 the block that is given back
//! …:go                       the first argument in Go's registers is, as of runtime.mallocgc
//! …:free                     it releases the block in argument 0
//! ```

pub mod find;

use std::fmt;

use tracer_ebpf::abi::allocation::SizeFrom;

use super::table::{BlockAt, Function, HandsOn, Role};

/// The family of functions named by hand.
pub const FAMILY: &str = "named by hand";
/// They can be so many.
pub const MAX_NAMED: usize = 64;

/// A function that the user names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFunction {
    /// Which function.
    pub place: Place,
    /// How it is called.
    pub form: Form,
}

/// Which function the user means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// All that have this name in a symbol table of any module.
    Symbol(String),
    /// The one that begins at this address.
    Address {
        /// File name or path of a mapped file.
        module: String,
        /// ELF virtual address: that of `nm` and `objdump`, and of `module+0x…` in tracer's output.
        address: u64,
    },
}

/// How a function is called, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    role: Role,
    size: Option<SizeFrom>,
    gives_back: Option<u8>,
}

/// Why an argument of the command line names no function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing is left of the name.
    #[error(
        "a function has a name, such as my_alloc, or my_calloc:0*1 when the size is the product of its arguments 0 and 1"
    )]
    NoName,
    /// It is no address in a module.
    #[error(
        "an offset is a file name and an address in it as `nm` and `objdump -d` show it, such as server+0x4011d6; \
         server+0x4011d6:1 when argument 1 is the size"
    )]
    NoOffset,
    /// What stands behind the colon.
    #[error(
        "`{0}` does not say where the size is; that is an argument, counted from 0 (`:0` to `:3`), a product (`:0*1` or \
         `:1*2`), `:realloc`, or `:go`; `:free` is a function that releases"
    )]
    NoForm(String),
}

impl NamedFunction {
    /// Understands an argument of `--symbol`.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn symbol(text: &str) -> Result<Self, ParseError> {
        let (name, form) = with_form(text)?;
        if name.is_empty() {
            return Err(ParseError::NoName);
        }
        Ok(Self { place: Place::Symbol(name.to_owned()), form })
    }

    /// Understands an argument of `--offset`.
    ///
    /// # Errors
    /// See [`ParseError`].
    pub fn offset(text: &str) -> Result<Self, ParseError> {
        let (place, form) = with_form(text)?;
        // File names may hold a `+` (libstdc++.so.6), addresses do not.
        let (module, address) = place.rsplit_once("+0x").ok_or(ParseError::NoOffset)?;
        let address = u64::from_str_radix(address, 16).map_err(|_| ParseError::NoOffset)?;
        if module.is_empty() {
            return Err(ParseError::NoOffset);
        }
        Ok(Self { place: Place::Address { module: module.to_owned(), address }, form })
    }

    /// Whether it hands nothing out.
    pub fn releases(&self) -> bool {
        self.form.role == Role::Release
    }
}

/// Parts a place from the form behind the last colon. Names in C++ and Rust may have colons too, in pairs.
fn with_form(text: &str) -> Result<(&str, Form), ParseError> {
    match text.rsplit_once(':') {
        Some((place, _)) if place.ends_with(':') => Ok((text, Form::default())),
        Some((place, form)) => Ok((place, Form::parse(form).ok_or_else(|| ParseError::NoForm(form.to_owned()))?)),
        None => Ok((text, Form::default())),
    }
}

impl Default for Form {
    /// That of `malloc`.
    fn default() -> Self {
        Self { role: Role::Allocate, size: Some(SizeFrom::Argument0), gives_back: None }
    }
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        let allocates = |size| Some(Self { size: Some(size), ..Self::default() });
        match text {
            "0" => allocates(SizeFrom::Argument0),
            "1" => allocates(SizeFrom::Argument1),
            "2" => allocates(SizeFrom::Argument2),
            "3" => allocates(SizeFrom::Argument3),
            "0*1" => allocates(SizeFrom::Product01),
            "1*2" => allocates(SizeFrom::Product12),
            "go" => allocates(SizeFrom::GoArgument0),
            "realloc" => Some(Self { role: Role::Resize, size: Some(SizeFrom::Argument1), gives_back: Some(0) }),
            "free" => Some(Self { role: Role::Release, size: None, gives_back: Some(0) }),
            _ => None,
        }
    }

    /// As a row of the table. It hands nothing on: the user says that it is to be counted.
    pub(super) fn function(self) -> Function {
        let Self { role, size, gives_back } = self;
        let block = if role == Role::Release { BlockAt::Nowhere } else { BlockAt::Returned };
        // What it does when it fails, only the user knows: an exception may leave it.
        Function { names: &[], role, size, block, gives_back, hands_on: HandsOn::Never, throws: true }
    }
}

impl fmt::Display for NamedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Symbol(name) => f.write_str(name),
            Place::Address { module, address } => write!(f, "{module}+{address:#x}"),
        }
    }
}

#[cfg(test)]
mod tests;
