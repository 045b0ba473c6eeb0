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

/// Up to here objects are written in full.
const OBJECTS: &[Unit] = &[("", 1.0), (" M", 1e6), (" G", 1e9), (" T", 1e12)];

const PERCENT: &[Unit] = &[(" %", 0.01)];
const TIME: &[Unit] = &[(" ns", 1.0), (" µs", 1e3), (" ms", 1e6), (" s", 1e9)];

/// Bytes with a unit: `12.3 MiB`.
pub fn bytes(value: f64) -> String {
    let (unit, scale) = unit(BYTES, value);
    let scaled = value / scale;
    // Intervals and the like are whole numbers on purpose.
    let decimals = if scaled.fract() == 0.0 { 0 } else { decimals(scaled, scale) };
    format!("{}{unit}", grouped(scaled, decimals))
}

/// Bytes with their 95 % interval: `12.3 ± 0.8 MiB`, `1.20 [0.30 to 3.11] MiB` where it is skewed.
pub fn bytes_within(value: f64, interval: Interval) -> String {
    within(BYTES, value, interval)
}

/// A difference of bytes with half the width of its 95 % interval: `-1.12 ± 0.28 MiB`.
pub fn bytes_change(value: f64, margin: f64) -> String {
    changed(BYTES, value, margin)
}

/// A difference of shares, in hundredths of the whole: `-1.12 ± 0.28 %`.
pub fn percent_change(value: f64, margin: f64) -> String {
    changed(PERCENT, value, margin)
}

/// A difference of nanoseconds with half the width of its 95 % interval: `-11.2 ± 2.8 ms`.
pub fn time_change(value: f64, margin: f64) -> String {
    changed(TIME, value, margin)
}

fn changed(units: &[Unit], value: f64, margin: f64) -> String {
    let (unit, scale) = unit(units, value.abs().max(margin));
    let decimals = decimals(value.abs().max(margin) / scale, scale);
    let number = |x: f64| grouped(x / scale, decimals);
    let step = scale / 10f64.powi(decimals as i32);
    let rounded = number(value.abs());
    let sign = match value {
        _ if rounded.trim_matches(['0', '.']).is_empty() => "",
        value if value < 0.0 => "-",
        _ => "+",
    };
    let margin = if margin > 0.0 { format!(" ± {}", number((margin / step).ceil() * step)) } else { String::new() };
    format!("{sign}{rounded}{margin}{unit}")
}

/// A relative change in percent: `-12.3 %`, `+5.0 %`; `new` and `gone` at the ends.
pub fn relative_change(change: f64) -> String {
    match change {
        c if c == f64::INFINITY => "new".into(),
        -1.0 => "gone".into(),
        c if c.abs() < 9.995 => format!("{:+.1} %", 100.0 * c),
        c => format!("{:+.0} %", 100.0 * c),
    }
}

/// A number of objects with its 95 % interval: `5,012 ± 301`; without an upper end, `5,012 [at least 4,711]`.
pub fn objects_within(value: f64, interval: Interval) -> String {
    if interval.high.is_infinite() {
        let (unit, scale) = unit(OBJECTS, value);
        let number = grouped(value / scale, decimals(value / scale, scale));
        return format!("{number}{unit} [at least {}]", outwards(OBJECTS, interval.low.min(value), f64::floor));
    }
    within(OBJECTS, value, interval)
}

/// A number to nine digits, for documents: more say nothing, and differ from one machine's mathematics to another's.
pub fn significant(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
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

/// A share with its 95 % interval, in percent: `10.2 ± 0.8 %`.
pub fn percent_within(share: f64, interval: Interval) -> String {
    within(PERCENT, share, interval)
}

/// Bytes more or less with their 95 % interval: `+1.20 [+0.90 to +1.61] MiB`.
pub fn bytes_change_between(value: f64, low: f64, high: f64) -> String {
    let (unit, scale) = unit(BYTES, value.abs().max(low.abs()).max(high.abs()));
    let decimals = decimals(value.abs() / scale, scale);
    let step = scale / 10f64.powi(decimals as i32);
    let signed = |x: f64| {
        let text = grouped((x / scale).abs(), decimals);
        let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        format!(
            "{}{text}",
            if zero {
                ""
            } else if x < 0.0 {
                "-"
            } else {
                "+"
            }
        )
    };
    let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
    format!("{} [{} to {}]{unit}", signed(value), signed(low), signed(high))
}

/// A short time: `12.3 ms`.
pub fn time(nanoseconds: u64) -> String {
    let (unit, scale) = unit(TIME, nanoseconds as f64);
    let scaled = nanoseconds as f64 / scale;
    // Options and the like are whole numbers on purpose.
    let decimals = if scaled.fract() == 0.0 { 0 } else { decimals(scaled, scale) };
    format!("{}{unit}", grouped(scaled, decimals))
}

/// A short time with its 95 % interval: `12.3 ± 0.8 ms`.
pub fn time_within(value: u64, low: u64, high: u64) -> String {
    within(TIME, value as f64, Interval { low: low as f64, high: high as f64 })
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
    // Nothing has the unit of what it may be.
    let (unit, scale) = unit(units, if value == 0.0 { interval.high } else { value });
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
    } else if interval.high >= FAR * scale {
        let (low, high) = (outwards(units, interval.low, f64::floor), outwards(units, interval.high, f64::ceil));
        format!("{}{unit} [{low} to {high}]", number(value))
    } else {
        let low = number((interval.low / step).floor() * step);
        let high = number((interval.high / step).ceil() * step);
        format!("{} [{low} to {high}]{unit}", number(value))
    }
}

