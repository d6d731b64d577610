//! One case per line of thought.

use super::*;

fn rows(table: &[&[&str]]) -> Vec<Vec<Value>> {
    let value = |text: &&str| if *text == "NULL" { Value::Null } else { super::text(text) };
    table.iter().map(|row| row.iter().map(value).collect()).collect()
}

/// In both formats.
fn check(spec: &Spec, columns: &[Column], shards: &[&[&[&str]]], expected: &[&[&str]]) {
    let shards: Vec<_> = shards.iter().map(|shard| rows(shard)).collect();
    for format in [Format::Text, Format::Binary] {
        assert_eq!(merge(spec, columns, &shards, format, BOUNDS), Ok(rows(expected)), "{format:?}");
    }
}

fn fails(spec: &Spec, columns: &[Column], shards: &[&[&[&str]]], error: Error) {
    let shards: Vec<_> = shards.iter().map(|shard| rows(shard)).collect();
    for format in [Format::Text, Format::Binary] {
        assert_eq!(merge(spec, columns, &shards, format, BOUNDS), Err(error), "{format:?}");
    }
}

fn sorted(keys: Vec<Key>) -> Spec {
    Spec { arrival: Arrival::Sorted(keys), ..Spec::default() }
}

fn grouped(keys: Vec<Key>, outputs: Vec<(usize, Fold)>) -> Spec {
    let outputs = outputs.into_iter().map(|(place, fold)| Output { place, fold }).collect();
    let always = keys.is_empty();
    Spec { combine: Combine::Groups(Groups { keys, outputs, always }), ..Spec::default() }
}

#[test]
fn rows_pass_with_a_limit_over_all_shards() {
    let columns = [bigint()];
    check(&Spec::default(), &columns, &[&[&["1"], &["2"]], &[], &[&["3"]]], &[&["3"], &["1"], &["2"]]);
    let spec = Spec { limit: Limit { offset: 1, count: Some(1) }, ..Spec::default() };
    check(&spec, &columns, &[&[&["1"], &["2"]], &[&["3"]]], &[&["1"]]);
    let spec = Spec { limit: Limit { offset: 5, count: Some(1) }, ..Spec::default() };
    check(&spec, &columns, &[&[&["1"], &["2"]], &[&["3"]]], &[]);
}

#[test]
fn nothing_is_read_for_a_limit_of_none_nor_behind_the_last_row() {
    let spec = Spec { limit: Limit { offset: 0, count: Some(0) }, ..Spec::default() };
    let mut merger = Merger::new(&spec, &[bigint()], Format::Text, 2, BOUNDS).unwrap();
    assert_eq!((merger.wants(), merger.next(&mut Vec::new())), (None, Ok(Step::Done)));
    let spec = Spec { limit: Limit { offset: 0, count: Some(1) }, ..sorted(vec![Key::at(0)]) };
    let mut merger = Merger::new(&spec, &[bigint()], Format::Text, 2, BOUNDS).unwrap();
    merger.push(0, b"\x012").unwrap();
    merger.push(1, b"\x011").unwrap();
    let mut out = Vec::new();
    assert_eq!(merger.next(&mut out), Ok(Step::Row));
    assert_eq!(out, b"\x011");
    assert_eq!(merger.next(&mut out), Ok(Step::Done));
}

#[test]
fn sorted_rows_are_merged_with_null_first() {
    let columns = [bigint(), varchar()];
    check(
        &sorted(vec![Key::at(0)]),
        &columns,
        &[&[&["NULL", "a"], &["-5", "b"], &["10", "c"]], &[&["-7", "d"], &["9", "e"]], &[]],
        &[&["NULL", "a"], &["-7", "d"], &["-5", "b"], &["9", "e"], &["10", "c"]],
    );
    check(
        &sorted(vec![Key::at(0).descending()]),
        &columns,
        &[&[&["10", "c"], &["-5", "b"], &["NULL", "a"]], &[&["9", "e"], &["-7", "d"]]],
        &[&["10", "c"], &["9", "e"], &["-5", "b"], &["-7", "d"], &["NULL", "a"]],
    );
}

