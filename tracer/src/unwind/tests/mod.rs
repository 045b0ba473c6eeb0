//! Tests of the whole builder.

mod agreement;
mod compiled;
