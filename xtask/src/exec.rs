//! Running other programs. A failure always carries the whole command line, so that it can be run again by hand.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Runs `command` with its output shown.
///
/// # Errors
/// When it cannot be started, or does not exit with success.
pub fn exec(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Runs `command` and returns what it wrote to standard output, without the last line end.
///
/// # Errors
/// As [`exec`], and when the output is not UTF-8.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    let text =
        String::from_utf8(output.stdout).with_context(|| format!("{command:?} wrote something else than text"))?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_the_whole_command_line() {
        let error = exec(Command::new("sh").args(["-c", "exit 3"]).env("LEVEL", "7")).unwrap_err().to_string();
        assert!(error.contains(r#"LEVEL="7" "sh" "-c" "exit 3""#), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn missing_program_is_named() {
        let error = exec(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(error.contains("no-such-program-here"), "{error}");
    }

    #[test]
    fn capture_drops_the_line_end_only() {
        assert_eq!(capture(Command::new("printf").arg(" a\nb\n")).unwrap(), " a\nb");
    }
}
