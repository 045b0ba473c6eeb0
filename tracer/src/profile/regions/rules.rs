//! The rules that say which region a stack belongs to.
//!
//! Rules stand in an order. Neighbours that search from the same end are one *step*: of all frames that one of them
//! matches, the frame nearest to that end decides, and at one frame the rule that stands first. A stack that a step
//! leaves undecided goes on to the next one; what no step decides is [`OTHER`].
//!
//! Patterns are regular expressions over names as they are shown. The `regex` crate matches in linear time whatever the
//! pattern, and what a pattern becomes is bounded here: rules may come from anybody's file.

use std::fmt;

use regex::{Regex, RegexBuilder};

use crate::profile::name::printable;

/// Index of a region in [`Rules::names`]; its length stands for [`OTHER`].
pub type RegionIndex = u16;

/// The region of stacks that no rule matches.
pub const OTHER: &str = "other";

/// Rules at most.
const MAX_RULES: usize = 256;
/// Patterns of all rules at most.
const MAX_PATTERNS: usize = 1024;
/// Bytes of a pattern at most.
const MAX_PATTERN: usize = 2048;
/// Bytes that a pattern may become when it is compiled, and again while it searches. `\w` is 20 KB.
const MAX_COMPILED: usize = 1 << 19;
/// Brackets in brackets.
const MAX_NESTING: u32 = 50;
/// Characters of a region's name: what a legend has place for.
const MAX_NAME: usize = 40;

/// From which end of a stack a rule searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// From the allocation function outwards: the innermost frame that matches decides.
    #[default]
    Leaf,
    /// From the thread's start inwards.
    Root,
}

/// What a pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The function's name as it is shown.
    Function,
    /// The path of the mapped file.
    Module,
    /// The source file.
    File,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Function, Self::Module, Self::File];

    /// How it is called in rules.
    pub fn key(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Module => "module",
            Self::File => "file",
        }
    }
}

/// One rule: a frame matches if, of each subject that has patterns, one pattern matches.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The region.
    pub region: RegionIndex,
    /// Patterns by subject, in the order of [`Subject::ALL`].
    pub patterns: [Vec<Regex>; 3],
}

/// Rules that decide together, see the module.
#[derive(Clone, Debug)]
pub struct Step {
    /// From where they search.
    pub from: From,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// All rules, in their order.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    names: Vec<String>,
    steps: Vec<Step>,
    /// Whether the last step takes more rules.
    open: bool,
    rules: usize,
    patterns: usize,
}

/// A rule as somebody wrote it.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// The region's name.
    pub name: &'a str,
    /// From where it searches.
    pub from: From,
    /// Its patterns.
    pub patterns: Vec<(Subject, &'a str)>,
}

/// What is wrong with rules, and where.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct RuleError {
    /// The option, or the file and the line in it.
    pub place: String,
    /// What is wrong.
    pub reason: Reason,
}

/// See [`RuleError`].
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Not `NAME=PATTERN`.
    #[error("a region is NAME=PATTERN, such as 'websocket=^tungstenite::' or 'libc=module:libc'")]
    NotAPair,
    /// No name, or one that cannot be shown.
    #[error("a region's name has 1 to {MAX_NAME} characters, none of which controls a terminal")]
    Name,
    /// The name of what no rule matches.
    #[error("`{OTHER}` is the region of what no rule matches; choose another name")]
    Reserved,
    /// A rule that matches nothing.
    #[error("region `{0}` has no pattern; give it function, module or file")]
    NoPattern(String),
    /// Not a regular expression.
    #[error(
        "region `{region}`: {subject} pattern `{pattern}` is no regular expression: {problem}; a backslash before one of . + * ? ( ) [ ] {{ }} | ^ $ means the character itself"
    )]
    Pattern {
        /// The region.
        region: String,
        /// What it is to be held against.
        subject: Subject,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A pattern beyond the limits.
    #[error("region `{0}`: a pattern is too large; write it shorter, with smaller repetitions")]
    TooLarge(String),
    /// Too many rules.
    #[error("there are more than {MAX_RULES} rules or {MAX_PATTERNS} patterns; join patterns with |")]
    TooMany,
    /// No such set.
    #[error("there is no set `{0}` of rules; there are {known}", known = super::builtin::names())]
    NoSuchSet(String),
    /// Not what a file of rules looks like.
    #[error(
        "{0}; a rule is [[region]] with name, and function, module or file as a pattern or a list of them, and from = \"leaf\" or \"root\""
    )]
    Form(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

impl Rules {
    /// The regions, in the order in which rules name them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Rules that are added from here on are a step of their own.
    pub fn close_step(&mut self) {
        self.open = false;
    }

    /// Adds a rule at the end.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn add(&mut self, draft: &Draft<'_>) -> Result<(), Reason> {
        let region = self.region(draft.name)?;
        if draft.patterns.is_empty() {
            return Err(Reason::NoPattern(draft.name.to_owned()));
        }
        self.rules += 1;
        self.patterns += draft.patterns.len();
        if self.rules > MAX_RULES || self.patterns > MAX_PATTERNS {
            return Err(Reason::TooMany);
        }
        let mut patterns: [Vec<Regex>; 3] = Default::default();
        for &(subject, pattern) in &draft.patterns {
            patterns[subject as usize].push(compile(draft.name, subject, pattern)?);
        }
        let rule = Rule { region, patterns };
        match self.steps.last_mut() {
            Some(step) if self.open && step.from == draft.from => step.rules.push(rule),
            _ => self.steps.push(Step { from: draft.from, rules: vec![rule] }),
        }
        self.open = true;
        Ok(())
    }

    /// Adds the rule of an option `--region NAME=PATTERN`, which searches from the leaf. A pattern behind `module:` or
    /// `file:` is held against that, one behind `function:` or nothing against the function. `file::read` is a pattern
    /// for functions: two colons part names.
    ///
    /// # Errors
    /// See [`Reason`].
    pub fn add_option(&mut self, text: &str) -> Result<(), RuleError> {
        let fail = |reason| RuleError { place: format!("--region {}", printable(text)), reason };
        let (name, pattern) = text.split_once('=').ok_or_else(|| fail(Reason::NotAPair))?;
        let prefixed = |subject: Subject| {
            let rest = pattern.strip_prefix(subject.key())?.strip_prefix(':')?;
            (!rest.starts_with(':')).then_some((subject, rest))
        };
        let pattern = Subject::ALL.into_iter().find_map(prefixed).unwrap_or((Subject::Function, pattern));
        if pattern.1.is_empty() {
            return Err(fail(Reason::NotAPair));
        }
        self.add(&Draft { name, from: From::Leaf, patterns: vec![pattern] }).map_err(fail)
    }

    fn region(&mut self, name: &str) -> Result<RegionIndex, Reason> {
        if name.is_empty() || name.chars().count() > MAX_NAME || printable(name) != name {
            return Err(Reason::Name);
        }
        if name == OTHER {
            return Err(Reason::Reserved);
        }
        let index = self.names.iter().position(|known| known == name).unwrap_or(self.names.len());
        if index == self.names.len() {
            self.names.push(name.to_owned());
        }
        Ok(index as RegionIndex)
    }
}

