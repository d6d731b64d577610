//! GROUP BY and aggregates.

use tidegate::merge::{
    Arrival, Combine, Concat, Condition, Distinct, Expression, Fold, Groups, Key, Length, Level, Operand,
    Operator, Output, Pad, Spec, Test,
};

use super::{Case, Compare, check, table};
use crate::harness::{RawClient, Scenario};

both_dialects! {
    sums_averages_and_extremes_have_the_servers_values_and_types,
    groups_agree_by_their_keys,
    distinct_values_count_once,
    texts_are_joined,
    arrays_are_joined,
    expressions_are_computed_of_the_whole,
    having_is_asked_of_groups,
    the_scale_of_an_average_is_the_sessions,
}

/// Columns that can be summed up exactly: DOUBLE ones hold multiples of 1/4.
const NUMBERS: &[&str] =
    &["i", "ti", "b", "ub", "d", "dd", "q", "f", "fx", "dt", "tm", "dm", "ts", "y", "bt", "e", "st"];

/// Columns that have a least value by their type alone.
const ORDERED: &[&str] =
    &["i", "ti", "b", "ub", "d", "dd", "x", "q", "dt", "tm", "dm", "ts", "y", "bt", "vb", "bn", "bl"];

/// Aggregates as the client asks for them, with hidden columns behind; each fold knows its places.
#[derive(Default)]
struct Aggregates {
    shown: Vec<String>,
    hidden: Vec<String>,
    folds: Vec<Fold>,
}

impl Aggregates {
    fn sums(name: &str) -> Self {
        let shown = [format!("SUM({name})"), format!("AVG({name})"), format!("COUNT({name})")];
        Self {
            hidden: vec![format!("SUM({name})"), format!("COUNT({name})")],
            folds: vec![Fold::Sum, Fold::Average { sum: 3, count: 4 }, Fold::Count],
            shown: shown.to_vec(),
        }
    }

    /// `lead` columns stand before them in the parts' rows.
    fn folds(&self, lead: usize) -> Vec<Fold> {
        let shift = |fold: &Fold| match fold {
            Fold::Average { sum, count } => Fold::Average { sum: sum + lead, count: count + lead },
            other => other.clone(),
        };
        self.folds.iter().map(shift).collect()
    }

    /// One row of all, where `condition` is true.
    fn case(&self, condition: &str) -> Case {
        let shown = self.shown.join(", ");
        let all = [&self.shown[..], &self.hidden].concat().join(", ");
        Case {
            whole: format!("SELECT {shown} FROM {{t}} {condition}"),
            part: format!("SELECT {all} FROM {{t}} {condition}"),
            spec: grouped(vec![], self.folds(0)),
            compare: Compare::All,
        }
    }

    /// A row for each value of an integer column, sorted where the parts are.
    fn case_by(&self, key: &str, sorted: bool) -> Case {
        let shown = self.shown.join(", ");
        let all = [&self.shown[..], &self.hidden].concat().join(", ");
        let order = if sorted { format!("ORDER BY {key}") } else { String::new() };
        let mut folds = self.folds(1);
        folds.insert(0, Fold::Any);
        let mut spec = grouped(vec![Key::at(0)], folds);
        if sorted {
            spec.arrival = Arrival::Sorted(vec![Key::at(0)]);
        }
        Case {
            whole: format!("SELECT {key}, {shown} FROM {{t}} GROUP BY {key} {order}"),
            part: format!("SELECT {key}, {all} FROM {{t}} GROUP BY {key} {order}"),
            spec,
            compare: if sorted { Compare::All } else { Compare::Set },
        }
    }
}

/// Each fold works on the column at its own place.
fn grouped(keys: Vec<Key>, folds: Vec<Fold>) -> Spec {
    let outputs = folds.into_iter().enumerate().map(|(place, fold)| Output { place, fold }).collect();
    let always = keys.is_empty();
    Spec { combine: Combine::Groups(Groups { keys, outputs, always }), ..Spec::default() }
}

