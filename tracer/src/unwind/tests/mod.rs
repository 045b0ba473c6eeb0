//! Tests of the whole builder.

mod agreement;
