//! What an outline tells.

use super::*;

fn outline(sql: &str) -> Outline {
    Outline::of(sql.as_bytes(), &MYSQL)
}

/// Tables as `schema.name`, and their spans are those of the text.
#[track_caller]
fn tables(sql: &str, expected: &[&str]) {
    let found = outline(sql).tables;
    let names: Vec<_> = found
        .iter()
        .map(|table| {
            let name = String::from_utf8_lossy(&table.name).into_owned();
            table
                .schema
                .as_ref()
                .map_or(name.clone(), |schema| format!("{}.{name}", String::from_utf8_lossy(schema)))
        })
        .collect();
    assert_eq!(names, expected, "{sql}");
    for table in found {
        assert!(sql[table.span].contains(std::str::from_utf8(&table.name).unwrap()));
    }
}

#[test]
fn tables_are_found_where_they_stand() {
    tables("SELECT a, b FROM t WHERE c = (SELECT d FROM `s` . `u` v)", &["t", "s.u"]);
    tables(
        "SELECT * FROM a, db.b AS x, (c, d) JOIN e ON e.x = a.x, f WHERE g = 1",
        &["a", "db.b", "c", "d", "e", "f"],
    );
    tables("SELECT TRIM(BOTH x FROM y), EXTRACT(YEAR FROM z) FROM t", &["t"]);
    tables("INSERT INTO t (a, b) SELECT c, d FROM u", &["t", "u"]);
    tables("INSERT IGNORE db.t VALUES (1, 2)", &["db.t"]);
    tables("UPDATE LOW_PRIORITY a, b SET a.x = b.y, a.z = 1 WHERE a.q = b.q", &["a", "b"]);
    tables("DELETE FROM t WHERE a IN (SELECT b FROM c)", &["t", "c"]);
    tables("WITH c (x) AS (SELECT 1 FROM r), d AS (SELECT 2) SELECT * FROM c, d, t", &["r", "t"]);
    tables("SELECT * FROM a LEFT JOIN (SELECT 1 FROM b) c ON 1 = 1 CROSS JOIN d", &["a", "b", "d"]);
    tables("SELECT 1 FROM a UNION SELECT 2 FROM b ORDER BY x, y", &["a", "b"]);
    tables("SELECT a FROM t FORCE INDEX (i, j) FOR UPDATE", &["t"]);
    tables("TRUNCATE TABLE db.t", &["db.t"]);
    tables("REPLACE INTO t SET a = REPLACE(b, 'c', 'd')", &["t"]);
    tables("SELECT a INTO OUTFILE 'x' FROM t", &["t"]);
    tables("SELECT 1", &[]);
}

#[test]
fn literals_placeholders_and_hints_have_their_places() {
    let sql = "SELECT /*+ BKA() */ 1, 'a' FROM t WHERE b = ? AND c = -2.5 FOR SHARE";
    let found = outline(sql);
    let literals: Vec<_> =
        found.literals.iter().map(|literal| (literal.kind, &sql[literal.span.clone()])).collect();
    use super::super::lexer::Kind;
    assert_eq!(literals, [(Kind::Integer, "1"), (Kind::String, "'a'"), (Kind::Decimal, "2.5")]);
    assert_eq!(found.placeholders, [sql.find('?').unwrap()]);
    assert_eq!(found.optimizer_hints.len(), 1);
    assert_eq!(&sql[found.optimizer_hints[0].clone()], "/*+ BKA() */");
    assert_eq!(found.locking, [Locking::Share]);
    assert_eq!(found.digest, digest(sql.as_bytes(), &MYSQL));
}

#[test]
fn variables_carry_their_scope_and_use() {
    let variable = |scope, name: &str, assigned| Variable { scope, name: name.into(), assigned };
    let system = |scope: &str| Scope::System(scope.into());
    assert_eq!(
        outline("SET @a = @b, @@SESSION.sql_mode = '', @@x = 1").variables,
        [
            variable(Scope::User, "a", true),
            variable(Scope::User, "b", false),
            variable(system("session"), "sql_mode", true),
            variable(system(""), "x", true),
        ]
    );
    assert_eq!(
        outline("SELECT @`a` := 1, @'b' = 2").variables,
        [variable(Scope::User, "a", true), variable(Scope::User, "b", false)]
    );
}

#[test]
fn calls_are_named() {
    let sql = "SELECT NOW(), db.f(1), g (2), COUNT(*) FROM t WHERE a IN (1)";
    let calls: Vec<_> = outline(sql).calls.into_iter().map(|call| (&sql[call.span], call.uses)).collect();
    let (none, unknown) = (Uses::empty(), Uses::UNKNOWN_FUNCTION);
    assert_eq!(calls, [("NOW", none), ("db.f", unknown), ("g", unknown), ("COUNT", none)]);
    assert_eq!(outline("INSERT INTO t (a) VALUES (1)").calls, []);
}