async fn session(scenario: Scenario) -> (crate::harness::Stage, RawClient) {
    let (stage, mut client) = table(scenario).await;
    client.ok("SET sql_mode = 'NO_ENGINE_SUBSTITUTION'").await;
    (stage, client)
}

async fn sums_averages_and_extremes_have_the_servers_values_and_types(scenario: Scenario) {
    let (_stage, mut client) = session(scenario).await;
    let mut cases = Vec::new();
    for name in NUMBERS {
        let sums = Aggregates::sums(name);
        cases.extend(
            ["", "WHERE id < 9", "WHERE id = 3", "WHERE id < 0"].map(|condition| sums.case(condition)),
        );
        cases.extend([sums.case_by("i", true), sums.case_by("ti", false)]);
    }
    for name in ORDERED {
        let extremes = Aggregates {
            shown: vec![format!("MIN({name})"), format!("MAX({name})")],
            folds: vec![Fold::Least(Key::at(0)), Fold::Greatest(Key::at(1))],
            hidden: vec![],
        };
        cases.extend(["", "WHERE id < 9", "WHERE id < 0"].map(|condition| extremes.case(condition)));
    }
    let floats = Aggregates {
        shown: vec!["MIN(f)".into(), "MAX(f)".into()],
        folds: vec![Fold::Least(Key::at(0).numbered(2)), Fold::Greatest(Key::at(1).numbered(3))],
        hidden: vec!["MIN(f) + 0e0".into(), "MAX(f) + 0e0".into()],
    };
    cases.extend(["", "WHERE id < 9", "WHERE id < 0"].map(|condition| floats.case(condition)));
    for name in ["e", "st", "cs", "ubin", "ai"] {
        // Of texts that are equal any is the least: one of a kind is asked for.
        let value = if name == "ai" { "LOWER(TRIM(ai))" } else { name };
        let weight = |of: &str| format!("WEIGHT_STRING({of}({value}))");
        let space = |of: &str| {
            let least = format!("{of}({value})");
            format!("IF(CONCAT({least}, ' ') = {least}, WEIGHT_STRING(RIGHT(CONCAT({least}, ' '), 1)), '')")
        };
        let texts = Aggregates {
            shown: vec![format!("MIN({value})"), format!("MAX({value})")],
            folds: vec![
                Fold::Least(Key::at(0).weighed(2, Pad::At(3))),
                Fold::Greatest(Key::at(1).weighed(4, Pad::At(5))),
            ],
            hidden: vec![weight("MIN"), space("MIN"), weight("MAX"), space("MAX")],
        };
        cases.extend(["", "WHERE id < 9", "WHERE id < 0"].map(|condition| texts.case(condition)));
    }
    let bits = Aggregates {
        shown: ["BIT_AND(ub)", "BIT_OR(i)", "BIT_XOR(b)", "COUNT(*)"].map(String::from).to_vec(),
        folds: vec![Fold::BitAnd, Fold::BitOr, Fold::BitXor, Fold::Count],
        hidden: vec![],
    };
    cases.extend(["", "WHERE id < 9", "WHERE id < 0"].map(|condition| bits.case(condition)));
    check(&mut client, cases).await;
}

