//! Folded stacks: `root;caller;function bytes`, nanoseconds in place of bytes for CPU time, a line for each stack, in alphabetical order.
//!
//! Inlined calls end in `_[i]`; `;` in a name is written as `:`. Bytes are whole numbers; what rounding leaves over is
//! carried to the next line, so that the sum is the total.

use std::io::{self, Write};

use crate::profile::Profile;

/// Writes folded stacks.
pub fn write(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    // The open stack, and how long it is at each depth.
    let (mut stack, mut lengths) = (String::new(), vec![0]);
    let (mut exact, mut written) = (0.0, 0);
    for node in &profile.tree.nodes {
        if let Some(frame) = node.frame {
            lengths.truncate(node.depth as usize);
            stack.truncate(lengths.last().copied().unwrap_or_default());
            if !stack.is_empty() {
                stack.push(';');
            }
            stack.push_str(&profile.names.folded(frame));
            lengths.push(stack.len());
        }
        exact += node.own_bytes;
        let bytes = (exact.round() as u64).saturating_sub(written);
        if bytes > 0 {
            writeln!(out, "{stack} {bytes}")?;
            written += bytes;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::program;

    #[test]
    fn lines_add_up_to_the_exact_total() {
        let profile = Profile::new(&program::recording());
        let mut out = Vec::new();
        write(&profile, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let sum: u64 = text.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        assert_eq!(sum, profile.exact().unwrap().bytes);
        let stacks: Vec<&str> = text.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert!(stacks.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(stacks.iter().any(|stack| stack.contains("game::ai::plan;game::ai::push_[i];malloc")));
        assert!(stacks.iter().any(|stack| stack.contains("load::<[game::Tile: 64]>;calloc")));
    }
}
