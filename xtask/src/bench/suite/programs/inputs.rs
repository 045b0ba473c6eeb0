//! Real programs and what they work on, made so that a run takes about the wanted time.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::bail;

use crate::{bench::suite::target::is_installed, exec};

/// A program with its arguments.
pub struct Program {
    /// As shown.
    pub name: &'static str,
    /// What is run.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A program for a given size of its input: twice the size takes about twice the time.
pub struct Recipe {
    /// As shown.
    pub name: &'static str,
    /// Writes the input into a folder; returns what is to be run.
    pub make: fn(u32, &Path) -> anyhow::Result<Program>,
    /// A size that takes some tenths of a second.
    pub small: u32,
}

/// All of them.
pub const RECIPES: [Recipe; 5] = [
    Recipe { name: "jq", make: jq, small: 10_000 },
    Recipe { name: "python json", make: python, small: 20 },
    Recipe { name: "sqlite3", make: sqlite, small: 30_000 },
    Recipe { name: "gcc", make: gcc, small: 100 },
    Recipe { name: "node", make: node, small: 20 },
];

/// A line of JSON: so many players.
pub fn records(size: u32) -> String {
    let mut text = String::from("[");
    for i in 0..size {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}{{\"id\":{i},\"name\":\"player {}\",\"score\":{}.5,\"tags\":[\"t{}\",\"u{}\",\"v\"],\"at\":{{\"x\":{},\"y\":{}}}}}",
            i * 7919 % 10_007,
            i % 997,
            i % 13,
            i % 7,
            i % 640,
            i % 480
        );
    }
    text + "]\n"
}

/// What jq is to do with players; the answer is one line.
pub const FILTER: &str = "map(select(.score > 100) | {id, name: (.name | ascii_upcase), near: (.at.x + .at.y), \
                          tags: (.tags | sort)}) | group_by(.near % 10) | map(length)\n";

fn installed(program: &str) -> anyhow::Result<PathBuf> {
    if !is_installed(program) {
        bail!("{program} is not installed");
    }
    Ok(program.into())
}

fn jq(size: u32, folder: &Path) -> anyhow::Result<Program> {
    let (data, filter) = (folder.join("players.json"), folder.join("filter.jq"));
    fs::write(&data, records(size))?;
    fs::write(&filter, FILTER)?;
    let arguments = vec!["-c".into(), "-f".into(), text(&filter), text(&data)];
    Ok(Program { name: "jq", path: installed("jq")?, arguments })
}

fn python(size: u32, folder: &Path) -> anyhow::Result<Program> {
    let (data, script) = (folder.join("thousand.json"), folder.join("rounds.py"));
    fs::write(&data, records(1000))?;
    fs::write(
        &script,
        "import json, sys\ntext = open(sys.argv[1]).read()\nfor i in range(int(sys.argv[2])):\n    players = json.loads(text)\n    \
         text = json.dumps([dict(player, score=player['score'] + 1) for player in players])\n",
    )?;
    installed("python3")?;
    // The program may be a script that finds the interpreter.
    let path =
        exec::capture(Command::new("python3").args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]))?;
    Ok(Program {
        name: "python json",
        path: path.into(),
        arguments: vec![text(&script), text(&data), size.to_string()],
    })
}

fn sqlite(size: u32, folder: &Path) -> anyhow::Result<Program> {
    let script = folder.join("players.sql");
    fs::write(
        &script,
        format!(
            "create table player (id integer primary key, name text, score real, team integer);\n\
             with recursive n(i) as (select 1 union all select i + 1 from n where i < {size})\n\
             insert into player select i, 'player ' || (i * 7919 % 10007), i % 997, i % 100 from n;\n\
             create index by_name on player (name);\n\
             select count(*), sum(length(upper(name) || team)) from player where score > 100;\n\
             select team, group_concat(name) from player where name like 'player 1%' group by team limit 3;\n\
             update player set name = name || '!' where team < 50;\n"
        ),
    )?;
    let arguments = vec!["-init".into(), text(&script), ":memory:".into(), "select 1".into()];
    Ok(Program { name: "sqlite3", path: installed("sqlite3")?, arguments })
}

fn node(size: u32, folder: &Path) -> anyhow::Result<Program> {
    let (data, script) = (folder.join("thousand.json"), folder.join("rounds.js"));
    fs::write(&data, records(1000))?;
    fs::write(
        &script,
        "const fs = require('fs'), zlib = require('zlib');\nlet text = fs.readFileSync(process.argv[2]);\n\
         for (let i = 0; i < +process.argv[3]; i++) {\n    const players = JSON.parse(zlib.inflateSync(zlib.deflateSync(text)));\n    \
         text = Buffer.from(JSON.stringify(players.map(player => ({ ...player, score: player.score + 1 }))));\n}\n",
    )?;
    Ok(Program {
        name: "node",
        path: installed("node")?,
        arguments: vec![text(&script), text(&data), size.to_string()],
    })
}

/// The compiler proper: the program `gcc` only starts it.
fn gcc(size: u32, folder: &Path) -> anyhow::Result<Program> {
    let source = folder.join("functions.i");
    let mut functions = String::from("struct point { long x, y; struct point *next; };\n");
    for i in 0..size {
        let _ = writeln!(
            functions,
            "long function_{i}(struct point *list, long bound) {{\n  long sum = {i};\n  \
             for (; list; list = list->next) {{\n    if (list->x > bound + {}) sum += list->y * {};\n    \
             else switch (list->y & 7) {{ case 0: sum ^= list->x; break; case 1: sum -= bound; break;\n      \
             case 2: sum += list->x << 2; break; case 5: sum *= 3; break; default: sum++; }}\n  }}\n  return sum;\n}}",
            i % 31,
            i % 17 + 1
        );
    }
    fs::write(&source, functions)?;
    installed("gcc")?;
    let path = exec::capture(Command::new("gcc").arg("-print-prog-name=cc1"))?;
    let arguments =
        vec!["-quiet".into(), "-O2".into(), "-fpreprocessed".into(), text(&source), "-o".into(), "/dev/null".into()];
    Ok(Program { name: "gcc", path: path.into(), arguments })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
