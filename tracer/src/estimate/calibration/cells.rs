//! The cells that samples and counters are sorted into.

use tracer_ebpf::abi::allocation::{SIZE_CLASSES, size_class};

use crate::estimate::measure::Exact;
use crate::estimate::strata::Cell;
use crate::recording::{About, Sample};

/// All cells that the counters have, counter by counter, and one more for samples of no counter.
pub(super) fn exact_cells(about: &About) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(about.counters.len() * SIZE_CLASSES + 1);
    for (index, counter) in (0..).zip(&about.counters) {
        let base = cells.len();
        cells.extend((0..SIZE_CLASSES).map(|class| Cell {
            class: class as u8,
            counter: index,
            exact: Some(Exact::default()),
            ..Cell::default()
        }));
        for class in &counter.classes {
            let cell = cells[base..].get_mut(usize::from(class.class)).and_then(|cell| cell.exact.as_mut());
            if let Some(exact) = cell {
                *exact += Exact { calls: class.calls, bytes: class.bytes };
            }
        }
    }
    cells.push(Cell { class: u8::MAX, counter: u32::MAX, ..Cell::default() });
    cells
}

/// The index of a sample's cell in [`exact_cells`].
pub(super) fn cell_of(about: &About, sample: &Sample) -> usize {
    let counter = (sample.counter as usize).min(about.counters.len());
    if counter == about.counters.len() {
        counter * SIZE_CLASSES
    } else {
        counter * SIZE_CLASSES + size_class(sample.size)
    }
}

/// Everything that was counted.
pub(super) fn exact_total(about: &About) -> Exact {
    let mut total = Exact::default();
    for class in about.counters.iter().flat_map(|counter| &counter.classes) {
        total += Exact { calls: class.calls, bytes: class.bytes };
    }
    total
}
