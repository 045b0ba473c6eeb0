//! An error and its causes, for people.

/// `error: cause: its cause`. A cause that the error before it has quoted already is left out.
pub fn describe(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if said.is_empty() {
            said = text;
        } else if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_quoted_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot open x: no such file").context("reading");
        assert_eq!(describe(&error), "reading: cannot open x: no such file");
        let error = anyhow!("no such file").context("cannot open x: no such file; name another");
        assert_eq!(describe(&error), "cannot open x: no such file; name another");
    }
}