#[test]
fn unsigned_numbers_and_decimals_are_exact() {
    check(
        &sorted(vec![Key::at(0)]),
        &[unsigned()],
        &[&[&["9223372036854775807"], &["18446744073709551615"]], &[&["9223372036854775808"]]],
        &[&["9223372036854775807"], &["9223372036854775808"], &["18446744073709551615"]],
    );
    check(
        &sorted(vec![Key::at(0)]),
        &[decimals(2)],
        &[
            &[&["-100.00"], &["-1.51"], &["0.00"]],
            &[&["-1.50"], &["0.01"], &["123456789012345678901234567890.12"]],
        ],
        &[&["-100.00"], &["-1.51"], &["-1.50"], &["0.00"], &["0.01"], &["123456789012345678901234567890.12"]],
    );
}

#[test]
fn text_sorts_by_its_hidden_weight_and_the_weight_is_cut() {
    let columns = [varchar(), varbinary()];
    let spec = Spec { hidden: 1, ..sorted(vec![Key::at(0).weighed(1, Pad::None)]) };
    check(
        &spec,
        &columns,
        &[&[&["a", "A"], &["C", "C"]], &[&["B", "B"], &["d", "D"]]],
        &[&["a"], &["B"], &["C"], &["d"]],
    );
}

#[test]
fn text_without_its_weight_is_refused() {
    for (column, needs) in [
        (varchar(), Needs::Weight),
        (definition(kind::STRING, UTF8, crate::wire::column::ENUM, 0), Needs::Number),
        (definition(kind::JSON, UTF8, 0, 0), Needs::Nothing),
        (definition(kind::GEOMETRY, BINARY_CHARSET, 0, 0), Needs::Nothing),
    ] {
        let made = Merger::new(&sorted(vec![Key::at(0)]), &[column], Format::Text, 2, BOUNDS);
        assert_eq!(made.unwrap_err(), Error::Incomparable { place: 0, needs });
    }
}

#[test]
fn a_shard_that_does_not_keep_the_order_is_found_out() {
    fails(&sorted(vec![Key::at(0)]), &[bigint()], &[&[&["2"], &["1"]], &[&["3"]]], Error::Unsorted(0));
}

#[test]
fn distinct_keeps_one_row_of_those_that_agree() {
    let keys = vec![Key::at(0)];
    let spec = Spec { combine: Combine::Distinct(keys.clone()), ..Spec::default() };
    check(
        &spec,
        &[bigint()],
        &[&[&["2"], &["NULL"]], &[&["1"], &["2"], &["NULL"]]],
        &[&["1"], &["2"], &["NULL"]],
    );
    let spec = Spec { combine: Combine::Distinct(keys.clone()), ..sorted(keys) };
    check(
        &spec,
        &[bigint()],
        &[&[&["NULL"], &["2"]], &[&["NULL"], &["1"], &["2"]]],
        &[&["NULL"], &["1"], &["2"]],
    );
    // Of 0 and -0 MySQL 9.7 and MariaDB 10.11 keep one.
    let double = definition(kind::DOUBLE, BINARY_CHARSET, 0, 31);
    check(&spec, &[double], &[&[&["-1"], &["0"]], &[&["-0"], &["1"]]], &[&["-1"], &["0"], &["1"]]);
}

#[test]
fn aggregates_without_groups_are_one_row_also_of_no_rows() {
    let columns = [bigint(), decimals(0), decimals(4), decimals(0), bigint(), bigint(), unsigned()];
    let spec = grouped(
        vec![],
        vec![
            (0, Fold::Count),
            (1, Fold::Sum),
            (2, Fold::Average { sum: 3, count: 4 }),
            (5, Fold::Least(Key::at(5))),
            (5, Fold::Greatest(Key::at(5))),
            (6, Fold::BitAnd),
        ],
    );
    check(
        &spec,
        &columns,
        &[
            &[&["2", "3", "1.5000", "3", "2", "-1", "7"]],
            &[&["0", "NULL", "NULL", "NULL", "0", "NULL", "18446744073709551615"]],
            &[&["1", "2", "2.0000", "2", "1", "5", "12"]],
        ],
        &[&["3", "5", "1.6667", "-1", "5", "4"]],
    );
    check(&spec, &columns, &[&[], &[]], &[&["0", "NULL", "NULL", "NULL", "NULL", "18446744073709551615"]]);
}

