//! Files of rules.
//!
//! ```toml
//! builtin = ["serde", "collections"]      # sets to try after the rules of this file
//!
//! [[region]]
//! name = "websocket"
//! function = ["^tungstenite::", "^tokio_tungstenite::"]   # one of them
//! module = "game-server$"                                 # and this one
//! from = "leaf"                                           # or "root"
//! ```

use serde::Deserialize;
use toml::Spanned;

use super::builtin;
use super::rules::{Draft, From, Reason, RuleError, Rules, Subject};
use crate::profile::name::printable;

/// Bytes of a file at most; a rule has a hundred.
pub const MAX_BYTES: u64 = 256 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    builtin: Vec<Spanned<String>>,
    #[serde(default)]
    region: Vec<Spanned<Region>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    name: Spanned<String>,
    #[serde(default)]
    from: End,
    function: Option<Spanned<Patterns>>,
    module: Option<Spanned<Patterns>>,
    file: Option<Spanned<Patterns>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    #[default]
    Leaf,
    Root,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a pattern or a list of patterns")]
enum Patterns {
    One(String),
    Several(Vec<String>),
}

impl Patterns {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Several(patterns) => patterns,
        }
    }
}

impl Rules {
    /// Adds the rules of a file, as steps of their own. `name` is shown in errors.
    ///
    /// # Errors
    /// See [`Reason`]; the place is the file's name and the line.
    pub fn add_file(&mut self, name: &str, text: &str) -> Result<(), RuleError> {
        self.close_step();
        let place = |offset: usize| {
            let lines = text.as_bytes().get(..offset).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count();
            format!("{}, line {}", printable(name), lines + 1)
        };
        let file: File = toml::from_str(text).map_err(|error| RuleError {
            place: place(error.span().map_or(0, |span| span.start)),
            // The message alone: the whole error quotes the file, which may be any file.
            reason: Reason::Form(printable(error.message().lines().next().unwrap_or_default()).into_owned()),
        })?;
        for region in &file.region {
            self.add_region(region.get_ref()).map_err(|(at, reason)| {
                let start = at.unwrap_or(region.span().start);
                RuleError { place: place(start), reason }
            })?;
        }
        for set in &file.builtin {
            self.add_set(set.get_ref()).map_err(|reason| RuleError { place: place(set.span().start), reason })?;
        }
        self.close_step();
        Ok(())
    }

    /// An error comes with its place in the file, where that is known better than by the rule.
    fn add_region(&mut self, region: &Region) -> Result<(), (Option<usize>, Reason)> {
        let from = match region.from {
            End::Leaf => From::Leaf,
            End::Root => From::Root,
        };
        let mut patterns = Vec::new();
        let of_subject = [&region.function, &region.module, &region.file];
        for (subject, given) in Subject::ALL.into_iter().zip(of_subject) {
            let given = given.iter().flat_map(|given| given.get_ref().as_slice());
            patterns.extend(given.map(|pattern| (subject, pattern.as_str())));
        }
        self.add(&Draft { name: region.name.get_ref(), from, patterns }).map_err(|reason| {
            let at = match &reason {
                Reason::Pattern { subject, .. } => {
                    of_subject[*subject as usize].as_ref().map(|given| given.span().start)
                }
                _ => Some(region.name.span().start),
            };
            (at, reason)
        })
    }