async fn groups_agree_by_their_keys(scenario: Scenario) {
    let has_grouping = scenario.is_mysql();
    let (_stage, mut client) = session(scenario).await;
    let space = "IF(CONCAT(g, ' ') = g, WEIGHT_STRING(RIGHT(CONCAT(g, ' '), 1)), '')";
    let key = Key::at(2).weighed(3, Pad::At(4));
    // Ordered by an aggregate: all groups are kept, and sorted when the last part has ended.
    let by_sum = Spec {
        order: vec![Key::at(0).descending(), Key::at(1)],
        hidden: 0,
        ..grouped(vec![key.clone()], vec![Fold::Sum, Fold::Sum])
    };
    let by_key = Spec {
        arrival: Arrival::Sorted(vec![key.clone()]),
        ..grouped(vec![key], vec![Fold::Sum, Fold::Sum])
    };
    let part = format!("SELECT SUM(i), SUM(id), g, WEIGHT_STRING(g), {space} FROM {{t}} GROUP BY g");
    // The rows of a ROLLUP are groups, too: NULL as a value is told from NULL as a total.
    let rollup = |condition: &str| Case {
        whole: format!("SELECT i, SUM(d), COUNT(*) FROM {{t}} {condition} GROUP BY i WITH ROLLUP"),
        part: match has_grouping {
            true => format!(
                "SELECT i, SUM(d), COUNT(*), GROUPING(i) FROM {{t}} {condition} GROUP BY i WITH ROLLUP"
            ),
            false => format!(
                "SELECT i, SUM(d), COUNT(*), i IS NULL AS is_sum, i IS NOT NULL AS is_whole FROM {{t}} {condition} GROUP BY is_sum, i, is_whole WITH ROLLUP"
            ),
        },
        spec: Spec {
            // MariaDB has more levels so.
            levels: if has_grouping { vec![] } else { vec![Level { value: 0, sum: 3, whole: 4 }] },
            ..grouped(vec![Key::at(0), Key::at(3)], vec![Fold::Any, Fold::Sum, Fold::Count])
        },
        compare: Compare::Set,
    };
    let mut cases = vec![
        Case {
            whole: "SELECT SUM(i), SUM(id) FROM {t} GROUP BY g ORDER BY SUM(i) DESC, SUM(id)".into(),
            part: part.clone(),
            spec: by_sum,
            compare: Compare::All,
        },
        Case {
            whole: "SELECT SUM(i), SUM(id) FROM {t} GROUP BY g ORDER BY g".into(),
            part: format!("{part} ORDER BY g"),
            spec: by_key,
            compare: Compare::All,
        },
    ];
    cases.extend(["", "WHERE id < 9", "WHERE id < 0"].map(rollup));
    check(&mut client, cases).await;
}

async fn distinct_values_count_once(scenario: Scenario) {
    let (_stage, mut client) = session(scenario).await;
    let mut cases = Vec::new();
    for name in ["i", "ti", "d", "q", "y"] {
        let shown = format!("COUNT(DISTINCT {name}), SUM(DISTINCT {name}), AVG(DISTINCT {name}), SUM(id)");
        let value = |value| Distinct { value, key: Key::at(4) };
        let folds = vec![
            Fold::CountDistinct(vec![Key::at(4)]),
            Fold::SumDistinct(value(1)),
            Fold::AverageDistinct(value(1)),
            Fold::Sum,
        ];
        for condition in ["", "WHERE id < 9", "WHERE id < 0"] {
            for sorted in [false, true] {
                let order = if sorted { format!("ORDER BY {name}") } else { String::new() };
                let mut spec = grouped(vec![], folds.clone());
                if sorted {
                    spec.arrival = Arrival::Sorted(vec![Key::at(4)]);
                }
                cases.push(Case {
                    whole: format!("SELECT {shown} FROM {{t}} {condition}"),
                    part: format!("SELECT {shown}, {name} FROM {{t}} {condition} GROUP BY {name} {order}"),
                    spec,
                    compare: Compare::All,
                });
            }
        }
    }
    check(&mut client, cases).await;
}

