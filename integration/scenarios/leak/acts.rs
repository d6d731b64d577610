//! What sessions do: acts that set something, look at it, and end what holds a server connection.
//!
//! Owns: the scripts, in the notation of `differential::step`. Invariant: the answer depends on the session alone: on
//! its own row, locks and tables, and on nothing that another session changes or a replica may not have yet.

/// What a session may see of its own state; on a replica, on the primary, in a transaction.
const OBSERVE: &str = "@@sql_mode, @@time_zone, @@autocommit, @@character_set_client, @@character_set_results, \
                       @@collation_connection, @@div_precision_increment, @@group_concat_max_len, @@lc_time_names, \
                       @@foreign_key_checks, @@max_sort_length, DATABASE(), 1/3, CHARSET('x'), @a, @b";

/// Placeholders for acts.
pub fn placeholders() -> Vec<(&'static str, &'static [&'static str])> {
    let mut all = vec![
        ("observe", &["SELECT {state}", "/* tidegate: primary */ SELECT {state}", "SELECT {state} FROM fixed LIMIT 1"][..]),
        ("state", &[OBSERVE]),
        // Not in double quotes: where they quote names, the SET fails (D26).
        ("plain", &["'a'", "''", "'It''s'", "'ünï'", "x'00ff'", "_latin1'«e4»'", "NULL", "_utf8mb4'x' COLLATE utf8mb4_bin"]),
        ("row", &["SELECT n FROM rows_a WHERE id = {s} FOR UPDATE"]),
        ("user", &["app app-pw", "u_empty "]),
        ("setting", &["sql_mode = '{mode}'", "sql_mode = DEFAULT", "time_zone = '+0{id}:00'", "div_precision_increment = {id}", "group_concat_max_len = {id}00", "lc_time_names = 'de_DE'", "lc_time_names = 'fr_FR'", "foreign_key_checks = {bool}", "max_sort_length = 1{id}", "collation_connection = {coll}", "sql_select_limit = DEFAULT"]),
    ];
    all.extend(crate::differential::kinds::PLACEHOLDERS.iter().map(|(name, forms)| match *name {
        "db" => ("db", &["leak_a", "leak_b"][..]),
        "id" => ("id", &["1", "2", "3", "4", "5", "6", "7"][..]),
        _ => (*name, *forms),
    }));
    all
}

/// An act: its name, and its lines.
pub type Act = (&'static str, &'static str);

/// All acts.
pub const ACTS: &[Act] = &[
    ("look", "{observe}"),
    ("look", "{observe}\n{observe}"),
    ("set", "SET {setting}\n{observe}"),
    ("set", "SET {setting}, {setting}\n{observe}"),
    ("set names", "SET NAMES {cs}\n{observe}"),
    // L2 ("set names", "SET NAMES utf8mb4 COLLATE {coll}\n{observe}"),
    ("use", "USE {db}\n{observe}"),
    // D25 ("use", "!init-db {db}\n{observe}"),
    ("a setting that fails", "SET nosuch = 1\n{observe}"),
    ("user variables", "SET @a = {num}, @b = {plain}\nSELECT @a, @b, CHARSET(@b), COLLATION(@b)\n{observe}\nSELECT @a, @b\nSET @a = NULL, @b = NULL\n!reset"),
    // P1 ("temporary table", "CREATE TEMPORARY TABLE tmp (a INT)\nINSERT INTO tmp VALUES ({id}), ({id})\nSELECT * FROM tmp\n{observe}\nSELECT COUNT(*) FROM tmp\nDROP TEMPORARY TABLE tmp\nSELECT * FROM tmp"),
    ("temporary table and reset", "CREATE TEMPORARY TABLE tmp (a INT)\nINSERT INTO tmp VALUES (1)\n!reset\nSELECT * FROM tmp\nUSE leak_a"),
    ("transaction", "BEGIN\nUPDATE rows_a SET n = n + 1 WHERE id = {s}\n{row}\n{observe}\nCOMMIT\n{row}"),
    ("transaction", "START TRANSACTION\nUPDATE rows_a SET n = n + {id} WHERE id = {s}\nSAVEPOINT x\nUPDATE rows_a SET n = 0 WHERE id = {s}\nROLLBACK TO x\n{row}\nROLLBACK\n{row}"),
    ("transaction and reset", "BEGIN\nUPDATE rows_a SET n = n + 1 WHERE id = {s}\n!reset\n{row}"),
    // P2 ("read only transaction", "START TRANSACTION READ ONLY\nSELECT a FROM fixed ORDER BY a\n{observe}\nUPDATE rows_a SET n = 0 WHERE id = {s}\nCOMMIT"),
    ("without autocommit", "SET autocommit = 0\nUPDATE rows_a SET n = n + 1 WHERE id = {s}\n{observe}\nROLLBACK\nSET autocommit = 1\n{row}"),
    ("next transaction", "SET TRANSACTION READ ONLY\nBEGIN\nUPDATE rows_a SET n = 0 WHERE id = {s}\nCOMMIT\nUPDATE rows_a SET n = n + 1 WHERE id = {s}\n{row}"),
    ("session isolation", "SET SESSION TRANSACTION ISOLATION LEVEL {level}\nBEGIN\n{row}\nCOMMIT\nSET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    // L1 ("insert id", "UPDATE rows_a SET n = LAST_INSERT_ID(n + 1) WHERE id = {s}\nSELECT LAST_INSERT_ID()\n{observe}\nSELECT LAST_INSERT_ID(), @@identity"),
    ("prepared", "!prepare 0 SELECT CAST(? AS CHAR), 1/3, DATABASE(), CHARSET('x')\n!execute 0 {value}\n{observe}\n!execute 0 {value}\n!close 0"),
    ("prepared", "!prepare 1 SELECT n FROM rows_a WHERE id = ? FOR UPDATE\n!execute 1 big:{s}\nSET {setting}\n!again 1 big:{s}\n!close 1"),
    ("prepared write", "!prepare 2 UPDATE rows_a SET n = n + ? WHERE id = {s}\n!execute 2 big:{id}\n{observe}\n!execute 2 big:1\n{row}"),
    ("cursor", "!prepare 3 SELECT a FROM fixed ORDER BY a\n!cursor 3\n!fetch 3 1\n!fetch 3 100\n!close 3"),
    ("long data", "!prepare 3 SELECT LENGTH(?)\n!long 3 0 abcdef\n!execute 3 text:x\n!close 3"),
    // P1 ("text prepared", "PREPARE p FROM 'SELECT 1/3, DATABASE()'\nEXECUTE p\n{observe}\nEXECUTE p\nDEALLOCATE PREPARE p\nEXECUTE p"),
    // P1 ("user lock", "SELECT GET_LOCK('leak{s}', 0)\n{observe}\nSELECT IS_USED_LOCK('leak{s}') = CONNECTION_ID()\nSELECT RELEASE_LOCK('leak{s}')\nSELECT RELEASE_LOCK('leak{s}')"),
    // P1 ("user lock and reset", "SELECT GET_LOCK('leak{s}', 0)\n!reset\nSELECT RELEASE_LOCK('leak{s}')"),
    ("table lock", "LOCK TABLES leak_a.fixed READ\nSELECT COUNT(*) FROM leak_a.fixed\nSELECT * FROM leak_a.rows_a LIMIT 1\nUNLOCK TABLES\n{row}"),
    // P1 ("handler", "HANDLER leak_a.fixed OPEN\nHANDLER fixed READ FIRST\n{observe}\nHANDLER fixed CLOSE\nHANDLER fixed READ NEXT"),
    // P1 ("xa", "XA START 'leak{s}'\n{row}\nXA END 'leak{s}'\nXA ROLLBACK 'leak{s}'"),
    ("error", "SELECT * FROM leak_a.nosuch\nSHOW WARNINGS"),
    ("error", "INSERT INTO leak_a.fixed VALUES (1)\nSELECT @@error_count"),
    ("warning", "/* tidegate: primary */ SELECT CAST('x' AS SIGNED) FROM leak_a.fixed LIMIT 1\nSHOW WARNINGS"),
    // D2 ("counts", "SELECT a FROM leak_a.fixed\nSELECT FOUND_ROWS()"),
    // D2 ("counts", "UPDATE rows_a SET n = n + 1 WHERE id = {s}\nSELECT ROW_COUNT()"),
    ("several", "SET {setting}; SELECT {state}; UPDATE leak_a.rows_a SET n = n + 1 WHERE id = {s}; SELECT n FROM leak_a.rows_a WHERE id = {s} FOR UPDATE"),
    ("call", "USE leak_a\nCALL leak_a.shows({id})\n{observe}"),
    ("call", "CALL leak_a.sets({id})\n{observe}\n!reset"),
    ("reset", "!reset\n{observe}"),
    ("change user", "!change-user {user} {db}\n{observe}"),
    ("change user", "!change-user {user} leak_a\nSELECT CURRENT_USER()"),
    ("new session", "!reconnect\n{observe}"),
    // D20 ("ping", "!ping\n{observe}"),
];

/// What acts play on; `{sessions}` rows, one per session.
pub fn content(sessions: usize) -> Vec<String> {
    let rows: Vec<String> = (0..sessions).map(|session| format!("({session}, 0)")).collect();
    let mut sql = Vec::new();
    for schema in ["leak_b", "leak_a"] {
        sql.extend([
            format!("DROP DATABASE IF EXISTS {schema}"),
            format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4"),
            format!("USE {schema}"),
            "CREATE TABLE fixed (a INT PRIMARY KEY)".into(),
            "INSERT INTO fixed VALUES (1), (2), (3)".into(),
            "CREATE TABLE rows_a (id INT PRIMARY KEY, n INT)".into(),
            format!("INSERT INTO rows_a VALUES {}", rows.join(", ")),
        ]);
    }
    sql.push("CREATE DEFINER=app@'%' PROCEDURE shows(a INT) SELECT a, DATABASE()".into());
    sql.push("CREATE DEFINER=app@'%' PROCEDURE sets(a INT) SET @a = a, SESSION div_precision_increment = a".into());
    sql
}