    /// Adds a set that comes with tracer, as steps of its own.
    ///
    /// # Errors
    /// [`Reason::NoSuchSet`], and [`Reason::TooMany`].
    pub fn add_set(&mut self, name: &str) -> Result<(), Reason> {
        let set = builtin::SETS.iter().find(|set| set.name == name);
        let set = set.ok_or_else(|| Reason::NoSuchSet(printable(name).into_owned()))?;
        self.close_step();
        for &(region, patterns) in set.regions {
            let patterns = patterns.iter().map(|&pattern| (Subject::Function, pattern)).collect();
            self.add(&Draft { name: region, from: From::Leaf, patterns })?;
        }
        self.close_step();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Random;

    const GOOD: &str = r#"
builtin = ["serde"]

[[region]]
name = "upgrade"
from = "root"
function = "handshake"

[[region]]
name = "websocket"
function = ["^tungstenite::", '<tungstenite::']
module = "server$"

[[region]]
name = "logger"
file = "src/logger"
"#;

    fn error(text: &str) -> String {
        Rules::default().add_file("regions.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn steps_change_with_the_end_that_is_searched_from() {
        let mut rules = Rules::default();
        rules.add_option("mine=x").unwrap();
        rules.add_file("regions.toml", GOOD).unwrap();
        let steps: Vec<_> = rules.steps().iter().map(|step| (step.from, step.rules.len())).collect();
        assert_eq!(steps, [(From::Leaf, 1), (From::Root, 1), (From::Leaf, 2), (From::Leaf, 1)]);
        assert_eq!(rules.names(), ["mine", "upgrade", "websocket", "logger", "serde"]);
    }

    #[test]
    fn errors_name_the_line_and_what_to_type() {
        for (text, says) in [
            (
                "[[region]]\nname = \"a\"\nfunction = [\"b\",\n  \"(\"]",
                "regions.toml, line 3: region `a`: function pattern `(`",
            ),
            ("\n[[region]]\nname = \"a\"", "line 3: region `a` has no pattern; give it function, module or file"),
            ("[[region]]\nfunction = \"a\"", "missing field `name`; a rule is [[region]] with name"),
            (
                "[[region]]\nname = \"a\"\nfunctions = \"b\"",
                "line 3: unknown field `functions`, expected one of `name`",
            ),
            ("[[region]]\nname = \"a\"\nfunction = 3", "line 3: expected a pattern or a list of patterns"),
            ("[[region]]\nname = \"a\"\nfrom = \"top\"", "line 3: unknown variant `top`, expected `leaf` or `root`"),
            ("[[region]]\nname = \"other\"\nfile = \"b\"", "line 2: `other` is the region of what no rule matches"),
            ("[[regions]]", "line 1: unknown field `regions`"),
            ("builtin = [\"tokyo\"]", "there is no set `tokyo` of rules; there are collections, "),
            ("region = \u{1b}[0m", "line 1"),
            ("name", "line 1"),
        ] {
            assert!(error(text).contains(says), "{text}: {}", error(text));
            assert!(!error(text).contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = format!("region = {}", "[".repeat(100_000));
        assert!(error(&deep).starts_with("regions.toml, line 1"));
        let keys = format!("{} = 1", vec!["a"; 100_000].join("."));
        assert!(error(&keys).starts_with("regions.toml, line 1"));
    }

    #[test]
    fn every_set_is_sound() {
        for set in builtin::SETS {
            let mut rules = Rules::default();
            rules.add_set(set.name).unwrap();
            assert!(!rules.is_empty());
            let documented = include_str!("../../../../docs/regions.md").contains(&format!("\n| `{}` | ", set.name));
            assert!(documented, "{}", set.name);
        }
    }

    /// Damaged files end in rules or in an error that has one line. `TRACER_FUZZ_ITERATIONS` asks for more.
    #[test]
    fn damaged_files_are_rules_or_errors() {
        let iterations = std::env::var("TRACER_FUZZ_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
        let mut random = Random::new(7);
        let alphabet = b"[](){}*+?|\\\"'=.,#\n ab\xff\x00\x1b19^$";
        let mut sound = 0u64;
        for _ in 0..iterations {
            let mut text = GOOD.as_bytes().to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(text.len() as u64) as usize;
                let byte = alphabet[random.below(alphabet.len() as u64) as usize];
                match random.below(4) {
                    0 => text[at] = byte,
                    1 => text.insert(at, byte),
                    2 => _ = text.remove(at),
                    _ => {
                        let end = (at + random.below(30) as usize).min(text.len());
                        let piece = text[at..end].to_vec();
                        text.splice(at..at, piece);
                    }
                }
            }
            match Rules::default().add_file("regions.toml", &String::from_utf8_lossy(&text)) {
                Ok(()) => sound += 1,
                Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
            }
        }
        assert!(sound > iterations / 20 && sound < iterations, "{sound} of {iterations}");
    }
}
