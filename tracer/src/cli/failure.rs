//! An error and its causes, for people.

/// Lines of a text that are kept at its end, where a log of the kernel's verifier has the reason.
const LAST_LINES: usize = 3;

/// `error: cause: its cause`, on one line. A cause that the error before it has quoted already is left out.
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
    one_line(&said)
}

/// A text on one line. Of many lines the first and the last are kept.
pub fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.split_first() {
        Some((first, rest)) if rest.len() > LAST_LINES => {
            format!("{first}; …; {}", rest[rest.len() - LAST_LINES..].join("; "))
        }
        _ => lines.join("; "),
    }
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

    #[test]
    fn errors_are_one_line() {
        let error =
            anyhow!("refused. Verifier output: 0: r1 = 0\n1: r2 = 0\n\n2: r3 = 0\n3: exit\nno r0\n").context("x");
        assert_eq!(describe(&error), "x: refused. Verifier output: 0: r1 = 0; …; 2: r3 = 0; 3: exit; no r0");
        for (text, line) in [("", ""), ("a", "a"), ("a\n", "a"), ("a\nb\r\n c\nd", "a; b; c; d")] {
            assert_eq!(one_line(text), line);
        }
    }
}
