//! Sets of rules for what many programs are built from. Each is switched on by its name and, in the order given, tried
//! after the rules before it: a set of its own that is asked for first has the first word.
//!
//! Patterns are held against demangled names. Rust shows an implementation as `<Type as Trait>::method`, with `&` and
//! `mut` before the type; C++ shows templates with their return type before the name, and everything with its arguments,
//! which must not decide.

/// A set of rules.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// What it is called behind `builtin:`.
    pub name: &'static str,
    /// Its regions with their patterns over functions.
    pub regions: &'static [(&'static str, &'static [&'static str])],
}

/// All sets, in alphabetical order.
pub const SETS: &[Set] = &[
    Set {
        name: "collections",
        regions: &[(
            "collections",
            &[
                r"^<?(&?(mut )?)?alloc::(vec|raw_vec|string|collections|boxed|rc|sync|slice|str|borrow|fmt)::",
                r"^<?(&?(mut )?)?std::collections::",
                r"^<?(&?(mut )?)?(hashbrown|indexmap|smallvec|bytes)::",
            ],
        )],
    },
    Set {
        name: "libstdc++",
        regions: &[(
            "C++ containers",
            &[
                r"^([\w:]+[*&]* )?std::(__cxx11::|__1::|__debug::)?(basic_string|vector|deque|list|forward_list|_List_base|_Vector_base|_Deque_base)\b",
                r"^([\w:]+[*&]* )?std::(__cxx11::|__1::|__debug::)?(map|set|multimap|multiset|_Rb_tree|__tree)\b",
                r"^([\w:]+[*&]* )?std::(__cxx11::|__1::|__debug::)?(unordered_(multi)?(map|set)|_Hashtable|__hash_table|__detail::_Hashtable_alloc)\b",
                r"^([\w:]+[*&]* )?std::(__1::)?(make_shared|make_unique|allocate_shared|__shared_count|function)\b",
                r"^([\w:]+[*&]* )?__gnu_cxx::(__)?new_allocator\b",
            ],
        )],
    },
    Set {
        name: "logging",
        regions: &[(
            "logging",
            &[
                r"^<?(&?(mut )?)?(tracing|tracing_core|tracing_subscriber|tracing_appender|tracing_log|sharded_slab)::",
                r"^<?(&?(mut )?)?(log|env_logger|fern|slog|log4rs|flexi_logger)::",
                r"\bspdlog::",
            ],
        )],
    },
    Set {
        name: "serde",
        regions: &[(
            "serde",
            &[
                r"^<?(&?(mut )?)?(serde|serde_core|serde_json|serde_yaml|serde_urlencoded|bincode|rmp_serde|ciborium|postcard|toml)::",
                r" as (serde|serde_core)::(ser|de)::",
            ],
        )],
    },
    Set { name: "tokio", regions: &[("tokio", &[r"^<?(&?(mut )?)?(tokio|tokio_util|tokio_stream|mio)::"])] },
    Set {
        name: "tungstenite",
        regions: &[
            (
                "http upgrade",
                &[
                    r"^<?(&?(mut )?)?(tungstenite|tokio_tungstenite|async_tungstenite)::(handshake|server|client)\b",
                    r"^<?(&?(mut )?)?(http|httparse|url)::",
                ],
            ),
            ("websocket", &[r"^<?(&?(mut )?)?(tungstenite|tokio_tungstenite|async_tungstenite)::"]),
        ],
    },
];

/// The names of all sets, for people.
pub fn names() -> String {
    SETS.iter().map(|set| set.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn region_of(set: &str, name: &str) -> Option<&'static str> {
        let set = SETS.iter().find(|known| known.name == set).unwrap();
        let matches = |patterns: &[&str]| patterns.iter().any(|pattern| Regex::new(pattern).unwrap().is_match(name));
        set.regions.iter().find(|(_, patterns)| matches(patterns)).map(|(region, _)| *region)
    }

    #[test]
    fn names_are_of_their_own_set() {
        for (set, name, region) in [
            ("collections", "alloc::raw_vec::RawVec<T,A>::grow_one", "collections"),
            ("collections", "<alloc::string::String as core::clone::Clone>::clone", "collections"),
            ("collections", "<&mut alloc::vec::Vec<T> as core::fmt::Write>::write_str", "collections"),
            ("libstdc++", "std::vector<Enemy, std::allocator<Enemy> >::reserve(unsigned long)", "C++ containers"),
            ("libstdc++", "void std::vector<int>::_M_realloc_insert<int const&>(int const&)", "C++ containers"),
            (
                "libstdc++",
                "std::__cxx11::basic_string<char>::_M_create(unsigned long&, unsigned long)",
                "C++ containers",
            ),
            ("libstdc++", "std::_Rb_tree<int, int>::_M_insert_()", "C++ containers"),
            ("libstdc++", "__gnu_cxx::new_allocator<char>::allocate(unsigned long, void const*)", "C++ containers"),
            ("logging", "<tracing_subscriber::fmt::Subscriber<N,E,F,W> as tracing_core::Subscriber>::event", "logging"),
            ("serde", "serde_json::de::from_trait", "serde"),
            ("serde", "<game::Message as serde_core::de::Deserialize>::deserialize", "serde"),
            ("tokio", "tokio::runtime::task::raw::poll", "tokio"),
            ("tungstenite", "tungstenite::handshake::server::create_response", "http upgrade"),
            ("tungstenite", "<tokio_tungstenite::WebSocketStream<S> as futures_sink::Sink>::poll_flush", "websocket"),
        ] {
            assert_eq!(region_of(set, name), Some(region), "{name}");
        }
    }

    #[test]
    fn arguments_and_lookalikes_do_not_decide() {
        for (set, name) in [
            ("collections", "game::Store<alloc::vec::Vec<u8>>::insert"),
            ("collections", "allocator::vec::f"),
            ("libstdc++", "Game::add(std::vector<int, std::allocator<int> > const&)"),
            ("libstdc++", "void Game::each<std::map<int, int> >(std::map<int, int>&)"),
            ("libstdc++", "mystd::vector::f()"),
            ("logging", "catalog::open"),
            ("tokio", "my_tokio::spawn"),
        ] {
            assert_eq!(region_of(set, name), None, "{name}");
        }
    }
}
