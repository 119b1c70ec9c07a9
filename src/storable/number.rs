//! The strings that Perl prints for numbers, and the numbers in such strings.

/// Returns the integer for which Perl prints `text`.
pub(super) fn parse_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" || digits.starts_with(|c: char| matches!(c, '1'..='9'));
    // A sign in second place would pass `parse`, but not the rule above.
    if canonical { text.parse().ok() } else { None }
}

/// Returns the floating-point number for which Perl prints `text`.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if ["inf", "infinity", "nan"]
        .iter()
        .any(|name| unsigned.eq_ignore_ascii_case(name))
    {
        return text.parse().ok();
    }
    // Digits, perhaps a point and digits, perhaps an exponent.
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)));
    if canonical { text.parse().ok() } else { None }
}

/// Returns `number` as an integer, if it is a whole number.
pub(super) fn exact_integer(number: f64) -> Option<i128> {
    // Below 2^127 the cast of a whole number is exact.
    let whole = number.fract() == 0.0 && number.abs() < 2f64.powi(127);
    whole.then_some(number as i128)
}

/// Returns the text that Perl prints for `number`: 15 significant digits, `%.15g` in C.
pub(super) fn format_double(number: f64) -> String {
    const DIGITS: i32 = 15;
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }

    let scientific = format!("{number:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("`{:e}` always writes an exponent");
    let exponent: i32 = exponent
        .parse()
        .expect("`{:e}` writes its exponent as an integer");

    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        return without_trailing_zeros(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{}e{sign}{:02}",
        without_trailing_zeros(mantissa),
        exponent.abs()
    )
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_read_from_its_canonical_form_alone() {
        for (text, integer) in [
            ("0", 0),
            ("7", 7),
            ("-128", -128),
            ("18446744073709551615", u64::MAX.into()),
        ] {
            assert_eq!(parse_integer(text), Some(integer), "{text}");
        }
        for text in [
            "", "-", "-0", "+1", "00", "007", "--1", "1.0", "1e3", " 1", "1 ", "1_000", "one", "٣",
        ] {
            assert_eq!(
                parse_integer(text),
                if text == "-0" { Some(0) } else { None },
                "{text}"
            );
        }
    }

    #[test]
    fn a_double_is_read_from_the_forms_that_perl_writes() {
        for (text, double) in [
            ("7.9", 7.9),
            ("-3.25", -3.25),
            ("1e+20", 1e20),
            ("1.5e-07", 1.5e-7),
            ("0.1334e-6", 0.1334e-6),
            ("12", 12.0),
            ("Inf", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_double(text), Some(double), "{text}");
        }
        assert!(parse_double("NaN").is_some_and(f64::is_nan));
        for text in [
            "", "-", ".5", "5.", "+1", "00.5", "1e", "1e+", "1.e5", "0x10", "1,5", "1 ", "--1",
            "infinite",
        ] {
            assert_eq!(parse_double(text), None, "{text}");
        }
    }

    #[test]
    fn a_double_is_written_as_perl_writes_it() {
        // The output of `perl -e 'print …'`.
        for (double, text) in [
            (0.1 + 0.2, "0.3"),
            (7.9, "7.9"),
            (1.0, "1"),
            (100.0, "100"),
            (-0.5, "-0.5"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (999_999_999_999_999.9, "1e+15"),
            (1e20, "1e+20"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e100, "1e+100"),
            (1.0 / 3.0, "0.333333333333333"),
            (f64::INFINITY, "Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(format_double(double), text);
        }
    }

    #[test]
    fn only_whole_doubles_are_integers() {
        assert_eq!(exact_integer(3.0), Some(3));
        assert_eq!(exact_integer(-1e15), Some(-1_000_000_000_000_000));
        for double in [0.5, 1e39, f64::NAN, f64::INFINITY] {
            assert_eq!(exact_integer(double), None);
        }
    }
}
