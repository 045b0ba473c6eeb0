use super::{
    run,
    simulation::{Load, Simulation},
    *,
};

fn record<F: Fn(f64) -> Load>(world: &mut Simulation<F>, share: f64) -> Outcome {
    let mut budget = Budget::new(Some(share), world.hit_high, true);
    run(world, &mut budget)
}

const FULL: Load = Load { cpu: 1.0, calls: 60e6 };
const IDLE: Load = Load { cpu: 0.0, calls: 0.0 };

fn show(o: &Outcome) {
    for e in &o.epochs {
        println!(
            "{:8.3} +{:6.3} p {:.4} cpu {:.3} w {:8.3} +{:.4} planned {:.4} hits {} {}",
            e.start_ns as f64 / 1e9,
            e.length_ns as f64 / 1e9,
            e.probability,
            e.cpu_ns as f64 / 1e9,
            e.window.start_ns as f64 / 1e9,
            e.window.length_ns as f64 / 1e9,
            e.window.planned_ns as f64 / 1e9,
            e.window.hits,
            e.window.capped
        );
    }
}

#[test]
fn play() {
    for (name, load) in [
        ("full", Box::new(|_| FULL) as Box<dyn Fn(f64) -> Load>),
        ("3/3", Box::new(|t: f64| if t % 6.0 < 3.0 { IDLE } else { FULL })),
        ("light", Box::new(|_| Load { cpu: 1.0, calls: 10e3 })),
        ("100k", Box::new(|_| Load { cpu: 1.0, calls: 100e3 })),
        ("1M", Box::new(|_| Load { cpu: 1.0, calls: 1e6 })),
        ("edge", Box::new(|_| Load { cpu: 0.5, calls: 19e3 })),
        ("light then full", Box::new(|t: f64| if t < 10.0 { Load { cpu: 1.0, calls: 10e3 } } else { FULL })),
        ("ticks", Box::new(|t: f64| if t % 0.05 < 0.005 { Load { cpu: 1.0, calls: 100e3 } } else { IDLE })),
        ("ticks heavy", Box::new(|t: f64| if t % 0.05 < 0.005 { Load { cpu: 1.0, calls: 1e6 } } else { IDLE })),
        ("bursts 100 ms", Box::new(|t: f64| if t % 1.0 < 0.1 { FULL } else { IDLE })),
        ("ten threads", Box::new(|_| Load { cpu: 10.0, calls: 60e6 })),
    ] {
        let mut world = Simulation::new(1, 30.0, load);
        let outcome = record(&mut world, 0.02);
        println!(
            "== {name}: worst {:.4} spent {:.4} of {:.1} in {:.3}",
            world.worst_share(0.5),
            world.history.last().unwrap().1,
            world.history.last().unwrap().0,
            outcome.in_place
        );
        show(&outcome);
    }
}
