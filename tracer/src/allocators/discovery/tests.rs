use super::*;

#[test]
fn show() {
    let paths = std::env::var("SHOW").unwrap();
    let data: Vec<_> = paths.split(',').map(|p| (p.to_owned(), std::fs::read(p).unwrap())).collect();
    let modules: Vec<_> = data
        .iter()
        .map(|(p, d)| {
            let t = std::time::Instant::now();
            let m = ModuleSymbols::read(p, &object::File::parse(d.as_slice()).unwrap()).unwrap();
            println!(
                "{p} read {:?} {} fns, {:?}, got {} local {} loader {} next {} prog {}",
                t.elapsed(),
                m.functions.len(),
                m.markers,
                m.imports.len(),
                m.local_slots.len(),
                m.is_loader,
                m.asks_for_next,
                m.is_program
            );
            m
        })
        .collect();
    let t = std::time::Instant::now();
    let plan = discover(&modules, Options { releases: std::env::var("REL").is_ok(), ..Options::default() });
    println!("discover {:?}", t.elapsed());
    match plan {
        Ok(p) => println!("{p}"),
        Err(e) => println!("{e} {e:?}"),
    }
}
