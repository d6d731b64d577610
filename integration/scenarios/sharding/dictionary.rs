//! information_schema and SHOW of a database with sharded tables: each is there once, as on one server; nothing of the shards shows.

use tidegate::wire::column::Column;

use super::Split;
use crate::harness::packets::Param;
use crate::harness::{Outcome, RawClient, Scenario};

both_dialects! {
    t57_browsing_shows_each_table_once,
    t57_prepared_statements_read_the_dictionary_anew,
    t57_rows_and_sizes_are_those_of_all_shards,
}

/// What programs send: `DB` stands for the database.
const SENT: &[&str] = &[
    "SHOW TABLES",
    "SHOW FULL TABLES",
    "SHOW TABLES FROM `DB`",
    "SHOW TABLES LIKE 'c%'",
    "SHOW FULL TABLES FROM `DB` LIKE 'ord_rs'",
    "SHOW FULL TABLES WHERE Table_type = 'BASE TABLE'",
    "SHOW FULL TABLES WHERE `Tables_in_DB` IN ('orders', 'plain', 'missing')",
    "SHOW /*!50002 FULL */ TABLES",
    "SHOW TRIGGERS",
    "SHOW TRIGGERS LIKE 'orders'",
    "SHOW TRIGGERS FROM `DB` WHERE `Table` = 'orders'",
    "SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME",
    "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'DB' AND TABLE_NAME = 'orders'",
    "select count(*) from information_schema.tables where table_schema = 'DB'",
    "select t.table_name from information_schema.tables as t where t.table_schema = 'DB' and t.table_name like '%s' order by 1 desc",
    "SELECT TABLE_TYPE, COUNT(*), MAX(TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'DB' GROUP BY TABLE_TYPE HAVING COUNT(*) > 1",
    "SELECT TABLES.TABLE_NAME FROM information_schema.TABLES WHERE information_schema.TABLES.TABLE_SCHEMA = 'DB' ORDER BY TABLES.TABLE_NAME",
    "SELECT COLUMN_NAME, ORDINAL_POSITION, COLUMN_DEFAULT, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, COLUMN_TYPE, \
     COLUMN_KEY, EXTRA FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'DB' AND TABLE_NAME = 'tickets' ORDER BY ORDINAL_POSITION",
    "SELECT * FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA='DB' AND c.TABLE_NAME='customers' ORDER BY c.ORDINAL_POSITION",
    "SELECT * FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA='DB' ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
    "SELECT * FROM information_schema.TABLE_CONSTRAINTS WHERE CONSTRAINT_SCHEMA='DB' ORDER BY TABLE_NAME, CONSTRAINT_NAME",
    "SELECT * FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA='DB'",
    "SELECT CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA='DB'",
    "SELECT TRIGGER_NAME, EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='DB'",
    // Connector/J: DatabaseMetaData.
    "SELECT TABLE_SCHEMA AS TABLE_CAT, NULL AS TABLE_SCHEM, TABLE_NAME, CASE WHEN TABLE_TYPE='BASE TABLE' THEN CASE WHEN TABLE_SCHEMA = 'mysql' OR \
     TABLE_SCHEMA = 'performance_schema' THEN 'SYSTEM TABLE' ELSE 'TABLE' END WHEN TABLE_TYPE='TEMPORARY' THEN 'LOCAL_TEMPORARY' ELSE TABLE_TYPE END \
     AS TABLE_TYPE, TABLE_COMMENT AS REMARKS, NULL AS TYPE_CAT FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'DB' AND TABLE_NAME LIKE '%' HAVING \
     TABLE_TYPE IN ('TABLE',null,null,null,null) ORDER BY TABLE_TYPE, TABLE_SCHEMA, TABLE_NAME",
    "SELECT TABLE_SCHEMA AS TABLE_CAT, NULL AS TABLE_SCHEM, TABLE_NAME, COLUMN_NAME, SEQ_IN_INDEX AS KEY_SEQ, 'PRIMARY' AS PK_NAME FROM \
     INFORMATION_SCHEMA.STATISTICS WHERE TABLE_SCHEMA = 'DB' AND TABLE_NAME = 'orders' AND INDEX_NAME='PRIMARY' ORDER BY TABLE_SCHEMA, TABLE_NAME, \
     INDEX_NAME, SEQ_IN_INDEX",
    "SELECT DISTINCT A.REFERENCED_TABLE_SCHEMA AS PKTABLE_CAT, NULL AS PKTABLE_SCHEM, A.REFERENCED_TABLE_NAME AS PKTABLE_NAME, A.REFERENCED_COLUMN_NAME AS \
     PKCOLUMN_NAME, A.TABLE_SCHEMA AS FKTABLE_CAT, NULL AS FKTABLE_SCHEM, A.TABLE_NAME AS FKTABLE_NAME, A.COLUMN_NAME AS FKCOLUMN_NAME, A.ORDINAL_POSITION \
     AS KEY_SEQ, A.CONSTRAINT_NAME AS FK_NAME, R.UNIQUE_CONSTRAINT_NAME AS PK_NAME FROM INFORMATION_SCHEMA.KEY_COLUMN_USAGE A JOIN \
     INFORMATION_SCHEMA.TABLE_CONSTRAINTS B USING (CONSTRAINT_NAME,TABLE_NAME) JOIN INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS R ON \
     (R.CONSTRAINT_NAME = B.CONSTRAINT_NAME AND R.TABLE_NAME = B.TABLE_NAME AND R.CONSTRAINT_SCHEMA = B.TABLE_SCHEMA) WHERE B.CONSTRAINT_TYPE = 'FOREIGN KEY' \
     AND A.TABLE_SCHEMA = 'DB' AND A.TABLE_NAME='notes' AND A.REFERENCED_TABLE_SCHEMA IS NOT NULL ORDER BY PKTABLE_CAT, PKTABLE_NAME, KEY_SEQ",
    // Django.
    "SELECT table_name, table_type, table_comment FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name",
    "SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, extra, column_default, CASE WHEN collation_name = \
     'utf8mb4_bin' THEN NULL ELSE collation_name END AS collation_name, CASE WHEN column_type LIKE '%% unsigned' THEN 1 ELSE 0 END AS is_unsigned, \
     column_comment FROM information_schema.columns WHERE table_name = 'orders' AND table_schema = DATABASE() ORDER BY ordinal_position",
    "SELECT kc.`constraint_name`, kc.`column_name`, kc.`referenced_table_name`, kc.`referenced_column_name`, c.`constraint_type` FROM \
     information_schema.key_column_usage AS kc, information_schema.table_constraints AS c WHERE kc.table_schema = DATABASE() AND \
     (kc.referenced_table_schema = DATABASE() OR kc.referenced_table_schema IS NULL) AND c.table_schema = kc.table_schema AND c.constraint_name = \
     kc.constraint_name AND c.constraint_type != 'CHECK' AND c.table_name = kc.table_name AND kc.table_name = 'orders' ORDER BY kc.`ordinal_position`",
    // DataGrip, mysqldump.
    "select table_name, index_name, index_comment, index_type, non_unique, column_name, sub_part, collation from information_schema.statistics where \
     table_schema = 'DB' and index_schema = 'DB' order by index_schema, table_name, index_name, index_type, seq_in_index",
    "SELECT DISTINCT TABLESPACE_NAME, FILE_NAME, LOGFILE_GROUP_NAME FROM INFORMATION_SCHEMA.FILES WHERE FILE_TYPE = 'DATAFILE' AND FILE_NAME = 'DB'",
    "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = 'DB'",
    // From within it, in a transaction, among others.
    "BEGIN",
    "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'DB'",
    "ROLLBACK",
    "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'DB') AS n, 1 * 2 AS two",
    "WITH own AS (SELECT TABLE_NAME AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'DB') SELECT n FROM own ORDER BY n",
    "USE information_schema",
    "SELECT table_name FROM tables WHERE table_schema = 'DB' ORDER BY table_name",
    "SHOW TABLES FROM `DB` LIKE 'cust%'",
    "USE `DB`",
];

