//! What `init.sh` must have told: one check for each thing that it tries.

use anyhow::{Context as _, bail, ensure};

use super::report::{Report, by_site, said, same, truth};

/// What tracer is to do on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It refuses everything, and says what it needs.
    Refusal,
    /// It records, without windows, and refuses `--live`.
    NoLive,
    /// Everything.
    All,
}

/// How a check went, when it went as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It is refused, and the reason given is the right one.
    Refused,
}

type Check = fn(&Report, &'static str) -> anyhow::Result<()>;

/// Something that was tried.
pub struct Tried {
    /// The section of the console, and the heading in the table.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    needs_live: bool,
    check: Check,
}

const fn always(name: &'static str, about: &'static str, check: Check) -> Tried {
    Tried { name, about, needs_live: false, check }
}

const fn with_live(name: &'static str, about: &'static str, check: Check) -> Tried {
    Tried { name, about, needs_live: true, check }
}

/// Everything, in the order in which it is tried.
pub const TRIED: &[Tried] = &[
    always("doctor", "`tracer doctor` finds what it needs", |report, name| report.ended(name, 0).map(drop)),
    always(
        "exact",
        "with every call sampled, calls and bytes of every function are those that the program counted",
        exact,
    ),
    always("default", "a recording with the default budget loses nothing", default),
    always(
        "windows",
        "a loop that allocates, within the default budget, in windows where the kernel has multi links",
        windows,
    ),
    with_live("live", "with every block followed, those in use at the end are those that the program kept", live),
    with_live("filtered", "the same of a program under a seccomp filter, which survives the return probes", live),
    always("cpu", "`tracer cpu` loses nothing", cpu),
    always("started", "a program that tracer starts", started),
    always(
        "killed",
        "tracer killed by SIGKILL leaves no BPF program, no link and no probe, and the program goes on",
        killed,
    ),
    with_live("killed-live", "the same with `--live`", killed),
];

/// How everything went on a kernel, in the order of [`TRIED`].
pub fn check(report: &Report, expected: Expected) -> Vec<anyhow::Result<Verdict>> {
    let verdict = |tried: &Tried| match expected {
        Expected::Refusal => refused(report, tried.name, "tracer needs Linux 5.17 or later; this is Linux "),
        Expected::NoLive if tried.needs_live => {
            refused(report, tried.name, "uprobe multi links need Linux 6.6 or later; this is Linux ")
        }
        Expected::NoLive | Expected::All => (tried.check)(report, tried.name).map(|()| Verdict::Works),
    };
    let ended = || report.ended("end", 0).map(drop).context("the script did not reach its end");
    let verdicts = TRIED.iter().map(|tried| verdict(tried).with_context(|| tried.name.to_owned()));
    verdicts.chain(ended().err().map(Err)).collect()
}

fn refused(report: &Report, name: &str, reason: &str) -> anyhow::Result<Verdict> {
    let text = report.ended(name, 1)?;
    ensure!(text.contains(reason), "does not say why: {text}");
    Ok(Verdict::Refused)
}

fn exact(report: &Report, name: &str) -> anyhow::Result<()> {
    let text = report.ended(name, 0)?;
    let calls = said(text, "calls").next().context("the program said nothing")?;
    let calls: u64 = calls.parse().with_context(|| format!("the program said {calls}"))?;
    let counted = format!(" in {} calls, ", grouped(calls));
    ensure!(text.contains(&counted) && text.contains("(exact)"), "not{counted}but:\n{text}");
    ensure!(text.contains("100 % complete"), "{text}");
    lossless(text)?;
    survived(text)?;
    same(&truth(text, "made")?, &by_site(report.ended("exact-stacks", 0)?)?)
}

fn default(report: &Report, name: &str) -> anyhow::Result<()> {
    let text = report.ended(name, 0)?;
    // The program may have run between two windows.
    ensure!(text.contains("stacks    "), "{text}");
    lossless(text)?;
    survived(text)
}

fn windows(report: &Report, name: &str) -> anyhow::Result<()> {
    let text = report.ended(name, 0)?;
    ensure!(text.contains("site_loop"), "the loop is not seen:\n{text}");
    let has_multi_links = !report.ended("doctor", 0)?.contains("no  uprobe multi links");
    let is_windowed = said(text, "counted").any(|how| how.contains(" windows, "));
    ensure!(is_windowed == has_multi_links, "windows: {is_windowed}, multi links: {has_multi_links}:\n{text}");
    lossless(text)?;
    survived(text)
}

fn live(report: &Report, name: &str) -> anyhow::Result<()> {
    let text = report.ended(name, 0)?;
    lossless(text)?;
    survived(text)?;
    let stacks = report.ended(&format!("{name}-stacks"), 0)?;
    same(&truth(text, "held")?, &by_site(stacks)?)
}

fn cpu(report: &Report, name: &str) -> anyhow::Result<()> {
    let text = report.ended(name, 0)?;
    ensure!(text.contains("on CPU"), "{text}");
    lossless(text)?;
    survived(text)
}

fn started(report: &Report, name: &str) -> anyhow::Result<()> {
    let text = report.ended(name, 0)?;
    ensure!(text.contains("done") && text.contains("site_realloc"), "{text}");
    lossless(text)
}

/// What is left of tracer, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    programs: u32,
    links: u32,
    /// How often the program has been round.
    rounds: u64,
    /// Functions of the program whose code has probes in it.
    trapped: u32,
}

