//! Rust (legacy and v0) and C++ names as people write them.

use std::fmt::{self, Write};

use cpp_demangle::{BorrowedSymbol, DemangleOptions};

/// Longer symbols are shown as they are.
const MAX_MANGLED: usize = 32 << 10;
/// A short symbol can stand for an endless name: substitutions double it again and again.
const MAX_DEMANGLED: usize = 32 << 10;

/// The demangled name, without a Rust symbol's hash; `None` for a name that is not mangled.
pub fn demangle(symbol: &str) -> Option<String> {
    if symbol.len() > MAX_MANGLED || !symbol.starts_with("_Z") && !symbol.starts_with("_R") {
        return None;
    }
    let mut name = Bounded(String::new());
    let done = match rustc_demangle::try_demangle(symbol) {
        Ok(rust) => write!(name, "{rust:#}").is_ok(),
        Err(_) => {
            let (cpp, tail) = BorrowedSymbol::with_tail(symbol.as_bytes()).ok()?;
            // Compilers append `.cold`, `.llvm.1234` and the like to copies of a function. It is the same function.
            if !tail.is_empty() && !tail.starts_with(b".") {
                return None;
            }
            cpp.structured_demangle(&mut name, &DemangleOptions::new()).is_ok()
        }
    };
    (done && !name.0.is_empty()).then_some(name.0)
}

/// A name that stops growing.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_DEMANGLED {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_manglings_are_known() {
        let cases = [
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
            ("_Z3fooi.cold", "foo(int)"),
        ];
        for (mangled, name) in cases {
            assert!(
                demangle(mangled).is_some_and(|demangled| demangled.starts_with(name)),
                "{mangled}: {:?}",
                demangle(mangled)
            );
        }
    }

    #[test]
    fn plain_names_are_left_alone() {
        for name in ["malloc", "", "_Z", "_R", "_start", "_ZN", "_Z3foo garbage", "LazyCompile:*f"] {
            assert_eq!(demangle(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_explode_are_given_up() {
        // Each level names the one before twice.
        let mut symbol = String::from("_Z1fP1AIS_S_E");
        for level in 0..40 {
            symbol.push_str(&format!("1BIS{}_S{}_E", to_base_36(level), to_base_36(level)));
        }
        let _ = demangle(&symbol);
        assert_eq!(demangle(&format!("_Z{}", "1".repeat(MAX_MANGLED))), None);
        let nested = format!("_ZN{}E", "1aIN".repeat(5000));
        let _ = demangle(&nested);
    }

    fn to_base_36(mut number: usize) -> String {
        let mut text = String::new();
        loop {
            text.insert(0, char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[number % 36]));
            number /= 36;
            if number == 0 {
                return text;
            }
        }
    }
}