/// Columns' names and what they hold, and the rows.
fn read(outcome: Outcome, from: &str, to: &str) -> String {
    let own = |text: String| text.replace(&format!("{from}_w"), to);
    match outcome {
        Outcome::Ok(ok) => format!("{} changed", ok.affected_rows),
        Outcome::Err(error) => own(format!("{error}")),
        Outcome::File(name) => name,
        Outcome::Rows(rows) => {
            let kind = |column: &Vec<u8>| match Column::parse(column).expect("a definition") {
                column if column.is_string() || column.is_enumerated() => "text".to_owned(),
                column if column.kind == 6 => "null".to_owned(),
                column => {
                    format!("{}{}", if column.decimals > 0 { "fraction " } else { "" }, column.is_unsigned())
                }
            };
            let columns = rows.columns.iter().enumerate();
            let columns: Vec<_> = columns.map(|(at, column)| (own(rows.name(at)), kind(column))).collect();
            own(format!("{columns:?} {:#?}", rows.texts()))
        }
    }
}

impl Split {
    /// A trigger, a foreign key and a check, on both shards and in the database that holds all.
    async fn with_constraints(&self) {
        let schema = &self.stage.schema;
        for (cluster, schema) in [
            (&self.stage.cluster, format!("{schema}_0")),
            (&self.second, format!("{schema}_1")),
            (&self.stage.cluster, self.whole.clone()),
        ] {
            let statements = [
                format!(
                    "CREATE TABLE {schema}.notes (customer_id BIGINT, id INT, length TINYINT UNSIGNED COMMENT 'größe', PRIMARY KEY (customer_id, id), \
                     CONSTRAINT written FOREIGN KEY (customer_id) REFERENCES {schema}.customers (id), CONSTRAINT short CHECK (length < 200))"
                ),
                format!(
                    "CREATE TRIGGER {schema}.counted BEFORE INSERT ON {schema}.orders FOR EACH ROW SET @x = 1"
                ),
            ];
            // Of one time, which SHOW TRIGGERS tells.
            cluster.run(0, &["SET timestamp = 1767225600", &statements[0], &statements[1]]).await;
        }
    }

