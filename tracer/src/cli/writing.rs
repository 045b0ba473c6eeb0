//! What a recording is written to, and what is said on the terminal.

use std::path::Path;

use crate::output::{self, Destination, Format};

/// Where to, and how loudly.
#[derive(Debug, clap::Args)]
pub struct Writing {
    /// A file to write; its ending names the format: .svg (flame graph), .pb.gz (the recording, for `tracer render` and
    /// pprof), .folded or .json. `-` writes folded stacks to stdout. May be given more than once. Default: an SVG named by
    /// what is recorded, such as tracer-PID.svg, and the recording beside it
    #[arg(short, long, value_name = "FILE", value_parser = super::destination())]
    pub output: Vec<Destination>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Show neither progress nor summary
    #[arg(short, long)]
    pub quiet: bool,
    /// Say what each stage cost: time and memory
    #[arg(short, long)]
    pub verbose: bool,
}

/// What `-o` asks for. A picture alone is accompanied by the recording it was made from.
pub fn destinations(label: &str, given: Vec<Destination>) -> Result<Vec<Destination>, output::destination::Error> {
    let mut outputs = given;
    if outputs.is_empty() {
        outputs.push(Destination::parse(Path::new(&format!("tracer-{label}.svg")))?);
    }
    if let [Destination::File(path, Format::Svg)] = outputs.as_slice() {
        let beside = path.with_extension("pb.gz");
        outputs.push(Destination::parse(&beside)?);
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_alone_brings_its_recording() {
        let paths = |given: &[&str]| -> Vec<String> {
            let given = given.iter().map(|path| Destination::parse(Path::new(path)).unwrap()).collect();
            let destinations = destinations("7", given).unwrap();
            destinations.iter().filter_map(|d| Some(d.path()?.display().to_string())).collect()
        };
        assert_eq!(paths(&[]), ["tracer-7.svg", "tracer-7.pb.gz"]);
        assert_eq!(paths(&["a/x.svg"]), ["a/x.svg", "a/x.pb.gz"]);
        assert_eq!(paths(&["x.folded"]), ["x.folded"]);
        assert_eq!(paths(&["x.svg", "y.json"]), ["x.svg", "y.json"]);
        assert_eq!(paths(&["-"]), Vec::<String>::new());
    }
}
