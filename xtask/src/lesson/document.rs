//! docs/lesson.md: prose by hand, and between marks the outputs, which the lesson puts there.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

const BEGIN: &str = "<!-- begin ";
const MARK_END: &str = " -->\n";

/// Texts by the name of the mark that they belong to.
pub type Blocks = BTreeMap<&'static str, String>;

/// The document with every block filled anew.
///
/// # Errors
/// When marks and blocks are not the same.
pub fn filled(document: &str, blocks: &Blocks) -> anyhow::Result<String> {
    let mut left: Vec<&str> = blocks.keys().copied().collect();
    let mut out = String::new();
    let mut rest = document;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(MARK_END).context("a mark does not end")?;
        let end = format!("<!-- end {name} -->");
        let (_, after) = after.split_once(&end).with_context(|| format!("the document lacks {end}"))?;
        let text = blocks.get(name).with_context(|| format!("the lesson has nothing for the mark {name:?}"))?;
        left.retain(|block| *block != name);
        for part in [before, BEGIN, name, MARK_END, "\n", text.trim(), "\n\n", &end] {
            out.push_str(part);
        }
        rest = after;
    }
    out.push_str(rest);
    if !left.is_empty() {
        bail!("the document has no mark for {}", left.join(", "));
    }
    Ok(out)
}

/// Output as a block of code.
pub fn fenced(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```", text.trim_matches('\n'))
}

/// A table.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines = vec![format!("| {} |", head.join(" | ")), format!("|{}", "---|".repeat(head.len()))];
    lines.extend(rows.iter().map(|row| format!("| {} |", row.join(" | "))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Head\n<!-- begin a -->\nold\n<!-- end a -->\nWords.\n<!-- begin b -->\n<!-- end b -->\n";

    #[test]
    fn blocks_are_filled_and_the_prose_stays() {
        let blocks = Blocks::from([("a", "1\n\n2\n".to_owned()), ("b", "3".to_owned())]);
        let once = filled(DOCUMENT, &blocks).unwrap();
        let expected =
            "# Head\n<!-- begin a -->\n\n1\n\n2\n\n<!-- end a -->\nWords.\n<!-- begin b -->\n\n3\n\n<!-- end b -->\n";
        assert_eq!(once, expected);
        assert_eq!(filled(&once, &blocks).unwrap(), expected);
    }

    #[test]
    fn marks_and_blocks_must_be_the_same() {
        let error = |blocks| filled(DOCUMENT, &blocks).unwrap_err().to_string();
        assert!(error(Blocks::from([("a", String::new())])).contains("\"b\""));
        let more = Blocks::from([("a", String::new()), ("b", String::new()), ("c", String::new())]);
        assert!(error(more).contains("no mark for c"));
        let error = filled("<!-- begin a -->\n", &Blocks::from([("a", String::new())])).unwrap_err().to_string();
        assert!(error.contains("lacks <!-- end a -->"), "{error}");
    }
}
