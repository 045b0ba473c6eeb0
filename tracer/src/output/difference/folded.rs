//! Folded stacks with two numbers, `root;caller;function before after`, as differential flame graphs of other tools read
//! them: whole bytes per second or per unit of work, or millionths of everything.

use std::io::{self, Write};

use super::Per;
use crate::profile::difference::Difference;

const MILLION: f64 = 1e6;

/// Writes folded stacks. What rounding leaves over is carried to the next line.
pub fn write(difference: &Difference, per: Per, out: &mut dyn Write) -> io::Result<()> {
    let (mut stack, mut lengths) = (String::new(), vec![0]);
    let scale = if per == Per::All { MILLION } else { 1.0 };
    let (mut exact, mut written) = ([0.0; 2], [0u64; 2]);
    for (node, own) in difference.tree.nodes.iter().zip(&difference.own) {
        if let Some(frame) = node.frame {
            lengths.truncate(node.depth as usize);
            stack.truncate(lengths.last().copied().unwrap_or_default());
            if !stack.is_empty() {
                stack.push(';');
            }
            stack.push_str(&difference.names.folded(frame));
            lengths.push(stack.len());
        }
        let mut bytes = [0; 2];
        for half in 0..2 {
            exact[half] += scale * own[half];
            bytes[half] = (exact[half].round() as u64).saturating_sub(written[half]);
            written[half] += bytes[half];
        }
        if bytes != [0, 0] {
            writeln!(out, "{stack} {} {}", bytes[0], bytes[1])?;
        }
    }
    Ok(())
}