#[test]
fn groups_merge_by_weight_and_are_ordered_by_an_aggregate() {
    // SELECT name, SUM(x) … GROUP BY name ORDER BY SUM(x) DESC LIMIT 2, with the weight of the name
    let columns = [varchar(), decimals(0), varbinary()];
    let mut spec = grouped(vec![Key::at(0).weighed(2, Pad::None)], vec![(0, Fold::Any), (1, Fold::Sum)]);
    spec.order = vec![Key::at(1).descending()];
    spec.limit = Limit { offset: 0, count: Some(2) };
    check(
        &spec,
        &columns,
        &[&[&["B", "1", "B"], &["a", "2", "A"]], &[&["A", "5", "A"], &["c", "3", "C"], &["b", "1", "B"]]],
        &[&["A", "7"], &["c", "3"]],
    );
}

#[test]
fn having_is_asked_of_whole_groups() {
    use Operand::{Column, Number};
    // SELECT g, COUNT(*), SUM(x) … GROUP BY g HAVING …
    let columns = [bigint(), bigint(), decimals(2)];
    let shards: [&[&[&str]]; 2] = [
        &[&["1", "2", "1.50"], &["2", "1", "NULL"], &["3", "4", "1.00"]],
        &[&["1", "3", "1.50"], &["2", "1", "NULL"], &["4", "5", "-7.00"]],
    ];
    let number = |text: &str| Number(text.into());
    let compare = |place, test, text| Condition::Compare(Column(place), test, number(text));
    let sum_is_null = || Condition::IsNull(Column(2));
    for (condition, groups) in [
        (compare(1, Test::GreaterOrEqual, "5"), &["1", "4"][..]),
        (compare(2, Test::Equal, "3"), &["1"]),
        (compare(2, Test::Equal, "3.000e0"), &["1"]),
        (compare(2, Test::NotEqual, "3"), &["3", "4"]),
        (Condition::Compare(Column(2), Test::Less, Column(1)), &["1", "3", "4"]),
        (sum_is_null(), &["2"]),
        (Condition::Not(Box::new(sum_is_null())), &["1", "3", "4"]),
        (Condition::Not(Box::new(compare(2, Test::Greater, "-7.01"))), &[]),
        (
            Condition::Any(vec![compare(2, Test::Greater, "2.99"), compare(1, Test::LessOrEqual, "2")]),
            &["1", "2"],
        ),
        (Condition::All(vec![compare(2, Test::Greater, "-9"), compare(1, Test::Less, "5")]), &["3"]),
    ] {
        let keys = vec![Key::at(0)];
        let folds = vec![(0, Fold::Any), (1, Fold::Count), (2, Fold::Sum)];
        let having = Some(condition.clone());
        let spec = Spec { having, hidden: 2, order: keys.clone(), ..grouped(keys, folds) };
        let expected: Vec<_> = groups.iter().map(|group| vec![*group]).collect();
        check(&spec, &columns, &shards, &expected.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
}

#[test]
fn having_compares_numbers_only() {
    let compare = |operand| Condition::Compare(Operand::Column(0), Test::Equal, operand);
    for (condition, column, error) in [
        (
            compare(Operand::Number(b"1".to_vec())),
            varchar(),
            Error::Incomparable { place: 0, needs: Needs::Nothing },
        ),
        (compare(Operand::Number(b"x".to_vec())), bigint(), Error::NoNumber),
        (compare(Operand::Column(1)), bigint(), Error::NoColumn(1)),
    ] {
        let spec = Spec { having: Some(condition), ..Spec::default() };
        assert_eq!(Merger::new(&spec, &[column], Format::Text, 2, BOUNDS).unwrap_err(), error);
    }
}

#[test]
fn a_count_of_distinct_values_counts_each_once_over_all_shards() {
    // SELECT g, COUNT(DISTINCT x), SUM(DISTINCT x) …: each shard groups by g, x
    let columns = [bigint(), bigint(), decimals(0), bigint()];
    let keys = vec![Key::at(0)];
    let spec = grouped(
        keys.clone(),
        vec![
            (0, Fold::Any),
            (1, Fold::CountDistinct(vec![Key::at(3)])),
            (2, Fold::SumDistinct(Distinct { value: 2, key: Key::at(3) })),
        ],
    );
    let shards: [&[&[&str]]; 2] = [
        &[&["1", "0", "NULL", "NULL"], &["1", "1", "5", "5"], &["2", "1", "5", "5"]],
        &[&["1", "1", "5", "5"], &["1", "1", "6", "6"], &["3", "0", "NULL", "NULL"]],
    ];
    let expected: [&[&str]; 3] = [&["1", "2", "11"], &["2", "1", "5"], &["3", "0", "NULL"]];
    let sorted = Spec { arrival: Arrival::Sorted(vec![Key::at(0), Key::at(3)]), ..spec.clone() };
    check(&sorted, &columns, &shards, &expected);
    let hashed = Spec { order: keys, ..spec };
    check(&hashed, &columns, &shards, &expected);
}

#[test]
fn group_concat_joins_in_the_order_of_arrival() {
    let columns = [varchar(), bigint()];
    let concat = |distinct, times| {
        Fold::Concat(Concat {
            value: 0,
            separator: b"; ".to_vec(),
            distinct,
            times,
            length_max: Length::Is(1024),
        })
    };
    let ordered = Spec {
        arrival: Arrival::Sorted(vec![Key::at(1)]),
        ..grouped(vec![], vec![(0, concat(None, Some(1)))])
    };
    check(
        &ordered,
        &columns,
        &[&[&["a", "1"], &["c", "2"]], &[&["b", "1"], &["NULL", "3"]]],
        &[&["a; b; c; c"]],
    );
    let distinct = grouped(vec![], vec![(0, concat(Some(vec![Key::at(1)]), None))]);
    check(&distinct, &columns, &[&[&["a", "1"]], &[&["b", "2"], &["A", "1"]]], &[&["b; A"]]);
    check(&distinct, &columns, &[&[], &[]], &[&["NULL"]]);
}

#[test]
fn a_group_concat_that_the_server_would_cut_is_refused() {
    let concat =
        |times| Concat { value: 0, separator: vec![], distinct: None, times, length_max: Length::Is(8) };
    let columns = [varchar(), bigint()];
    let of = |times| grouped(vec![], vec![(0, Fold::Concat(concat(times)))]);
    check(&of(Some(1)), &columns, &[&[&["abcd", "1"]], &[&["efgh", "1"]]], &[&["efghabcd"]]);
    fails(&of(Some(1)), &columns, &[&[&["abcde", "1"]], &[&["efgh", "1"]]], Error::ConcatTooLong(8));
    // What one shard has cut, or not, is as one server has it; with more behind it nobody knows.
    check(&of(None), &columns, &[&[&["abcdefg", "1"]], &[&["NULL", "1"]]], &[&["abcdefg"]]);
    fails(&of(None), &columns, &[&[&["abcdefg", "1"]], &[&["h", "1"]]], Error::ConcatTooLong(8));
}

#[test]
fn json_arrays_are_joined() {
    let of =
        |length_max| grouped(vec![], vec![(0, Fold::JsonArray { separator: b", ".to_vec(), length_max })]);
    let json = [definition(kind::JSON, UTF8, 0, 0)];
    check(&of(None), &json, &[&[&["[1, \"]\"]"]], &[&["NULL"]], &[&["[[2]]"]]], &[&["[[2], 1, \"]\"]"]]);
    check(&of(None), &json, &[&[&["NULL"]], &[&["NULL"]]], &[&["NULL"]]);
    check(&of(Some(Length::Is(6))), &[varchar()], &[&[&["[1]"]], &[&["[2]"]]], &[&["[2, 1]"]]);
    fails(&of(Some(Length::Is(5))), &[varchar()], &[&[&["[1]"]], &[&["[2]"]]], Error::ConcatTooLong(5));
    // One that a shard has cut passes alone.
    check(&of(Some(Length::Is(5))), &[varchar()], &[&[&["[1, 2"]], &[&["NULL"]]], &[&["[1, 2"]]);
    fails(&of(Some(Length::Is(9))), &[varchar()], &[&[&["[1, 2"]], &[&["[3]"]]], Error::ConcatTooLong(9));
    fails(&of(None), &[bigint()], &[&[]], Error::Unfoldable(0));
}

fn output(place: usize) -> Box<Expression> {
    Box::new(Expression::Output(place))
}

fn literal(text: &str) -> Box<Expression> {
    Box::new(Expression::Number(text.into()))
}

#[test]
fn expressions_are_computed_of_the_whole() {
    use Expression::{Arithmetic, IfNull};
    // SELECT SUM(a) / 1000, IFNULL(SUM(a), 0), COUNT(*) * 2 - 1, SUM(a) / COUNT(*), MAX(i) + 1e0, hidden: SUM(a), COUNT(*), MAX(i)
    let double = definition(kind::DOUBLE, BINARY_CHARSET, 0, 31);
    let integer = definition(kind::LONG, BINARY_CHARSET, 0, 0);
    let columns = [decimals(6), decimals(2), bigint(), decimals(6), double, decimals(2), bigint(), integer];
    let expression = |place, expression| (place, Fold::Expression(expression));
    let spec = Spec {
        hidden: 3,
        ..grouped(
            vec![],
            vec![
                expression(0, Arithmetic(output(5), Operator::Over, literal("1000"))),
                expression(1, IfNull(output(5), literal("0"))),
                expression(
                    2,
                    Arithmetic(
                        Box::new(Arithmetic(output(6), Operator::Times, literal("2"))),
                        Operator::Minus,
                        literal("1"),
                    ),
                ),
                expression(3, Arithmetic(output(5), Operator::Over, output(6))),
                expression(4, Arithmetic(output(7), Operator::Plus, literal("1e0"))),
                (5, Fold::Sum),
                (6, Fold::Count),
                (7, Fold::Greatest(Key::at(7))),
            ],
        )
    };
    let any = ["NULL"; 5];
    let row = |rest: [&'static str; 3]| [&any[..], &rest].concat();
    let (one, other, none) = (row(["7.25", "2", "-3"]), row(["-0.25", "1", "8"]), row(["NULL", "0", "NULL"]));
    check(&spec, &columns, &[&[&one], &[&other]], &[&["0.007000", "7.00", "5", "2.333333", "9"]]);
    check(&spec, &columns, &[&[&none], &[&none]], &[&["NULL", "0.00", "-1", "NULL", "NULL"]]);
}

#[test]
fn expressions_that_are_not_computed_alike_everywhere_are_refused() {
    use Expression::{Arithmetic, IfNull};
    let columns = [decimals(6), decimals(2), decimals(6), bigint()];
    let quotient = || Box::new(Arithmetic(output(1), Operator::Over, literal("7")));
    for (expression, allowed) in [
        (*quotient(), true),
        (IfNull(quotient(), literal("0")), true),
        (IfNull(quotient(), literal("0.5")), false),
        (Arithmetic(quotient(), Operator::Times, literal("7")), false),
        (Arithmetic(output(2), Operator::Times, literal("7")), true), // an average
        (Arithmetic(output(2), Operator::Times, literal("7e0")), false), // the same as DOUBLE
        (IfNull(output(2), literal("0e0")), false),
        (Arithmetic(output(0), Operator::Times, literal("7")), false), // itself
        (Arithmetic(output(9), Operator::Times, literal("7")), false),
        (Arithmetic(output(1), Operator::Times, literal("x")), false),
    ] {
        let folds = vec![
            (0, Fold::Expression(expression.clone())),
            (1, Fold::Sum),
            (2, Fold::Average { sum: 1, count: 3 }),
            (3, Fold::Count),
        ];
        let made = Merger::new(&grouped(vec![], folds), &columns, Format::Text, 2, BOUNDS);
        assert_eq!(made.err(), (!allowed).then_some(Error::Unfoldable(0)), "{expression:?}");
    }
}

#[test]
fn memory_is_bounded() {
    let bounds = Bounds { memory_max: 1000, ..BOUNDS };
    let shard: Vec<Vec<Value>> = (0..100).map(|number| vec![text(number)]).collect();
    let keys = vec![Key::at(0)];
    let limited =
        |order: Vec<Key>, count| Spec { order, limit: Limit { offset: 0, count }, ..Spec::default() };
    for spec in [
        Spec { combine: Combine::Distinct(keys.clone()), ..Spec::default() },
        grouped(keys.clone(), vec![(0, Fold::Any)]),
        limited(keys.clone(), None),
        limited(keys.clone(), Some(50)),
    ] {
        let merged = merge(&spec, &[bigint()], std::slice::from_ref(&shard), Format::Text, bounds);
        assert_eq!(merged, Err(Error::Memory(1000)));
    }
    let merged = merge(&limited(keys, Some(3)), &[bigint()], &[shard], Format::Text, bounds);
    assert_eq!(merged, Ok(rows(&[&["0"], &["1"], &["2"]])));
}

#[test]
fn rows_that_do_not_fit_their_columns_are_an_error() {
    for (row, format) in [
        (&b"\x011\x012"[..], Format::Text),
        (b"\x051", Format::Text),
        (b"", Format::Text),
        (b"\x01x", Format::Text),
        (b"\x00", Format::Binary),
        (b"\x00\x00\x01", Format::Binary),
        (b"\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00", Format::Binary),
    ] {
        let mut merger = Merger::new(&sorted(vec![Key::at(0)]), &[bigint()], format, 1, BOUNDS).unwrap();
        assert_eq!(merger.push(0, row), Err(Error::Malformed), "{row:?}");
    }
}

#[test]
fn a_shard_whose_columns_differ_is_found_out() {
    let merger = Merger::new(&Spec::default(), &[bigint(), decimals(2)], Format::Text, 2, BOUNDS).unwrap();
    assert_eq!(merger.check(1, &[bigint(), decimals(2)]), Ok(()));
    for other in
        [&[bigint()][..], &[unsigned(), decimals(2)], &[bigint(), decimals(3)], &[bigint(), varchar()]]
    {
        assert_eq!(merger.check(1, other), Err(Error::Differing(1)));
    }
}

#[test]
fn rows_that_are_held_have_a_bound_together() {
    let bounds = Bounds { memory_max: 20, ..BOUNDS };
    let row = [&[12][..], b"abcdefghijkl"].concat();
    let mut any = Merger::new(&Spec::default(), &[varbinary()], Format::Text, 2, bounds).unwrap();
    assert_eq!(any.push(0, &row), Ok(()));
    let mut both = Merger::new(&sorted(vec![Key::at(0)]), &[varbinary()], Format::Text, 2, bounds).unwrap();
    assert_eq!(both.push(0, &row), Err(Error::Memory(20)), "a key beside it");
}

#[test]
fn a_row_that_is_not_wanted_is_refused() {
    let mut merger = Merger::new(&sorted(vec![Key::at(0)]), &[bigint()], Format::Text, 2, BOUNDS).unwrap();
    merger.push(0, b"\x011").unwrap();
    assert_eq!(merger.push(0, b"\x012"), Err(Error::OutOfTurn(0)));
    assert_eq!(merger.ended(0), Err(Error::OutOfTurn(0)));
    assert_eq!(merger.push(2, b"\x012"), Err(Error::OutOfTurn(2)));
    merger.ended(1).unwrap();
    assert_eq!(merger.ended(1), Err(Error::OutOfTurn(1)));
}

#[test]
fn definitions_are_the_shards_own_without_the_hidden() {
    let columns = [varchar(), decimals(4), varbinary()];
    let spec =
        Spec { hidden: 1, ..grouped(vec![Key::at(2)], vec![(1, Fold::Sum), (0, Fold::Any), (2, Fold::Any)]) };
    let merger = Merger::new(&spec, &columns, Format::Text, 2, BOUNDS).unwrap();
    assert_eq!(merger.columns(), [decimals(4), varchar()]);
}