    async fn alike(&self, client: &mut RawClient, direct: &mut RawClient, sql: &str) {
        let own = &self.stage.schema;
        let ours = client.query(sql.replace("DB", own)).await.pop().expect("an answer");
        let servers = direct.query(sql.replace("DB", &self.whole)).await.pop().expect("an answer");
        assert_eq!(read(ours, own, own), read(servers, own, own), "{sql}");
    }
}

fn with_notes(scenario: Scenario) -> impl Future<Output = Split> {
    Split::of(
        scenario,
        crate::harness::Cluster::own(scenario.dialect, 0),
        &super::TABLES,
        |schema, second| {
            let mut rules = super::rules(schema, second);
            rules.top = rules.top.replace("customers: id\n", "customers: id\n          notes: customer_id\n");
            rules
        },
    )
}

async fn t57_browsing_shows_each_table_once(scenario: Scenario) {
    let split = with_notes(scenario).await;
    split.with_constraints().await;
    split.stage.given(&["DROP VIEW which"]).await; // which tells servers apart
    let (mut client, mut direct) = split.both().await;
    for sql in SENT {
        split.alike(&mut client, &mut direct, sql).await;
    }
    let schema = &split.stage.schema;
    // Nothing of the shards shows, and what is beside the database stays.
    let shown = client.select(format!("SHOW DATABASES LIKE '{schema}%'")).await;
    assert_eq!(shown.name(0), format!("Database ({schema}%)"));
    let names = |rows: crate::harness::packets::ResultSet| {
        rows.texts().into_iter().map(|row| row[0].clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(names(shown), [schema.clone(), split.whole.clone()]);
    let sql = format!(
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '{schema}%' ORDER BY 1"
    );
    assert_eq!(names(client.select(sql).await), [schema.clone(), split.whole.clone()]);
    let sql = format!("SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{schema}_0'");
    assert_eq!(client.value(sql).await.as_deref(), Some("0"));
    // A table that is left at home under a sharded table's name is not the one that clients see.
    split.stage.given(&["CREATE TABLE orders (wrong INT)"]).await;
    let sql =
        "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'DB' AND TABLE_NAME = 'orders'";
    split.alike(&mut client, &mut direct, sql).await;
    let error = client.error("SHOW TABLES; SELECT 1").await;
    assert!(
        String::from_utf8_lossy(&error.message).contains("several-statements") || error.code == 1064,
        "{error}"
    );
    split.stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pins| pins == 0).await;
}

async fn t57_prepared_statements_read_the_dictionary_anew(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut client = split.stage.raw().await;
    let schema = split.stage.schema.clone();
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ? AND table_type = ?";
    let statement = client.prepare(sql).await.expect("it is prepared");
    assert_eq!((statement.parameters, statement.columns), (3, 1));
    let columns = client.prepare("SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = 'orders'").await;
    let columns = columns.expect("it is prepared");
    for (table, count) in [("orders", 1i64), ("plain", 1), ("missing", 0)] {
        let params =
            [Param::Text(schema.as_bytes()), Param::Text(table.as_bytes()), Param::Text(b"BASE TABLE")];
        let rows = client.execute(statement, &params).await.rows();
        assert_eq!(rows.rows[0], [&[0, 0][..], &count.to_le_bytes()].concat(), "{table}");
    }
    let own = [Param::Text(schema.as_bytes())];
    assert_eq!(client.execute(columns, &own).await.rows().rows.len(), 3);
    // A definition that has changed meanwhile.
    let main = &split.stage.cluster;
    main.run(0, &[&format!("ALTER TABLE {schema}_0.orders ADD note INT")]).await;
    assert_eq!(client.execute(columns, &own).await.rows().rows.len(), 4);
    let shown = client.prepare("SHOW TABLES LIKE 'o%'").await.expect("it is prepared");
    assert_eq!(client.execute(shown, &[]).await.rows().rows, [b"\0\0\x06orders".to_vec()]);
}

async fn t57_rows_and_sizes_are_those_of_all_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    super::fill(&split, &mut client, &mut direct).await;
    let schema = &split.stage.schema;
    for (cluster, place) in [(&split.stage.cluster, 0), (&split.second, 1)] {
        cluster.run(0, &[&format!("ANALYZE TABLE {schema}_{place}.customers")]).await;
    }
    let sql = "SELECT TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH, TABLE_ROWS * 2 FROM information_schema.TABLES WHERE TABLE_NAME = 'customers' AND \
               TABLE_SCHEMA = DATABASE()";
    let texts = client.select(sql).await.texts();
    assert_eq!(texts, [["8", "32768", "4096", "16"].map(|text| Some(text.to_owned())).to_vec()]);
    let status = client.select("SHOW TABLE STATUS LIKE 'customers'").await;
    let directly = direct.select("SHOW TABLE STATUS LIKE 'customers'").await;
    let names = |rows: &crate::harness::packets::ResultSet| {
        (0..rows.columns.len()).map(|column| rows.name(column)).collect::<Vec<_>>()
    };
    assert_eq!(names(&status), names(&directly));
    assert_eq!(status.texts()[0][4].as_deref(), Some("8"));
}
