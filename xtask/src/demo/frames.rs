//! Frames of functions, in folded stacks and in the picture.

use anyhow::Context as _;

/// Bytes of the folded stacks (`frame;frame bytes`) that have a frame of the function `path`.
///
/// # Errors
/// When these are no folded stacks.
pub fn bytes_in(folded: &str, path: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for line in folded.lines() {
        let (stack, bytes) = parts(line)?;
        if stack.split(';').any(|frame| is_function(frame, path)) {
            sum += bytes;
        }
    }
    Ok(sum)
}

/// The outermost frames of folded stacks that are no start of a thread, and do not say that the stack is truncated.
///
/// # Errors
/// When these are no folded stacks.
pub fn false_roots(folded: &str) -> anyhow::Result<Vec<&str>> {
    let mut found = Vec::new();
    for line in folded.lines() {
        let root = parts(line)?.0.split(';').next().unwrap_or_default();
        // The first thread starts at the program's entry, others where the C library made them.
        let is_start = ["_start", "clone3", "__clone3", "clone", "__clone"].contains(&root);
        if !is_start && !root.starts_with("[truncated") && !found.contains(&root) {
            found.push(root);
        }
    }
    Ok(found)
}

fn parts(line: &str) -> anyhow::Result<(&str, u64)> {
    let (stack, bytes) = line.rsplit_once(' ').with_context(|| format!("no folded stack: {line:?}"))?;
    Ok((stack, bytes.parse().with_context(|| format!("no number of bytes: {line:?}"))?))
}

/// Whether a flame graph has a frame of the function `path` that stands for something: by the titles of its frames,
/// `NAME (AMOUNT…)`. Names alone are not looked for: the picture's script has words of its own.
pub fn is_drawn(svg: &str, path: &str) -> bool {
    let titles = svg.split("<title>").skip(1).filter_map(|rest| rest.split_once("</title>"));
    let mut frames = titles.filter_map(|(title, _)| title.rsplit_once(" ("));
    frames.any(|(name, amount)| is_function(&unescaped(name), path) && is_some(amount))
}

/// Whether an amount such as `5.18 [2.13 to 121.10] KiB, 0.04 %` is more than nothing.
fn is_some(amount: &str) -> bool {
    let number = amount.split(' ').next().unwrap_or_default().replace(',', "");
    number.parse().is_ok_and(|number: f64| number > 0.0)
}

fn unescaped(name: &str) -> String {
    name.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Whether a frame such as `game::play_game::{{closure}}` is of the function `path`: one of its path segments, or some
/// that follow each other, all without generic arguments.
fn is_function(frame: &str, path: &str) -> bool {
    let segments: Vec<&str> = frame.split("::").map(plain).collect();
    let wanted: Vec<&str> = path.split("::").collect();
    segments.windows(wanted.len()).any(|some| some == wanted)
}

/// `Vec` of `<Vec<T> as Extend<T>>`: what comes before generic arguments and the like.
fn plain(segment: &str) -> &str {
    segment.trim_start_matches('<').split(['<', '>', '(', ' ', '+']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDED: &str = "_start;game::play_game::{{closure}};alloc::vec::Vec<T>::push 96\n\
                          _start;game::play_game::{{closure}};Game::update 4\nclone3;log::updates 7\n";

    #[test]
    fn bytes_of_a_function_are_those_below_it() {
        assert_eq!(bytes_in(FOLDED, "play_game").unwrap(), 100);
        assert_eq!(bytes_in(FOLDED, "update").unwrap(), 4);
        assert_eq!(bytes_in(FOLDED, "tick_runner").unwrap(), 0);
    }

    #[test]
    fn what_is_no_folded_stack_is_an_error() {
        assert!(bytes_in("main;f many", "f").unwrap_err().to_string().contains("many"));
        assert!(false_roots("main").unwrap_err().to_string().contains("main"));
    }

    #[test]
    fn roots_that_start_no_thread_are_told() {
        assert_eq!(false_roots(FOLDED).unwrap(), <[&str; 0]>::default());
        let more = format!("{FOLDED}[truncated: no mapping];f 1\nmalloc 2\ntokio::poll;_start 3\nmalloc 4\n");
        assert_eq!(false_roots(&more).unwrap(), ["malloc", "tokio::poll"]);
    }

    #[test]
    fn function_is_a_stretch_of_the_path() {
        assert!(is_function("stats::DataWriter::write::{{closure}}", "DataWriter::write"));
        assert!(is_function("<tungstenite::ServerHandshake<S,C> as tungstenite::Role>::done", "ServerHandshake"));
        assert!(!is_function("core::fmt::write", "DataWriter::write"));
        assert!(!is_function("stats::DataWriter::flush::write", "DataWriter::write"));
        assert!(!is_function("log::updates", "update"));
    }

    #[test]
    fn only_frames_with_an_amount_are_drawn() {
        let frame = |name: &str, amount: &str| format!("<g><title>{name} ({amount}, 0.07 %, region x)</title></g>");
        let script = "<script>function update(x) { update(x) }</script>";
        assert!(!is_drawn(script, "update"));
        assert!(is_drawn(&format!("{script}{}", frame("Game::update", "5.18 [2.13 to 121.10] KiB")), "update"));
        assert!(is_drawn(&frame("&lt;Game&lt;T&gt; as Play&gt;::update", "1,234 ± 8 B"), "update"));
        assert!(!is_drawn(&frame("Game::update", "0 B"), "update"));
        assert!(!is_drawn(&frame("Game::updates", "5 B"), "update"));
    }
}
