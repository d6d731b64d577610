//! Exact arithmetic, by cases.

use std::cmp::Ordering;

use super::super::decimal::Decimal;
use super::Error;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).unwrap()
}

fn written(number: Decimal, scale: usize) -> String {
    let mut out = Vec::new();
    number.write(scale, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn sums_are_exact_in_all_65_digits() {
    for (a, b, sum) in [
        ("1", "2", "3"),
        ("-1.50", "1.5", "0.00"),
        ("0.1", "0.2", "0.3"),
        ("-0.05", "-0.05", "-0.10"),
        ("9999999999999999999", "1", "10000000000000000000"),
        ("18446744073709551615", "18446744073709551615", "36893488147419103230"),
        ("1", "-18446744073709551617", "-18446744073709551616"),
        (
            "49999999999999999999999999999999999.999999999999999999999999999999",
            "49999999999999999999999999999999999.999999999999999999999999999999",
            "99999999999999999999999999999999999.999999999999999999999999999998",
        ),
    ] {
        assert_eq!(written(decimal(a).plus(decimal(b)).unwrap(), 0), sum, "{a} + {b}");
        assert_eq!(written(decimal(b).plus(decimal(a)).unwrap(), 0), sum, "{b} + {a}");
    }
}

#[test]
fn numbers_compare_by_value() {
    let ascending = ["-100", "-1.51", "-1.5", "0", "0.01", "1", "18446744073709551616.5"];
    for (place, left) in ascending.iter().enumerate() {
        for (other, right) in ascending.iter().enumerate() {
            assert_eq!(decimal(left).compare(decimal(right)), Ok(place.cmp(&other)), "{left}, {right}");
        }
    }
    assert_eq!(decimal("-0.0").compare(decimal("0")), Ok(Ordering::Equal));
    assert_eq!(decimal("-1.50").compare(decimal("-1.5")), Ok(Ordering::Equal));
    assert_eq!(Decimal::from(-1 << 100), decimal("-1267650600228229401496703205376"));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let nines = "9".repeat(65);
    assert_eq!(decimal(&nines).plus(decimal("1")), Err(Error::Overflow));
    assert!(decimal(&nines).plus(decimal("-1")).is_ok());
    assert_eq!(Decimal::parse("9".repeat(200).as_bytes()), None);
}

#[test]
fn quotients_are_rounded_as_servers_do() {
    for (sum, count, scale, average) in [
        ("3", 2, 4, "1.5000"),
        ("4", 3, 4, "1.3333"),
        ("5", 3, 4, "1.6667"),
        ("-5", 3, 4, "-1.6667"),
        ("1", 32, 4, "0.0313"),   // 0.03125
        ("-1", 32, 4, "-0.0313"), // -0.03125
        ("1", 100_000, 4, "0.0000"),
        ("-1", 100_000, 4, "0.0000"),
        ("99999998.49", 2, 6, "49999999.245000"),
        ("-50", 32, 0, "-1"), // `SET div_precision_increment = 0`
        ("2", 3, 9, "0.666666666"),
        ("2", 3, 10, "0.6666666667"),
    ] {
        assert_eq!(written(decimal(sum).divide(count, scale).unwrap(), scale), average, "{sum} / {count}");
    }
    assert_eq!(decimal("1").divide(0, 4), Err(Error::Malformed));
}

#[test]
fn products_and_quotients_of_decimals() {
    for (a, b, product) in [
        ("1.5", "-2.25", "-3.375"),
        ("0.00", "-5", "0.00"),
        ("99999999999999999999.9", "99999999999999999999", "9999999999999999999890000000000000000000.1"),
    ] {
        assert_eq!(written(decimal(a).times(decimal(b)).unwrap(), 0), product, "{a} * {b}");
    }
    let nines = decimal(&"9".repeat(40));
    assert_eq!(nines.times(nines), Err(Error::Overflow));
    for (a, b, scale, quotient) in [
        ("246131", "1000", 4, "246.1310"),
        ("2", "3", 4, "0.6667"),
        ("2", "-3", 4, "-0.6667"),
        ("2", "3", 9, "0.666666666"),
        ("2.00", "3", 6, "0.666667"),
        ("246131", "250300.393", 4, "0.9833"),
        ("1", "99999999999999999999999999999999999999", 4, "0.0000"),
    ] {
        let made =
            decimal(a).over(decimal(b), scale, scale.saturating_sub(decimal(a).scale())).unwrap().unwrap();
        assert_eq!(written(made, scale), quotient, "{a} / {b}");
    }
    assert_eq!(decimal("1").over(decimal("0.00"), 4, 4), Ok(None));
    assert_eq!(decimal("-18446744073709551616").integer(), Some(-(1 << 64)));
    assert_eq!(decimal("1.0").integer(), None);
}

#[test]
fn zeros_are_written_where_the_scale_asks_for_them() {
    for (text, scale, expected) in
        [("0", 0, "0"), ("-0.00", 2, "0.00"), ("007", 1, "7.0"), (".5", 3, "0.500"), ("-0.01", 0, "-0.01")]
    {
        assert_eq!(written(decimal(text), scale), expected);
    }
}

#[test]
fn what_is_no_number_is_none() {
    for text in ["", "-", ".", "1.2.3", "1e5", " 1", "0x1"] {
        assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
    }
}
