//! Averages inside expressions, and sums of quotients.

use super::*;

fn output(place: usize) -> Box<Expression> {
    Box::new(Expression::Output(place))
}

fn number(text: &str) -> Box<Expression> {
    Box::new(Expression::Number(text.into()))
}

fn times(left: Box<Expression>, right: Box<Expression>) -> Box<Expression> {
    Box::new(Expression::Arithmetic(left, Operator::Times, right))
}

/// Of an AVG at 1 with its SUM and COUNT behind; two shards have 1 + 2 and 4.
fn of(expression: Fold, column: Column) -> Vec<Vec<Value>> {
    let outputs = [(0, expression), (1, Fold::Average { sum: 2, count: 3 })];
    let outputs = outputs.into_iter().map(|(place, fold)| Output { place, fold }).collect();
    let groups = Groups { keys: vec![], outputs, always: true };
    let spec = Spec { combine: Combine::Groups(groups), hidden: 1, ..Spec::default() };
    let columns = [column, decimals(4), decimals(0), bigint()];
    let shard = |sum: &str, count: &str| vec![vec![Value::Null, Value::Null, text(sum), text(count)]];
    merge(&spec, &columns, &[shard("3", "2"), shard("4", "1")], Format::Text, BOUNDS).unwrap()
}

/// What MySQL 9.7 and MariaDB 10.11 answer for 1, 2, 4.
#[test]
fn an_average_has_more_digits_inside_an_expression() {
    let round = |value, digits: &str, clipped| {
        Fold::Expression(Expression::Round { value, digits: digits.into(), clipped })
    };
    let ifnull = || Box::new(Expression::IfNull(output(1), number("0")));
    let declared = |own| Box::new(Expression::Declared(own));
    for (fold, digits, expected) in [
        // AVG(a) * 3
        (Fold::Expression(*times(output(1), number("3"))), 4, "7.0000"),
        // IFNULL(AVG(a), 0) * 3: MySQL, MariaDB
        (Fold::Expression(*times(declared(ifnull()), number("3"))), 4, "6.9999"),
        (Fold::Expression(*times(ifnull(), number("3"))), 4, "7.0000"),
        // ROUND(AVG(a), 6): MySQL, MariaDB
        (round(output(1), "6", true), 4, "2.3333"),
        (round(output(1), "6", false), 6, "2.333333"),
        // AVG(a) / 3
        (Fold::Expression(Expression::Arithmetic(output(1), Operator::Over, number("3"))), 8, "0.77777778"),
        // What HAVING compares.
        (Fold::Whole(1), 4, "2.333333333"),
    ] {
        assert_eq!(of(fold.clone(), decimals(digits)), vec![vec![text(expected)]], "{fold:?}");
    }
}

#[test]
fn quotients_are_added_with_all_their_digits() {
    let outputs = vec![Output { place: 0, fold: Fold::SumOf(1) }];
    let groups = Groups { keys: vec![], outputs, always: true };
    let spec = Spec { combine: Combine::Groups(groups), ..Spec::default() };
    let shard = |shown: &str, whole: &str| vec![vec![text(shown), text(whole)]];
    let shards = [
        shard("0.3333", "0.333333333000"),
        shard("0.3333", "0.333333333000"),
        shard("0.3333", "0.333333333000"),
    ];
    let made = merge(&spec, &[decimals(4), decimals(12)], &shards, Format::Text, BOUNDS).unwrap();
    assert_eq!(made, vec![vec![text("1.0000")]]);
}
