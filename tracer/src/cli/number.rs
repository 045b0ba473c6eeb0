//! Numbers of the command line, each with a message that says what would be right.

use std::ops::RangeInclusive;

/// Understands a number of a range.
pub fn within(range: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("a number from {} to {}", range.start(), range.end())),
    }
}

/// Understands a process id.
pub fn process_id(text: &str) -> Result<u32, String> {
    within(1..=i32::MAX.unsigned_abs())(text)
        .map_err(|_| "a process id is a number, such as 1234; `pidof NAME` says that of a program".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_numbers_are_told_the_right_ones() {
        let depth = within(1..=1024);
        assert_eq!((depth("1"), depth("1024"), process_id("1234")), (Ok(1), Ok(1024), Ok(1234)));
        for wrong in ["0", "1025", "-1", "", "many", "1.5", "99999999999"] {
            assert_eq!(depth(wrong), Err("a number from 1 to 1024".to_owned()), "{wrong}");
        }
        for wrong in ["0", "-7", "name", "2147483648", ""] {
            assert!(process_id(wrong).unwrap_err().contains("such as 1234"), "{wrong}");
        }
    }
}
