//! Numbers as people read them, with their error.

use crate::estimate::Interval;

/// A unit and how many of the base unit it is.
type Unit = (&'static str, f64);

const BYTES: &[Unit] = &[
    (" B", 1.0),
    (" KiB", 1024.0),
    (" MiB", 1_048_576.0),
    (" GiB", 1_073_741_824.0),
    (" TiB", 1_099_511_627_776.0),
    (" PiB", 1_125_899_906_842_624.0),
];

const TIME: &[Unit] = &[(" ns", 1.0), (" µs", 1e3), (" ms", 1e6), (" s", 1e9)];

/// Up to here objects are written in full.
const OBJECTS: &[Unit] = &[("", 1.0), (" M", 1e6), (" G", 1e9), (" T", 1e12)];

/// Bytes with a unit: `12.3 MiB`.
pub fn bytes(value: f64) -> String {
    let (unit, scale) = unit(BYTES, value);
    let scaled = value / scale;
    // Intervals and the like are whole numbers on purpose.
    let decimals = if scaled.fract() == 0.0 { 0 } else { decimals(scaled, scale) };
    format!("{}{unit}", grouped(scaled, decimals))
}

/// Nanoseconds with a unit: `1.23 s`.
pub fn time(value: f64) -> String {
    let (unit, scale) = unit(TIME, value);
    format!("{}{unit}", grouped(value / scale, decimals(value / scale, scale)))
}

/// Nanoseconds with their 95 % interval: `1.23 ± 0.08 s`.
pub fn time_within(value: f64, interval: Interval) -> String {
    within(TIME, value, interval)
}

/// Bytes with their 95 % interval: `12.3 ± 0.8 MiB`, `1.20 [0.30 to 3.11] MiB` where it is skewed.
pub fn bytes_within(value: f64, interval: Interval) -> String {
    within(BYTES, value, interval)
}

/// A number of objects with its 95 % interval: `5,012 ± 301`.
pub fn objects_within(value: f64, interval: Interval) -> String {
    within(OBJECTS, value, interval)
}

/// A whole number: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share in percent: `10.2 %`. Only nothing is 0 %, only everything 100 %.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        p if p > 0.0 && p < 0.01 => "<0.01 %".into(),
        p if p < 10.0 => format!("{p:.2} %"),
        p if p < 99.95 => format!("{p:.1} %"),
        p if p < 100.0 => "99.9 %".into(),
        p => format!("{p:.0} %"),
    }
}

/// A share in percent with its 95 % interval: `10.2 ± 1.1 %`, `0.30 [0.06 to 0.88] %` where it is skewed.
pub fn share_within(share: f64, interval: Interval) -> String {
    // A scale above 1 has digits behind the point.
    const PERCENT: &[Unit] = &[(" %", 1.0 + f64::EPSILON)];
    within(PERCENT, 100.0 * share, interval.per(0.01))
}

/// A length of time: `10.0 s`, `2 min 5 s`.
pub fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{} min {} s", count(whole / 60), whole % 60)
}

fn within(units: &[Unit], value: f64, interval: Interval) -> String {
    let (unit, scale) = unit(units, value);
    let decimals = decimals(value / scale, scale);
    let number = |x: f64| grouped(x / scale, decimals);
    // Ends are rounded outwards: a rounded interval must not promise more than the interval does.
    let step = scale / 10f64.powi(decimals as i32);
    let (below, above) = (value - interval.low, interval.high - value);
    let half = below.max(above);
    if half <= 0.0 {
        format!("{}{unit}", number(value))
    } else if (above - below).abs() <= 0.2 * half || half <= step {
        format!("{} ± {}{unit}", number(value), number((half / step).ceil() * step))
    } else {
        let low = number((interval.low / step).floor() * step);
        let high = number((interval.high / step).ceil() * step);
        format!("{} [{low} to {high}]{unit}", number(value))
    }
}

/// The largest unit of which the value has one.
fn unit(units: &[Unit], value: f64) -> Unit {
    let fits = units.iter().rev().find(|(_, scale)| value >= *scale);
    fits.or(units.first()).copied().unwrap_or(("", 1.0))
}

/// Three significant digits, but none behind the point of a base unit.
fn decimals(scaled: f64, scale: f64) -> usize {
    match scaled {
        _ if scale <= 1.0 => 0,
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    }
}

fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        None => text.parse().map_or(text, count),
        Some((whole, fraction)) => match whole.parse() {
            Ok(whole) => format!("{}.{fraction}", count(whole)),
            Err(_) => text,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers() {
        assert_eq!(
            ["0 B", "1,023 B", "1 KiB", "12.3 MiB", "1,000 GiB"],
            [bytes(0.0), bytes(1023.0), bytes(1024.0), bytes(12.345 * 1048576.0), bytes(1000.0 * 1073741824.0)]
        );
        assert_eq!([count(7), count(1234), count(u64::MAX)], ["7", "1,234", "18,446,744,073,709,551,615"]);
        assert_eq!(
            [0.0, 1e-9, 0.0123, 0.5, 0.99999, 1.0].map(percent),
            ["0.00 %", "<0.01 %", "1.23 %", "50.0 %", "99.9 %", "100 %"]
        );
        let interval = |low, high| Interval { low, high };
        assert_eq!(
            [share_within(0.1023, interval(0.09, 0.114)), share_within(0.003, interval(0.0006, 0.0088))],
            ["10.2 ± 1.3 %", "0.30 [0.06 to 0.88] %"]
        );
        assert_eq!([duration(9_960_000_000), duration(125_000_000_000)], ["10.0 s", "2 min 5 s"]);
    }

    #[test]
    fn intervals_are_rounded_outwards() {
        let interval = |low, high| Interval { low, high };
        let mib = 1048576.0;
        assert_eq!(bytes_within(12.3 * mib, interval(11.52 * mib, 13.1 * mib)), "12.3 ± 0.8 MiB");
        assert_eq!(bytes_within(1.2 * mib, interval(0.305 * mib, 3.101 * mib)), "1.20 [0.30 to 3.11] MiB");
        assert_eq!(bytes_within(500.0 * mib, interval(500.0 * mib, 500.1 * mib)), "500 ± 1 MiB");
        assert_eq!(bytes_within(700.0, interval(700.0, 700.0)), "700 B");
        assert_eq!(objects_within(5012.4, interval(4712.0, 5313.0)), "5,012 ± 301");
        assert_eq!(objects_within(12.3e6, interval(11.1e6, 13.5e6)), "12.3 ± 1.2 M");
        assert_eq!(bytes_within(0.0, interval(0.0, 3000.0)), "0 [0 to 3,000] B");
    }
}
