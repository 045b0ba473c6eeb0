//! The option `--max-overhead`.

/// How much of the target's CPU time may be spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxOverhead {
    /// Any part: every allocation is counted.
    Any,
    /// This part.
    Share(f64),
}

/// Without the option, for processes that run already.
const DEFAULT: f64 = 0.02;

/// Understands the option's value.
pub fn parse(text: &str) -> Result<MaxOverhead, String> {
    if text == "none" {
        return Ok(MaxOverhead::Any);
    }
    let percent = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.1..=50.0).contains(&percent) => Ok(MaxOverhead::Share(percent / 100.0)),
        _ => Err("none, or a share of the process's CPU time from 0.1% to 50%, such as 2%".to_owned()),
    }
}

/// What is meant by the option, or without it. Where `whole`, every allocation is wanted: a program that tracer starts is
/// traced from its first to its last, `--interval 1` takes a sample of each, `--live` follows blocks wherever they go. Else a
/// running process is not to be slowed down.
pub fn resolve(given: Option<MaxOverhead>, whole: bool) -> Option<f64> {
    match given {
        Some(MaxOverhead::Any) => None,
        Some(MaxOverhead::Share(share)) => Some(share),
        None if whole => None,
        None => Some(DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_say_what_would_be_right() {
        assert_eq!(parse("none"), Ok(MaxOverhead::Any));
        assert_eq!(parse("2%"), Ok(MaxOverhead::Share(0.02)));
        assert_eq!(parse("0.5 %"), Ok(MaxOverhead::Share(0.005)));
        for wrong in ["2", "0%", "0.01%", "60%", "-1%", "NaN%", "all", "", "%"] {
            assert!(parse(wrong).unwrap_err().contains("2%"), "{wrong}");
        }
    }

    #[test]
    fn a_budget_is_kept_where_a_process_runs_already() {
        assert_eq!(resolve(None, false), Some(DEFAULT));
        assert_eq!(resolve(None, true), None);
        assert_eq!(resolve(Some(MaxOverhead::Any), false), None);
        assert_eq!(resolve(Some(MaxOverhead::Share(0.1)), true), Some(0.1));
    }
}