impl Left {
    /// `PROGRAMS LINKS, rounds ROUNDS TRAPPED`
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split([',', ' ']).filter(|word| !word.is_empty() && *word != "rounds").collect();
        let [programs, links, rounds, trapped] = words[..] else { return None };
        Some(Self {
            programs: programs.parse().ok()?,
            links: links.parse().ok()?,
            rounds: rounds.parse().ok()?,
            trapped: trapped.parse().ok()?,
        })
    }
}

fn killed(report: &Report, name: &str) -> anyhow::Result<()> {
    // By signal 9.
    let text = report.ended(name, 137)?;
    let left = |word| {
        let lines = said(text, word).map(|line| Left::parse(line).with_context(|| format!("{word} {line}")));
        lines.collect::<anyhow::Result<Vec<_>>>()
    };
    let before = said(text, "before").next().context("nothing is told of the time before")?;
    let (probed, after) = (left("probed")?, left("after")?);
    let ([probed], [first, .., last]) = (&probed[..], &after[..]) else { bail!("the program ended early:\n{text}") };
    ensure!(probed.trapped > 0 && probed.programs > 0, "there were no probes:\n{text}");
    let is_gone = format!("{} {}", last.programs, last.links) == before && last.trapped == 0;
    ensure!(is_gone && !text.contains("tracer is left"), "something is left:\n{text}");
    ensure!(last.rounds > first.rounds, "the program does not go on:\n{text}");
    survived(text)
}

fn lossless(text: &str) -> anyhow::Result<()> {
    ensure!(text.contains("lost      nothing"), "something was lost:\n{text}");
    Ok(())
}

/// What was traced ended by itself, and well.
fn survived(text: &str) -> anyhow::Result<()> {
    let code = said(text, "program ended").next().context("the program did not end")?;
    ensure!(code == "0", "the program ended with {code}:\n{text}");
    Ok(())
}

/// As people read it: `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_fine(console: &str, expected: Expected) -> bool {
        check(&Report::parse(console), expected).iter().all(Result::is_ok)
    }

    #[test]
    fn a_refusal_must_say_why() {
        let refused = |reason: &str, end: &str| {
            let told = |tried: &Tried| format!("@@ {}\n{reason}\n@@ status 1\n", tried.name);
            is_fine(&(TRIED.iter().map(told).collect::<String>() + end), Expected::Refusal)
        };
        let reason = "tracer needs Linux 5.17 or later; this is Linux 5.10.0";
        assert!(refused(reason, "@@ end\n@@ status 0\n"));
        assert!(!refused("Invalid argument", "@@ end\n@@ status 0\n"));
        assert!(!refused(reason, "@@ end\n"));
        assert!(!is_fine("@@ doctor\n", Expected::Refusal));
    }

    #[test]
    fn what_is_left_behind_is_noticed() {
        let is_clean = |after: &str, status: i32| {
            let told = format!(
                "@@ killed\nbefore 1 0\nprobed 3 4, rounds 5 2\nafter 3 4, rounds 7 2\n{after}program ended 0\n@@ status {status}\n"
            );
            killed(&Report::parse(&told), "killed").is_ok()
        };
        assert!(is_clean("after 1 0, rounds 8 0\n", 137));
        assert!(!is_clean("after 1 0, rounds 8 0\n", 0), "not by the signal");
        assert!(!is_clean("after 1 0, rounds 7 0\n", 137), "the program stands");
        assert!(!is_clean("after 1 0, rounds 8 1\n", 137), "a probe");
        assert!(!is_clean("after 2 0, rounds 8 0\n", 137), "a BPF program");
        assert!(!is_clean("after 1 0, rounds 8 0\ntracer is left\n", 137), "tracer itself");
        assert!(!is_clean("", 137), "told once only");
        assert!(!is_clean("after 1 0, \n", 137), "the program is dead");
    }

    #[test]
    fn a_program_that_does_not_survive_is_noticed() {
        assert!(survived("program ended 0\n").is_ok());
        assert!(survived("program ended 159\n").is_err());
        assert!(survived("done\n").is_err());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([7, 999, 1000, 1_234_567].map(grouped), ["7", "999", "1,000", "1,234,567"]);
    }
}
