//! `--region` and `--regions`.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use anyhow::{Context as _, bail};

use super::wrong_usage;
use crate::profile::regions::{Rules, builtin, file::MAX_BYTES};

/// What `--regions` begins with where it names a set that comes with tracer.
const BUILTIN: &str = "builtin:";

/// The options that divide a recording into regions.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Show the part of the program that a pattern matches as a region: 'websocket=^tungstenite::'. The pattern is a regular
    /// expression over function names; behind `module:` or `file:`, over paths of mapped or source files. May be given
    /// more than once
    #[arg(long, value_name = "NAME=PATTERN")]
    region: Vec<String>,
    /// Regions by the rules of a TOML file, or by a set that comes with tracer: builtin:collections, builtin:libstdc++,
    /// builtin:logging, builtin:serde, builtin:tokio or builtin:tungstenite. Earlier ones have the first word. May be
    /// given more than once
    #[arg(long, value_name = "FILE")]
    regions: Vec<String>,
}

impl Args {
    /// Reads the rules.
    ///
    /// # Errors
    /// When a file cannot be read or a rule is wrong; says which one and how it would be right.
    pub fn resolve(&self) -> anyhow::Result<Rules> {
        let mut rules = Rules::default();
        for option in &self.region {
            rules.add_option(option).map_err(wrong_usage)?;
        }
        for name in &self.regions {
            match name.strip_prefix(BUILTIN) {
                Some(set) => {
                    rules.add_set(set).map_err(|error| wrong_usage(format_args!("--regions {name}: {error}")))?;
                }
                None => rules.add_file(name, &read(name)?)?,
            }
        }
        Ok(rules)
    }
}

fn read(name: &str) -> anyhow::Result<String> {
    let bytes = read_bounded(Path::new(name)).map_err(|error| {
        let hint = if builtin::SETS.iter().any(|set| set.name == name) {
            format!("; the set of rules is {BUILTIN}{name}")
        } else {
            String::new()
        };
        anyhow::anyhow!("cannot read the rules {name}: {error}{hint}")
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("cannot read the rules {name}: it has more than {} KiB, too much for rules", MAX_BYTES >> 10);
    }
    String::from_utf8(bytes).ok().with_context(|| format!("cannot read the rules {name}: it is not text in UTF-8"))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(region: &[&str], regions: &[&str]) -> anyhow::Result<Rules> {
        let owned = |given: &[&str]| given.iter().map(|&text| text.to_owned()).collect();
        Args { region: owned(region), regions: owned(regions) }.resolve()
    }

    #[test]
    fn the_help_names_every_set() {
        use clap::Args as _;
        let command = Args::augment_args(clap::Command::new("x"));
        let option = command.get_arguments().find(|option| option.get_id() == "regions").unwrap();
        let help = option.get_help().unwrap().to_string();
        for set in builtin::SETS {
            assert!(help.contains(&format!("{BUILTIN}{}", set.name)), "{}", set.name);
        }
    }

    #[test]
    fn options_come_first_then_files_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("regions.toml");
        std::fs::write(&file, "[[region]]\nname = \"mine\"\nfunction = \"x\"").unwrap();
        let rules = resolved(&["a=b"], &["builtin:tokio", file.to_str().unwrap()]).unwrap();
        assert_eq!(rules.names(), ["a", "tokio", "mine"]);
        assert_eq!(rules.steps().len(), 3);
    }

    #[test]
    fn files_that_are_no_rules_are_named() {
        for (name, says) in [
            ("/nonexistent.toml", "cannot read the rules /nonexistent.toml: No such file"),
            ("tokio", "; the set of rules is builtin:tokio"),
            ("/dev/zero", "/dev/zero: it has more than 256 KiB"),
            ("/", "cannot read the rules /: Is a directory"),
        ] {
            let error = format!("{:#}", resolved(&[], &[name]).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
        let error = format!("{:#}", resolved(&[], &["builtin:tokyo"]).unwrap_err());
        assert!(error.contains("--regions builtin:tokyo: there is no set `tokyo`"), "{error}");
    }
}
