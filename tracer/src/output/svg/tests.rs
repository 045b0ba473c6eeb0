use super::*;
use crate::synthetic::{Builder, Random, program, random};

fn drawn(recording: &Recording) -> String {
    let mut out = Vec::new();
    write(recording, &Profile::new(recording), Options { script: false }, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Tooltips with the depth and width of the rectangle that they are drawn with.
fn frames(svg: &str) -> Vec<(String, i64, u64)> {
    let attribute = |text: &str, name: &str| -> String {
        text.split_once(&format!(" {name}=\"")).unwrap().1.split_once('"').unwrap().0.to_owned()
    };
    let mut frames: Vec<(String, i64, u64)> = Vec::new();
    for piece in svg.split("<title>").skip(1) {
        let (title, rest) = piece.split_once("</title>").unwrap();
        let y: f64 = attribute(rest, "y").parse().unwrap();
        frames.push((title.to_owned(), y as i64, attribute(rest, "fg:w").parse().unwrap()));
    }
    let lowest = frames.iter().map(|(_, y, _)| *y).max().unwrap();
    frames.iter().map(|(title, y, width)| (title.clone(), (lowest - y) / 16, *width)).collect()
}

fn with_stacks(stacks: impl IntoIterator<Item = (String, u64)>) -> Recording {
    let mut builder = Builder::default();
    for (text, size) in stacks {
        let stack = builder.stack(&text);
        builder.recording.samples.push(crate::recording::Sample {
            stack,
            process: 1,
            thread: 1,
            time_ns: 0,
            size,
            interval: 0,
            counter: 0,
            ..Default::default()
        });
    }
    builder.recording
}

/// Every frame has the tooltip of its own node: the name, depth and bytes are those of the rectangle.
#[test]
fn every_frame_has_its_own_tooltip() {
    for seed in 0..2 {
        let recording = random::recording(&mut Random::new(seed), 1500, 20);
        let profile = Profile::new(&recording);
        let frames = frames(&drawn(&recording));
        let nodes = profile.tree.nodes.iter();
        let expected: std::collections::HashSet<(String, i64, u64)> = nodes
            .map(|node| {
                let name = node.frame.map_or("all".into(), |f| tooltips::escaped(profile.names.text(f.name())));
                (name, i64::from(node.depth), (node.total.bytes.value / 4096.0).round() as u64)
            })
            .collect();
        assert!(frames.len() > 1000, "{}", frames.len());
        for (title, depth, width) in frames {
            let name = title.rsplit_once(" (").unwrap().0.trim_end_matches(" [inlined]").to_owned();
            // Widths differ from the node's by rounding, and by less than a page.
            let page = |w: u64| (w as f64 / 4096.0).round() as u64;
            let near = |w: u64| expected.contains(&(name.clone(), depth, w));
            assert!(
                near(page(width)) || near(page(width + 1)) || near(page(width.saturating_sub(1))),
                "{title} {depth} {width}"
            );
        }
    }
}

#[test]
fn the_same_function_in_two_places_has_two_tooltips() {
    let svg = drawn(&with_stacks([("a > f > malloc".into(), 3000), ("b > f > malloc".into(), 1000)]));
    let of_f: Vec<_> = frames(&svg).into_iter().filter(|(title, ..)| title.starts_with("f (")).collect();
    assert_eq!(of_f.len(), 2);
    assert!(of_f[0].0.starts_with("f (2.93 KiB, 75.0 %, 1 sample, 1 objects"), "{}", of_f[0].0);
    assert!(of_f[1].0.starts_with("f (1,000 B, 25.0 %"), "{}", of_f[1].0);
}

/// Names that mean something to inferno: separators, counts, comments, annotations; and names that only differ in
/// these.
#[test]
fn hostile_names_are_just_names() {
    let names = [
        "# comment",
        "f 12",
        "f 12 13",
        "f;g",
        "f:g",
        "f g",
        "f\u{a0}g",
        "f_[i]",
        "f",
        "<title>",
        "</title>",
        "&amp;",
        "\"'",
        "\u{1b}[0m",
        "\u{0}",
        "\u{ffff}",
        " ",
        "",
        "--",
        "-",
        "[other]",
        "[other]\u{2063}",
        "]]>",
        "all",
        "_[k]",
        "x (1 bytes, 2%)",
        "é\u{202e}abc",
        "f_[i]_[i]",
    ];
    let long: Vec<String> = (0..3).map(|i| format!("{}{i}", "long".repeat(200))).collect();
    let names = names.into_iter().chain(long.iter().map(String::as_str));
    let mut recording = with_stacks(names.flat_map(|name| {
        [
            (format!("{name} > leaf > malloc"), 1000),
            (format!("main > caller + {name} > malloc"), 1000),
            (format!("main > {name}"), 1000),
        ]
    }));
    recording.about.process.name = "evil\u{1b}<&>--".into();
    let svg = drawn(&recording);
    assert!(!svg.contains(|c: char| c.is_control() && c != '\n'));
    let shown = frames(&svg).into_iter().filter(|(title, ..)| title.contains("long")).count();
    assert_eq!(shown, 9);
}

#[test]
fn what_is_too_narrow_is_drawn_together() {
    let mut stacks = vec![("main > malloc".to_owned(), 100_000_000)];
    stacks.extend((0..2000).map(|i| (format!("thread_{i} > malloc"), 100)));
    stacks.extend((0..2000).map(|i| (format!("main > f_{i} > malloc"), 100)));
    let svg = drawn(&with_stacks(stacks));
    let frames = frames(&svg);
    assert_eq!(frames.len(), 4, "{frames:?}");
    let other: Vec<&str> =
        frames.iter().map(|(t, ..)| &t[..]).filter(|t| t.starts_with("[other] (195 KiB, 0.20 %")).collect();
    assert_eq!(other.len(), 1, "{frames:?}");
}

#[test]
fn deep_stacks_are_cut() {
    let path: Vec<String> = (0..6000).map(|i| format!("f{}", i % 7)).collect();
    let frames = frames(&drawn(&with_stacks([(path.join(" > "), 1000)])));
    assert_eq!(frames.len(), 4097);
}

#[test]
fn numbers_too_large_for_a_picture_are_scaled() {
    let svg = drawn(&with_stacks([("a > malloc".into(), u64::MAX), ("b > malloc".into(), u64::MAX)]));
    let frames = frames(&svg);
    assert_eq!(frames.len(), 5);
    assert!(frames.iter().any(|(title, ..)| title.starts_with("a (16,384 PiB, 50.0 %")), "{frames:?}");
}

#[test]
fn nothing_allocated_is_a_picture_too() {
    let mut recording = Recording::default();
    recording.about.process.name = "idle<&>".into();
    let svg = drawn(&recording);
    assert!(svg.contains("idle&lt;&amp;&gt; allocated nothing"), "{svg}");
}

#[test]
fn headings_say_what_is_exact_and_what_was_lost() {
    let recording = program::recording();
    let svg = drawn(&recording);
    assert!(svg.contains("Allocated bytes: game-server (pid 4242), 10.0 s"));
    assert!(svg.contains("calls (exact) | ") && svg.contains("samples, 1 per 64 KiB"), "{svg}");
    assert!(svg.contains("3 samples lost"));
    assert!(svg.contains("all (") && svg.contains("exact, 100 %"));
}

fn drawn_in_regions(recording: &Recording, rules: &[&str], script: bool) -> String {
    let mut parsed = crate::profile::Rules::default();
    for rule in rules {
        parsed.add_option(rule).unwrap();
    }
    let mut out = Vec::new();
    write(
        recording,
        &Profile::with_options(recording, &crate::profile::Options { rules: parsed.clone(), ..Default::default() }),
        Options { script },
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn frames_have_the_colour_of_their_region_and_the_legend_explains_it() {
    let recording = with_stacks([("main > a::f > malloc".into(), 3000), ("main > b::f > malloc".into(), 1000)]);
    let svg = drawn_in_regions(&recording, &["<first>=^a::"], false);
    let color_of = |name: &str| {
        let frame = svg.split("<title>").find(|piece| piece.starts_with(name)).unwrap();
        let (_, color) = frame.split_once("fill=\"rgb(").unwrap();
        let (color, _) = color.split_once(')').unwrap();
        color.split(',').map(|part| part.parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let near =
        |color: Vec<f64>, expected: [f64; 3]| color.iter().zip(expected).all(|(a, b)| *a <= b && *a > 0.9 * b - 1.0);
    assert!(near(color_of("a::f"), [128.0, 177.0, 211.0]), "{svg}");
    assert!(near(color_of("b::f"), [217.0; 3]) && near(color_of("main"), [244.0, 244.0, 238.0]), "{svg}");
    assert!(
        svg.contains("1 objects, region &lt;first&gt;)") || svg.contains("objects, region &lt;first&gt;)"),
        "{svg}"
    );
    let legend = svg.split_once("id=\"frames\"").unwrap().1;
    assert!(legend.contains(">&lt;first&gt;: 2.93 KiB, 75.0 %<"), "{svg}");
    assert!(legend.contains(">other: 1,000 B, 25.0 %<"), "{svg}");
    // Two lines more than the title's, and room below.
    let plain = drawn(&recording);
    let height = |svg: &str| svg.split(" height=\"").nth(1).unwrap().split('"').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(height(&svg), height(&plain) + 3 * 18);
    assert!(svg.contains(&format!("viewBox=\"0 0 1200 {}\"", height(&svg))));
}

/// The parts of a picture come in pieces of any size.
#[test]
fn a_large_picture_in_regions_is_whole() {
    let recording = random::recording(&mut Random::new(3), 1500, 20);
    let rules: Vec<String> = (0..30).map(|i| format!("region {i}=module_{i}::")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    for script in [false, true] {
        let svg = drawn_in_regions(&recording, &rules, script);
        let plain = drawn(&recording);
        assert_eq!(svg.matches("<title>").count(), plain.matches("<title>").count());
        assert_eq!(svg.matches(" fill=\"rgb(").count(), plain.matches(" fill=\"rgb(").count() + 31);
        assert!(svg.ends_with("</svg>"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }
}

/// Above the picture, where everybody looks, even where all numbers are as long as they get.
#[test]
fn losses_are_in_the_subtitle() {
    let mut exact = program::recording();
    let mut live = program::live();
    let (mut windows, mut bounds) = (program::in_windows(1), program::in_windows(4));
    for recording in [&mut exact, &mut live, &mut windows, &mut bounds] {
        recording.about.losses.ring_full = 12_345_678_901;
        recording.samples = recording.samples.iter().cycle().take(100_000).cloned().collect();
        recording.samples[0].interval = (1 << 10) - 1;
        recording.samples[1].interval = (1 << 30) - 1;
        let profile = Profile::new(recording);
        let facts = heading::lines(heading::facts(recording, &profile));
        assert!(facts[0].ends_with(" | 12,345,678,901 samples lost"), "{facts:?}");
    }
}