async fn texts_are_joined(scenario: Scenario) {
    let (_stage, mut client) = session(scenario).await;
    client.ok("SET group_concat_max_len = 100000").await;
    // The parts' rows are the values, in order; a GROUP_CONCAT of one value gives the definition.
    let values = |distinct| {
        Fold::Concat(Concat {
            value: 1,
            separator: b"; ".to_vec(),
            distinct,
            times: Some(2),
            length_max: Length::Is(100_000),
        })
    };
    let ordered = Spec { arrival: Arrival::Sorted(vec![Key::at(3)]), ..grouped(vec![], vec![values(None)]) };
    let distinct = Spec {
        arrival: Arrival::Sorted(vec![Key::at(3)]),
        ..grouped(vec![], vec![values(Some(vec![Key::at(3)]))])
    };
    let cases = vec![
        Case {
            whole: "SELECT GROUP_CONCAT(g ORDER BY id SEPARATOR '; ') FROM {t}".into(),
            part: "SELECT GROUP_CONCAT(g ORDER BY id SEPARATOR '; '), g, COUNT(*), id FROM {t} GROUP BY id, g ORDER BY id"
                .into(),
            spec: ordered,
            compare: Compare::All,
        },
        Case {
            whole: "SELECT GROUP_CONCAT(DISTINCT i ORDER BY i SEPARATOR '; ') FROM {t}".into(),
            part: "SELECT GROUP_CONCAT(DISTINCT i ORDER BY i SEPARATOR '; '), CAST(i AS CHAR), COUNT(*), i FROM {t} GROUP BY i ORDER BY i"
                .into(),
            spec: distinct.clone(),
            compare: Compare::All,
        },
        Case {
            whole: "SELECT GROUP_CONCAT(DISTINCT i ORDER BY i SEPARATOR '; ') FROM {t} WHERE id < 0".into(),
            part: "SELECT GROUP_CONCAT(DISTINCT i ORDER BY i SEPARATOR '; '), CAST(i AS CHAR), COUNT(*), i FROM {t} WHERE id < 0 \
                   GROUP BY i ORDER BY i"
                .into(),
            spec: distinct,
            compare: Compare::All,
        },
    ];
    check(&mut client, cases).await;
}

async fn arrays_are_joined(scenario: Scenario) {
    let mysql = scenario.is_mysql();
    let (_stage, mut client) = session(scenario).await;
    client.ok("SET group_concat_max_len = 100000").await;
    let fold = Fold::JsonArray {
        separator: if mysql { b", ".to_vec() } else { b",".to_vec() },
        length_max: (!mysql).then_some(Length::Is(100_000)),
    };
    // Elements that are all alike, since their order is open.
    let case = |condition: &str| {
        let sql = format!("SELECT JSON_ARRAYAGG('a]\"') FROM {{t}} {condition}");
        let spec = grouped(vec![], vec![fold.clone()]);
        Case { whole: sql.clone(), part: sql, spec, compare: Compare::All }
    };
    check(&mut client, ["", "WHERE id < 9", "WHERE id < 0"].map(case).into()).await;
}

