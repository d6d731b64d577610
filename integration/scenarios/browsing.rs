//! What programs for people send when they connect and browse (DBeaver, MySQL Workbench, DataGrip, HeidiSQL): through the
//! data plane answered as by a server, without a pin; on the SQL console answered, or refused with the list of what it knows.

use tidegate::wire::capabilities::Capabilities;

use crate::console::operator;
use crate::harness::{Login, Outcome, RawClient, Scenario};

both_dialects! {
    a_server_and_tidegate_answer_alike_and_nothing_pins,
    the_console_answers_or_says_what_it_knows,
}

/// Whether the console has an answer, and the statement; `DB` and `TABLE` stand for a database and a table that are there.
const SENT: &[(bool, &str)] = &[
    // DBeaver, with Connector/J.
    (
        true,
        "/* mysql-connector-j-8.4.0 (Revision: 1c3f5c149e0bfe31c7fbeb24e2d260cd890972c4) */SELECT @@session.auto_increment_increment AS \
         auto_increment_increment, @@character_set_client AS character_set_client, @@character_set_connection AS \
         character_set_connection, @@character_set_results AS character_set_results, @@character_set_server AS \
         character_set_server, @@collation_server AS collation_server, @@collation_connection AS collation_connection, \
         @@init_connect AS init_connect, @@interactive_timeout AS interactive_timeout, @@license AS license, \
         @@lower_case_table_names AS lower_case_table_names, @@max_allowed_packet AS max_allowed_packet, @@net_write_timeout \
         AS net_write_timeout, @@performance_schema AS performance_schema, @@sql_mode AS sql_mode, @@system_time_zone AS \
         system_time_zone, @@time_zone AS time_zone, @@transaction_isolation AS transaction_isolation, @@wait_timeout AS wait_timeout",
    ),
    (true, "SET character_set_results = NULL"),
    (true, "SET autocommit=1"),
    (true, "/* ApplicationName=DBeaver 24.2.0 - Main */ SET SQL_MODE=@@SQL_MODE"),
    (true, "/* ApplicationName=DBeaver 24.2.0 - Main */ SELECT DATABASE()"),
    (true, "/* ApplicationName=DBeaver 24.2.0 - Metadata */ SHOW VARIABLES LIKE 'lower_case_%'"),
    (true, "/* ApplicationName=DBeaver 24.2.0 - Metadata */ show databases"),
    (true, "/* ApplicationName=DBeaver 24.2.0 - Metadata */ SELECT * FROM information_schema.SCHEMATA"),
    (
        true,
        "/* ApplicationName=DBeaver 24.2.0 - Metadata */ SELECT * FROM information_schema.TABLES t\nWHERE\n\tt.TABLE_SCHEMA = \
         'information_schema'\n\tAND t.TABLE_NAME = 'CHECK_CONSTRAINTS'",
    ),
    (true, "SHOW FULL TABLES FROM `DB`"),
    (true, "SHOW TABLE STATUS FROM `DB`"),
    (true, "SELECT * FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA='DB' ORDER BY ROUTINE_NAME"),
    (true, "SHOW EVENTS FROM `DB`"),
    (true, "SHOW TRIGGERS FROM `DB`"),
    (
        true,
        "SELECT * FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA='DB' AND c.TABLE_NAME='TABLE' ORDER BY c.ORDINAL_POSITION",
    ),
    (false, "SHOW CREATE TABLE `DB`.`TABLE`"),
    (
        false,
        "SELECT t.TABLE_NAME, c.COLUMN_NAME FROM information_schema.TABLES t JOIN information_schema.COLUMNS c USING (TABLE_NAME)",
    ),
    // MySQL Workbench.
    (true, "SET NAMES 'utf8mb4'"),
    (true, "SET CHARACTER SET utf8mb4"),
    (true, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    (true, "SET SQL_SAFE_UPDATES=1"),
    (true, "SELECT CONNECTION_ID()"),
    (true, "SELECT current_user()"),
    (true, "SHOW SESSION VARIABLES LIKE 'sql_mode'"),
    (true, "SHOW SESSION VARIABLES LIKE 'version_comment'"),
    (true, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"),
    (true, "SHOW GLOBAL VARIABLES"),
    (true, "SHOW GLOBAL STATUS"),
    (true, "SHOW FULL PROCESSLIST"),
    (true, "SHOW ENGINES"),
    (true, "SHOW PLUGINS"),
    (true, "SHOW CHARSET"),
    (true, "SHOW COLLATION"),
    (true, "SHOW PROCEDURE STATUS WHERE Db='DB'"),
    (true, "SHOW FUNCTION STATUS WHERE Db='DB'"),
    (true, "SHOW FULL COLUMNS FROM `DB`.`TABLE`"),
    (true, "SHOW INDEX FROM `DB`.`TABLE`"),
    (true, "SHOW GRANTS"),
    (true, "DESCRIBE `DB`.`TABLE`"),
    // DataGrip and its kin.
    (true, "SET net_write_timeout=600000"),
    (true, "SET SQL_SELECT_LIMIT=501"),
    (true, "SET SQL_SELECT_LIMIT=DEFAULT"),
    (true, "select version(), @@version_comment, database()"),
    (true, "select schema_name, default_collation_name from information_schema.schemata"),
    (
        true,
        "select table_name, table_type, table_comment, engine, table_collation, create_options from information_schema.tables \
         where table_schema = 'DB'",
    ),
    (
        true,
        "select ordinal_position, column_name, column_type, column_default, generation_expression, table_name, column_comment, \
         is_nullable, extra, collation_name from information_schema.columns where table_schema = 'DB' order by table_name, \
         ordinal_position",
    ),
    (
        true,
        "select table_name, index_name, index_comment, index_type, non_unique, column_name, sub_part, collation from \
         information_schema.statistics where table_schema = 'DB' and index_schema = 'DB' order by index_schema, table_name, \
         index_name, index_type, seq_in_index",
    ),
    (
        true,
        "select c.constraint_name, c.constraint_schema, c.table_name, c.constraint_type from \
         information_schema.table_constraints c where c.table_schema = 'DB'",
    ),
    (true, "select @@session.transaction_read_only"),
    (true, "SHOW WARNINGS"),
    // HeidiSQL.
    (true, "/*!40101 SET NAMES utf8mb4 */;"),
    (true, "SHOW VARIABLES;"),
    (true, "SHOW /*!50002 GLOBAL */ STATUS;"),
    (true, "SELECT NOW();"),
    (true, "SHOW /*!50002 FULL */ PROCESSLIST;"),
    (true, "USE `DB`;"),
];

fn filled(sql: &str, database: &str, table: &str) -> String {
    sql.replace("DB`", &format!("{database}`"))
        .replace("'DB'", &format!("'{database}'"))
        .replace("TABLE`", &format!("{table}`"))
        .replace("='TABLE'", &format!("='{table}'"))
}

/// Columns by name, or OK, or the error's code: what a program goes on by.
async fn said(client: &mut RawClient, sql: &str) -> Result<Vec<String>, u16> {
    client.send_query(sql).await;
    match client.outcomes().await.pop().expect("an answer") {
        Outcome::Ok(_) => Ok(vec![]),
        Outcome::Rows(rows) => {
            Ok((0..rows.columns.len()).map(|column| rows.name(column).to_owned()).collect())
        }
        Outcome::Err(error) => Err(error.code),
        Outcome::File(_) => unreachable!("no file was asked for"),
    }
}

async fn a_server_and_tidegate_answer_alike_and_nothing_pins(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20), KEY (name))"]).await;
    // Connector/J's flags beside the usual ones.
    let login = Login::with(Capabilities::FOUND_ROWS | Capabilities::MULTI_STATEMENTS);
    let mut direct = stage.direct(login.clone()).await;
    let mut client = stage.raw_with(login).await;
    for (_, sql) in SENT {
        let sql = filled(sql, &stage.schema, "t");
        assert_eq!(said(&mut client, &sql).await, said(&mut direct, &sql).await, "{sql}");
    }
    stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pins| pins == 0).await;
    assert_eq!(stage.proxy.metric("tidegate_pins_total", &["unexplained"]).await, 0);
}

async fn the_console_answers_or_says_what_it_knows(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    for (is_answered, sql) in SENT {
        let sql = filled(sql, "tidegate", "pins");
        console.send_query(&*sql).await;
        match console.outcomes().await.pop().expect("an answer") {
            Outcome::Err(error) => {
                let text = String::from_utf8_lossy(&error.message).into_owned();
                assert!(!is_answered, "{sql}: {text}");
                assert_eq!(error.code, 1235, "{sql}: {text}");
                assert!(text.contains("SHOW SERVERS | POOLS | SESSIONS"), "{sql}: {text}");
            }
            _ => assert!(is_answered, "{sql} is answered"),
        }
    }
}