/// Where the upper end of an interval is so many units of the value, each number has a unit of its own.
const FAR: f64 = 100_000.0;

/// A number with its unit, rounded down or up.
fn outwards(units: &[Unit], value: f64, round: fn(f64) -> f64) -> String {
    let (unit, scale) = unit(units, value);
    let decimals = decimals(value / scale, scale);
    let steps = 10f64.powi(decimals as i32);
    format!("{}{unit}", grouped(round(value / scale * steps) / steps, decimals))
}

/// The largest unit of which the value has one.
fn unit(units: &[Unit], value: f64) -> Unit {
    let fits = units.iter().rev().find(|(_, scale)| value >= *scale);
    fits.or(units.first()).copied().unwrap_or(("", 1.0))
}

/// Three significant digits, but none behind the point of a base unit.
fn decimals(scaled: f64, scale: f64) -> usize {
    match scaled {
        _ if scale == 1.0 => 0,
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
        assert_eq!([duration(9_960_000_000), duration(125_000_000_000)], ["10.0 s", "2 min 5 s"]);
    }

    #[test]
    fn digits_beyond_the_ninth_are_dropped() {
        let numbers = [2.0 / 3.0, -1.0 / 3e100, 0.0, 5e-324, 1e300, f64::INFINITY].map(significant);
        assert_eq!(numbers, [0.666666667, -3.33333333e-101, 0.0, 5e-324, 1e300, f64::INFINITY]);
    }

    #[test]
    fn changes_have_a_sign() {
        let mib = 1048576.0;
        assert_eq!(bytes_change(-1.12 * mib, 0.275 * mib), "-1.12 ± 0.28 MiB");
        assert_eq!(bytes_change(3.0, 12.3 * mib), "0.0 ± 12.3 MiB");
        assert_eq!(bytes_change(700.0, 0.0), "+700 B");
        assert_eq!([time_change(-11.2e6, 2.75e6), time_change(400.0, 0.0)], ["-11.2 ± 2.8 ms", "+400 ns"]);
        assert_eq!([-0.123, 0.05, 0.0, 41.0].map(relative_change), ["-12.3 %", "+5.0 %", "+0.0 %", "+4100 %"]);
        assert_eq!([f64::INFINITY, -1.0].map(relative_change), ["new", "gone"]);
    }

    #[test]
    fn uneven_changes_and_times_have_a_unit() {
        let mib = 1048576.0;
        assert_eq!(bytes_change_between(1.2 * mib, 0.901 * mib, 1.601 * mib), "+1.20 [+0.90 to +1.61] MiB");
        assert_eq!(bytes_change_between(0.0, -2048.0, 1000.0), "0.00 [-2.00 to +0.98] KiB");
        assert_eq!(bytes_change_between(-300.0, -310.0, 0.0), "-300 [-310 to 0] B");
        assert_eq!([7, 1500, 20_000_000, 61_234_567_890].map(time), ["7 ns", "1.50 µs", "20 ms", "61.2 s"]);
        assert_eq!(time_within(12_000_000, 11_000_000, 13_000_000), "12.0 ± 1.0 ms");
        assert_eq!(time_within(777, 777, 777), "777 ns");
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
        assert_eq!(objects_within(5012.4, interval(4711.9, f64::INFINITY)), "5,012 [at least 4,711]");
        assert_eq!(objects_within(1.23e6, interval(9.87e5, f64::INFINITY)), "1.23 M [at least 987,000]");
        assert_eq!(percent_within(0.123_4, interval(0.115, 0.132)), "12.3 ± 0.9 %");
        assert_eq!(percent_within(0.005, interval(0.001, 0.02)), "0.50 [0.10 to 2.00] %");
        assert_eq!(bytes_within(0.0, interval(0.0, 472.0)), "0 [0 to 472] B");
        assert_eq!(bytes_within(0.0, interval(0.0, 3000.0)), "0.00 [0.00 to 2.93] KiB");
        assert_eq!(time_within(0, 0, 37_261_409), "0.00 [0.00 to 37.27] ms");
        assert_eq!(time_within(5_810, 0, 17_253_877_620), "5.81 µs [0 ns to 17.3 s]");
        assert_eq!(objects_within(12.0, interval(1.0, 234_560.0)), "12 [1 to 234,560]");
    }
}