fn compile(region: &str, subject: Subject, pattern: &str) -> Result<Regex, Reason> {
    if pattern.len() > MAX_PATTERN {
        return Err(Reason::TooLarge(region.to_owned()));
    }
    let compiled = RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(MAX_NESTING)
        .build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Reason::TooLarge(region.to_owned()),
        error => {
            // The last line says what is wrong; those before it draw the place.
            let text = error.to_string();
            let problem = text.lines().last().unwrap_or_default();
            Reason::Pattern {
                region: region.to_owned(),
                subject,
                pattern: printable(pattern).into_owned(),
                problem: printable(problem.strip_prefix("error: ").unwrap_or(problem)).into_owned(),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_options(options: &[&str]) -> Rules {
        let mut rules = Rules::default();
        for option in options {
            rules.add_option(option).unwrap();
        }
        rules
    }

    fn error(option: &str) -> String {
        Rules::default().add_option(option).unwrap_err().to_string()
    }

    #[test]
    fn options_are_one_step_and_regions_may_have_several() {
        let rules = of_options(&["net=^tokio::", "log=tracing", "net=module:libssl", "io=file::read", "c=file:\\.c$"]);
        assert_eq!(rules.names(), ["net", "log", "io", "c"]);
        let [step] = rules.steps() else { panic!("{:?}", rules.steps()) };
        let patterns = |rule: &Rule| rule.patterns.clone().map(|of| of.first().map(Regex::to_string));
        let function = |text: &str| [Some(text.to_owned()), None, None];
        assert_eq!(patterns(&step.rules[0]), function("^tokio::"));
        assert_eq!(patterns(&step.rules[2]), [None, Some("libssl".to_owned()), None]);
        assert_eq!((step.rules[2].region, patterns(&step.rules[3])), (0, function("file::read")));
        assert_eq!(patterns(&step.rules[4]), [None, None, Some("\\.c$".to_owned())]);
    }

    #[test]
    fn errors_name_the_rule_and_what_to_type() {
        for (option, says) in [
            ("websocket", "--region websocket: a region is NAME=PATTERN, such as"),
            ("a=", "a region is NAME=PATTERN"),
            ("a=module:", "a region is NAME=PATTERN"),
            ("=b", "a region's name has 1 to 40"),
            ("a\u{1b}[0m=b", "a region's name has 1 to 40"),
            ("other=b", "choose another name"),
            ("a=b(", "region `a`: function pattern `b(` is no regular expression: unclosed group; a backslash before"),
            ("a=module:*", "module pattern `*` is no regular expression: repetition operator missing expression"),
        ] {
            assert!(error(option).contains(says), "{option}: {}", error(option));
        }
        assert!(!error("a\u{1b}[0m=b").contains('\u{1b}'));
    }

    #[test]
    fn hostile_patterns_are_refused_before_they_grow() {
        let nested = format!("a={}b{}", "(".repeat(200), ")".repeat(200));
        let long = format!("a={}", "x".repeat(3000));
        for option in ["a=(\\w{100}){100}", "a=((x{1000}){1000}){1000}", &nested, &long] {
            let text = error(option);
            assert!(text.contains("too large") || text.contains("nest"), "{text}");
        }
        let mut rules = Rules::default();
        let added = (0..2000).map(|i| rules.add_option(&format!("r{i}=x"))).take_while(Result::is_ok).count();
        assert_eq!(added, MAX_RULES);
    }
}