async fn expressions_are_computed_of_the_whole(scenario: Scenario) {
    use Expression::{Arithmetic, IfNull, Number};
    use Operator::{Minus, Over, Plus, Times};
    let (_stage, mut client) = session(scenario).await;
    let hidden = ["SUM(d)", "COUNT(*)", "SUM(q)", "MAX(i)", "MIN(i)", "SUM(ub)", "SUM(i)", "MAX(ub)"];
    let output = |sql: &str| {
        let place = hidden.iter().position(|hidden| *hidden == sql).expect("an aggregate");
        Box::new(Expression::Output(1 + place))
    };
    let number = |text: &str| Box::new(Number(text.into()));
    let with = |left, operator, right| Box::new(Arithmetic(left, operator, right));
    let or = |value, other| Box::new(IfNull(value, other));
    let product = || with(output("SUM(d)"), Times, output("SUM(d)"));
    let expressions = [
        ("SUM(d) / 1000", with(output("SUM(d)"), Over, number("1000"))),
        ("SUM(d) / 0.7", with(output("SUM(d)"), Over, number("0.7"))),
        ("SUM(i) / COUNT(*)", with(output("SUM(i)"), Over, output("COUNT(*)"))),
        ("COUNT(*) / 7", with(output("COUNT(*)"), Over, number("7"))),
        ("SUM(ub) / SUM(d)", with(output("SUM(ub)"), Over, output("SUM(d)"))),
        ("SUM(q) / 3", with(output("SUM(q)"), Over, number("3"))),
        ("SUM(i) / 0", with(output("SUM(i)"), Over, number("0"))),
        ("IFNULL(SUM(d), 0)", or(output("SUM(d)"), number("0"))),
        ("COALESCE(SUM(d) / 8, 0)", or(with(output("SUM(d)"), Over, number("8")), number("0"))),
        ("IFNULL(MAX(i), 0)", or(output("MAX(i)"), number("0"))),
        ("COUNT(*) * 2 + 1", with(with(output("COUNT(*)"), Times, number("2")), Plus, number("1"))),
        ("MAX(i) - MIN(i)", with(output("MAX(i)"), Minus, output("MIN(i)"))),
        ("MAX(ub) - 1", with(output("MAX(ub)"), Minus, number("1"))),
        ("SUM(d) * SUM(d) - 0.125", with(product(), Minus, number("0.125"))),
        ("SUM(q) * 1.5", with(output("SUM(q)"), Times, number("1.5"))),
        ("SUM(i) + 1e0", with(output("SUM(i)"), Plus, number("1e0"))),
    ];
    let hidden_folds = [
        Fold::Sum,
        Fold::Count,
        Fold::Sum,
        Fold::Greatest(Key::at(4)),
        Fold::Least(Key::at(5)),
        Fold::Sum,
        Fold::Sum,
        Fold::Greatest(Key::at(8)),
    ];
    let mut cases = Vec::new();
    for (sql, expression) in expressions {
        for condition in ["", "WHERE id < 9", "WHERE id = 3", "WHERE id < 0"] {
            let folds = [&[Fold::Expression((*expression).clone())], &hidden_folds[..]].concat();
            cases.push(Case {
                whole: format!("SELECT {sql} FROM {{t}} {condition}"),
                part: format!("SELECT {sql}, {} FROM {{t}} {condition}", hidden.join(", ")),
                spec: Spec { hidden: hidden.len(), ..grouped(vec![], folds) },
                compare: Compare::All,
            });
        }
    }
    check(&mut client, cases).await;
}

async fn having_is_asked_of_groups(scenario: Scenario) {
    let (_stage, mut client) = session(scenario).await;
    let column = Operand::Column;
    let number = |text: &str| Operand::Number(text.into());
    let case = |sql: &str, having: Condition| {
        let mut spec = grouped(vec![Key::at(0)], vec![Fold::Any, Fold::Count, Fold::Sum, Fold::Sum]);
        (spec.having, spec.arrival) = (Some(having), Arrival::Sorted(vec![Key::at(0)]));
        let select = "SELECT i, COUNT(*), SUM(d), SUM(q) FROM {t} GROUP BY i";
        Case {
            whole: format!("{select} HAVING {sql} ORDER BY i"),
            part: format!("{select} ORDER BY i"),
            spec,
            compare: Compare::All,
        }
    };
    let compare = |place, test, text| Condition::Compare(column(place), test, number(text));
    let cases = vec![
        case("COUNT(*) > 10", compare(1, Test::Greater, "10")),
        case("SUM(d) >= -100.005", compare(2, Test::GreaterOrEqual, "-100.005")),
        case("SUM(d) < 1e2", compare(2, Test::Less, "1e2")),
        case("SUM(q) <> 12.25", compare(3, Test::NotEqual, "12.25")),
        case("SUM(d) > SUM(q)", Condition::Compare(column(2), Test::Greater, column(3))),
        case("NOT COUNT(*) <= 9.5", Condition::Not(Box::new(compare(1, Test::LessOrEqual, "9.5")))),
        case(
            "SUM(d) IS NULL OR COUNT(*) = 9",
            Condition::Any(vec![Condition::IsNull(column(2)), compare(1, Test::Equal, "9")]),
        ),
    ];
    check(&mut client, cases).await;
}

async fn the_scale_of_an_average_is_the_sessions(scenario: Scenario) {
    let (_stage, mut client) = session(scenario).await;
    for increment in [0, 1, 5, 7, 9, 15, 30] {
        client.ok(format!("SET div_precision_increment = {increment}")).await;
        let cases = ["i", "ub", "d", "dd", "tm"].map(|name| Aggregates::sums(name).case("WHERE id < 40"));
        check(&mut client, cases.into()).await;
    }
}
