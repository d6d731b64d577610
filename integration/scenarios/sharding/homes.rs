//! Databases whose home is on another cluster than the default one.

use mysql_async::prelude::Queryable;
use tidegate::execute::names::Names;
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;

use super::tell;
use crate::commands::change_user;
use crate::harness::packets::{Param, ResultSet};
use crate::harness::{Cluster, Login, Outcome, RawClient, Rules, Scenario, Stage};

both_dialects! {
    each_database_is_where_its_home_is,
    a_login_and_use_go_to_the_home,
    what_lies_on_two_clusters_is_refused,
    a_transaction_writes_at_one_home,
    statements_that_were_prepared_find_the_home,
    the_dictionary_tells_of_all_homes,
    a_database_is_made_and_dropped_at_its_home,
    sharded_tables_of_a_database_elsewhere,
    what_statements_leave_goes_along,
}

/// The scenario's own database is on the shared cluster; `{schema}_far` and `{schema}_out` are on one of their own, with a replica.
struct Homes {
    // The proxy ends before its servers.
    stage: Stage,
    second: Cluster,
    far: String,
    out: String,
}

impl Homes {
    async fn new(scenario: Scenario) -> Self {
        Self::with(scenario, "").await
    }

    /// `more`: further lines for the database that is far.
    async fn with(scenario: Scenario, more: &str) -> Self {
        let second = Cluster::own(scenario.dialect, 1);
        let schema = scenario.schema();
        let (far, out) = (format!("{schema}_far"), format!("{schema}_out"));
        let top = format!(
            "default_cluster: main\ndatabases:\n  {out}:\n    home: {{cluster: second, schema: {out}}}\n  {far}:\n    home: {{cluster: second, schema: {far}}}\n{more}"
        );
        let servers: Vec<_> =
            second.servers.iter().map(|server| format!("\"{}:{}\"", server.host, server.port)).collect();
        let clusters = format!("  second:\n    servers: [{}]\n", servers.join(", "));
        let rules = Rules { top, clusters, reads: "consistency: session".into(), ..Rules::default() };
        for name in [&far, &out] {
            let made = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
            second
                .run(0, &[&made, &format!("CREATE TABLE {name}.t (id INT PRIMARY KEY, text VARCHAR(20))")])
                .await;
        }
        second.caught_up().await;
        let stage = scenario.stage_with(rules).await;
        stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, text VARCHAR(20))"]).await;
        Self { stage, second, far, out }
    }

    async fn to(&self, database: &str) -> RawClient {
        self.stage.raw_with(Login { database: Some(database.to_owned()), ..Login::default() }).await
    }

    /// Rows of a table on a cluster's primary.
    async fn rows(cluster: &Cluster, table: &str) -> u64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        cluster.root(0).await.query_first(sql).await.unwrap().unwrap()
    }
}

async fn refused(client: &mut RawClient, sql: &str, reason: &str) {
    let error = client.error(sql).await;
    assert!(String::from_utf8_lossy(&error.message).contains(reason), "{sql}: {error}");
}

async fn initialize(client: &mut RawClient, database: &str) -> Outcome {
    client.command(com::INIT_DB, database.as_bytes()).await;
    client.outcome().await
}

async fn change_to(client: &mut RawClient, database: &str) {
    let login = Login::default();
    let packet = change_user(client, &login.user, &login.password, database);
    client.send(&packet).await;
    client.prove(&login, [1; 20]).await.expect("it may");
}

async fn each_database_is_where_its_home_is(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, second, far, out } = &homes;
    let mut client = stage.raw().await;
    client.ok("SET @mark = 'kept', sql_mode = 'ANSI'").await;
    client.ok("INSERT INTO t VALUES (1, 'home')").await;
    client.ok(format!("INSERT INTO {far}.t VALUES (1, 'far'), (2, @mark)")).await;
    client.ok(format!("INSERT INTO {out}.t SELECT id, text FROM {far}.t")).await;
    assert_eq!(Homes::rows(&stage.cluster, &format!("{}.t", stage.schema)).await, 1);
    assert_eq!(Homes::rows(second, &format!("{far}.t")).await, 2);
    // Its own writes are read, at a replica, too.
    for _ in 0..4 {
        let text = client.value(format!("SELECT text FROM {far}.t AS f WHERE id = 2")).await;
        assert_eq!(text.as_deref(), Some("kept"));
        assert_eq!(client.value("SELECT text FROM t").await.as_deref(), Some("home"));
        let joined = format!("SELECT COUNT(*) FROM {far}.t JOIN {out}.t USING (id)");
        assert_eq!(client.value(joined).await.as_deref(), Some("2"));
        assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*stage.schema));
        assert_eq!(client.value("SELECT @@sql_mode LIKE '%ANSI%'").await.as_deref(), Some("1"));
    }
    assert_eq!(client.ok(format!("UPDATE {far}.t SET text = 'b' WHERE id = 2")).await.affected_rows, 1);
    client.ok(format!("ALTER TABLE {far}.t ADD COLUMN n INT")).await;
    client.ok(format!("CREATE PROCEDURE {far}.p() SELECT 7")).await;
    let mut outcomes = client.query(format!("CALL {far}.p()")).await;
    assert_eq!(outcomes.remove(0).rows().value().as_deref(), Some("7"));
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*stage.schema));
    assert_eq!(client.error(format!("SELECT * FROM {far}.missing")).await.code, 1146);
    client.select(format!("WITH a AS (SELECT id FROM {far}.t) SELECT * FROM a")).await;
    client.ok(format!("LOCK TABLES {far}.t READ")).await;
    assert_eq!(client.value(format!("SELECT COUNT(*) FROM {far}.t")).await.as_deref(), Some("2"));
    refused(&mut client, "SELECT * FROM t", "table locks").await;
    client.ok("UNLOCK TABLES").await;
    // All sessions meet at the default cluster for their locks, wherever their databases are.
    let mut other = homes.to(far).await;
    assert_eq!(client.value("SELECT GET_LOCK('homes', 0)").await.as_deref(), Some("1"));
    assert_eq!(other.value("SELECT GET_LOCK('homes', 0)").await.as_deref(), Some("0"));
    other.ok("INSERT INTO t VALUES (3, 'c', 1)").await;
    assert_eq!(client.value("SELECT RELEASE_LOCK('homes')").await.as_deref(), Some("1"));
}

async fn a_login_and_use_go_to_the_home(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, second, far, out } = &homes;
    let mut client = homes.to(far).await;
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&**far));
    client.ok("INSERT INTO t VALUES (1, 'a')").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    assert_eq!(client.value(format!("SELECT COUNT(*) FROM {}.t", stage.schema)).await.as_deref(), Some("0"));
    client.ok(format!("USE {}", stage.schema)).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
    assert_eq!(client.error("USE homes_nowhere").await.code, 1049);
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*stage.schema));
    client.ok(format!("USE `{out}`;")).await;
    client.ok("INSERT INTO t VALUES (5, 'out')").await;
    assert_eq!(Homes::rows(second, &format!("{out}.t")).await, 1);
    client.ok("USE information_schema").await;
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some("information_schema"));
    initialize(&mut client, &stage.schema).await.ok();
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
    initialize(&mut client, far).await.ok();
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    assert_eq!(initialize(&mut client, "homes_nowhere").await.err().code, 1049);
    assert_eq!(client.value("SELECT COUNT(*), DATABASE() FROM t").await.as_deref(), Some("1"));
    client.command(com::RESET_CONNECTION, b"").await;
    client.outcome().await.ok();
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&**far));
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    change_to(&mut client, out).await;
    assert_eq!(client.value("SELECT text FROM t").await.as_deref(), Some("out"));
    change_to(&mut client, &stage.schema).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
    let nowhere = Login { database: Some("homes_nowhere".into()), ..Login::default() };
    assert_eq!(RawClient::login(stage.proxy.address, &nowhere).await.err().unwrap().code, 1049);
}

async fn what_lies_on_two_clusters_is_refused(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, far, .. } = &homes;
    let (mut client, mut other) = (stage.raw().await, homes.to(far).await);
    let schema = &stage.schema;
    let apart = "homes-apart";
    for (sql, reason) in [
        (format!("SELECT * FROM t JOIN {far}.t AS f ON f.id = t.id"), apart),
        (format!("SELECT (SELECT COUNT(*) FROM {far}.t), id FROM t"), apart),
        (format!("INSERT INTO t SELECT * FROM {far}.t"), apart),
        (format!("INSERT INTO {far}.t SELECT * FROM t"), apart),
        (format!("UPDATE t, {far}.t AS f SET t.text = f.text WHERE f.id = t.id"), apart),
        (format!("CREATE TABLE {far}.copy AS SELECT * FROM t"), apart),
        (format!("CREATE TABLE copy LIKE {far}.t"), apart),
        (format!("RENAME TABLE t TO {far}.moved"), apart),
        (format!("CREATE VIEW v AS SELECT * FROM {far}.t, t"), apart),
        (format!("LOCK TABLES t READ, {far}.t WRITE"), apart),
        (format!("SELECT DATABASE(), id FROM {far}.t"), apart),
        (format!("SELECT * FROM information_schema.TABLES JOIN {far}.t ON TRUE"), apart),
        (format!("PREPARE s FROM 'SELECT * FROM {far}.t'"), "text-prepared"),
        (format!("SELECT GET_LOCK('x', 0) FROM {far}.t"), "server-function"),
        (format!("SELECT * FROM {}.t", far.to_uppercase()), "name-case"),
    ] {
        refused(&mut client, &sql, reason).await;
    }
    // What no rule names is at the default cluster, wherever its name stands.
    for sql in [
        "CALL homes_other.p()",
        "DROP VIEW homes_other.v",
        "SHOW CREATE TABLE homes_other.t",
        "SELECT homes_other.f()",
    ] {
        let error = other.error(sql).await;
        assert!(matches!(error.code, 1049 | 1051 | 1146 | 1305 | 4092), "{sql}: {error}");
    }
    refused(&mut other, "SELECT homes_other.f(id) FROM t", apart).await;
    refused(&mut other, "CREATE TABLE c (id INT, FOREIGN KEY (id) REFERENCES homes_other.t (id))", apart)
        .await;
    // Texts that are prepared by statements stay in their database's cluster.
    client.ok("PREPARE s FROM 'SELECT COUNT(*) FROM t'").await;
    refused(&mut client, &format!("PREPARE s FROM 'SELECT COUNT(*) FROM {far}.t'"), "text-prepared").await;
    client.ok("PREPARE s FROM 'SELECT COUNT(*) FROM t'").await;
    client.ok("SET @text = 'SELECT 1'").await;
    refused(&mut client, "PREPARE s FROM @text", "text-prepared").await;
    refused(&mut other, &format!("PREPARE s FROM 'INSERT INTO {schema}.t VALUES (9, 9)'"), "text-prepared")
        .await;
    refused(&mut client, &format!("USE {far}"), "DEALLOCATE").await;
    assert_eq!(client.value("EXECUTE s").await.as_deref(), Some("0"));
    client.ok("DEALLOCATE PREPARE s").await;
    client.ok(format!("USE {far}")).await;
    client.ok(format!("USE {schema}")).await;
    // Transactions that begin in a packet, or in a routine.
    let begins = format!("BEGIN; INSERT INTO {far}.t VALUES (7, 'x')");
    let mut packets = stage.raw_with(Login::with(Capabilities::MULTI_STATEMENTS)).await;
    packets.query(begins).await;
    assert_eq!(packets.error("INSERT INTO t VALUES (7, 'x')").await.code, 1235);
    packets.ok("ROLLBACK").await;
    let routine = format!(
        "CREATE PROCEDURE {far}.begins() BEGIN START TRANSACTION; INSERT INTO {far}.t VALUES (8, 'x'); END"
    );
    client.ok(routine).await;
    client.ok(format!("CALL {far}.begins()")).await;
    assert_eq!(client.error("INSERT INTO t VALUES (7, 'x')").await.code, 1235);
    client.ok("ROLLBACK").await;
    for sql in [
        format!("SHOW TABLES FROM {far} WHERE 1 IN (1, 2)"),
        format!("SHOW COLUMNS FROM t FROM {far} WHERE Field IN ('id')"),
    ] {
        assert_eq!(client.select(&*sql).await.rows.len(), 1, "{sql}");
    }
    client.ok(format!("ALTER TABLE {far}.t ADD COLUMN a INT, ADD COLUMN b INT, ADD INDEX (a)")).await;
    client.ok(format!("ALTER TABLE {far}.t DROP COLUMN a, DROP COLUMN b")).await;
    client
        .ok(format!("INSERT INTO {far}.t SELECT 60, 'x' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {far}.t)"))
        .await;
    client.ok(format!("DELETE FROM {far}.t")).await;
    for sql in [
        format!("SELECT * FROM t JOIN {schema}.t AS f ON f.id = t.id"),
        format!("DELETE t FROM t JOIN {schema}.t AS f USING (id)"),
        "SELECT * FROM information_schema.TABLES JOIN t ON TRUE".into(),
    ] {
        refused(&mut other, &sql, apart).await;
    }
    let mut several = stage.raw_with(Login::with(Capabilities::MULTI_STATEMENTS)).await;
    refused(&mut several, &format!("USE {far}; SELECT * FROM t"), "several-statements").await;
    let packets = [
        format!("CREATE DATABASE IF NOT EXISTS {far}; INSERT INTO t VALUES (1, 'a')"),
        format!("INSERT INTO {far}.t VALUES (1, 'a'); CREATE USER homes_nobody"),
        format!("SELECT id FROM {far}.t; SHOW TABLES"),
        format!("SELECT id FROM {far}.t; CALL p()"),
        format!("SELECT id FROM {far}.t; SELECT homes_other.f()"),
    ];
    for packet in packets {
        refused(&mut several, &packet, "several-statements").await;
    }
    let mut outcomes = several.query(format!("SELECT 5; SELECT COUNT(*) FROM {far}.t")).await;
    assert_eq!(outcomes.remove(1).rows().value().as_deref(), Some("0"));
    for client in [&mut client, &mut other, &mut several] {
        assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
    }
}

async fn a_transaction_writes_at_one_home(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, second, far, out } = &homes;
    let mut client = stage.raw().await;
    client.ok("BEGIN").await;
    client.ok(format!("INSERT INTO {far}.t VALUES (1, 'a')")).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*stage.schema));
    assert_eq!(client.error("INSERT INTO t VALUES (1, 'a')").await.code, 1235);
    client.ok(format!("USE {out}")).await;
    client.ok("INSERT INTO t VALUES (2, 'b')").await;
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&**out));
    client.ok(format!("USE {}", stage.schema)).await;
    assert_eq!(
        client.value(format!("SELECT COUNT(*) FROM {far}.t, {out}.t AS o")).await.as_deref(),
        Some("1")
    );
    assert_eq!(Homes::rows(second, &format!("{far}.t")).await, 0, "nothing is committed");
    client.ok("ROLLBACK").await;
    assert_eq!(Homes::rows(second, &format!("{far}.t")).await, 0);
    client.ok("SET autocommit = 0").await;
    client.ok(format!("INSERT INTO {far}.t VALUES (1, 'a')")).await;
    client.ok("SAVEPOINT s").await;
    client.ok(format!("INSERT INTO {out}.t VALUES (1, 'a')")).await;
    client.ok("ROLLBACK TO s").await;
    client.ok("COMMIT").await;
    assert_eq!(Homes::rows(second, &format!("{far}.t")).await, 1);
    assert_eq!(Homes::rows(second, &format!("{out}.t")).await, 0);
    client.ok("SET autocommit = 1").await;
    // A definition commits what is open, wherever that is.
    client.ok("BEGIN").await;
    client.ok(format!("INSERT INTO {far}.t VALUES (2, 'a')")).await;
    client.ok("CREATE TABLE more (id INT)").await;
    client.ok("ROLLBACK").await;
    assert_eq!(Homes::rows(second, &format!("{far}.t")).await, 2);
}

/// The BIGINT at the end of a binary row.
fn number(rows: &ResultSet) -> i64 {
    i64::from_le_bytes(*rows.rows[0].last_chunk().unwrap())
}

async fn statements_that_were_prepared_find_the_home(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, second, far, .. } = &homes;
    let mut client = stage.raw().await;
    let put = client.prepare(&format!("INSERT INTO {far}.t VALUES (?, ?)")).await.unwrap();
    let got = client.prepare(&format!("SELECT text FROM {far}.t WHERE id = ?")).await.unwrap();
    let own = client.prepare("SELECT COUNT(*) FROM t WHERE id > ?").await.unwrap();
    for id in 1..4 {
        client.execute(put, &[Param::Int(id), Param::Text(format!("row {id}").as_bytes())]).await.ok();
        let found = client.execute(got, &[Param::Int(id)]).await.rows();
        assert!(found.rows[0].ends_with(format!("row {id}").as_bytes()), "{:?}", found.rows);
        let none = client.execute(own, &[Param::Int(id)]).await.rows();
        assert_eq!(number(&none), 0);
    }
    assert_eq!(Homes::rows(second, &format!("{far}.t")).await, 3);
    // The database is that of the time when it was prepared.
    client.ok(format!("USE {far}")).await;
    let here = client.prepare("SELECT COUNT(*) FROM t WHERE id > ?").await.unwrap();
    assert_eq!(number(&client.execute(here, &[Param::Int(1)]).await.rows()), 2);
    assert_eq!(number(&client.execute(own, &[Param::Int(0)]).await.rows()), 0);
    let used = client.prepare(&format!("USE {}", stage.schema)).await;
    if let Ok(used) = used {
        client.execute(used, &[]).await.ok();
        assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
        assert_eq!(number(&client.execute(here, &[Param::Int(1)]).await.rows()), 2);
    }
    let error = client.prepare(&format!("SELECT * FROM {far}.t, {}.t AS o", stage.schema)).await.unwrap_err();
    assert!(String::from_utf8_lossy(&error.message).contains("homes-apart"), "{error}");
}

async fn the_dictionary_tells_of_all_homes(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, far, out, .. } = &homes;
    let schema = &stage.schema;
    let (mut client, mut other) = (stage.raw().await, homes.to(far).await);
    let mut direct =
        RawClient::login(homes.second.address(0), &Login { database: Some(far.clone()), ..Login::default() })
            .await
            .unwrap();
    other
        .ok("CREATE TABLE more (id INT AUTO_INCREMENT PRIMARY KEY, t_id INT, KEY (t_id), CHECK (t_id > 0))")
        .await;
    other.ok("CREATE VIEW v AS SELECT id FROM t").await;
    other.ok("CREATE PROCEDURE p(a INT) SELECT a").await;
    for client in [&mut client, &mut other] {
        let rows = client.select("SHOW DATABASES").await.texts();
        for name in [schema, far, out] {
            let found = rows.iter().filter(|row| row[0].as_ref() == Some(name)).count();
            assert_eq!(found, 1, "{name} in {rows:?}");
        }
        let tables = format!(
            "SELECT GROUP_CONCAT(table_name ORDER BY table_name) FROM information_schema.tables WHERE table_schema = '{far}'"
        );
        assert_eq!(client.value(tables).await.as_deref(), Some("more,t,v"));
        let routines =
            format!("SELECT routine_name FROM information_schema.routines WHERE routine_schema = '{far}'");
        assert_eq!(client.value(routines).await.as_deref(), Some("p"));
        let counted = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ";
        assert_eq!(client.value(format!("{counted}'{far}'")).await.as_deref(), Some("5"));
        assert_eq!(client.value(format!("{counted}'{schema}'")).await.as_deref(), Some("3"));
        for (sql, found) in [
            (format!("SHOW TABLES FROM {far}"), 3),
            (format!("SHOW TABLES FROM {schema}"), 2),
            (format!("SHOW COLUMNS FROM more FROM {far}"), 2),
            (format!("DESCRIBE {far}.more"), 2),
            (format!("SHOW CREATE DATABASE {far}"), 1),
            (format!("SHOW CREATE TABLE {far}.more"), 1),
            (format!("SHOW TABLE STATUS IN {far} LIKE 'mo%'"), 1),
            (format!("SHOW INDEX FROM {far}.more"), 2),
        ] {
            assert_eq!(client.select(&*sql).await.rows.len(), found, "{sql}");
        }
    }
    // In the words of the server that has it.
    let none = Names::default();
    for sql in [
        "SHOW TABLES",
        "SHOW FULL TABLES LIKE 'm%'",
        "SHOW CREATE TABLE more",
        "SHOW FULL COLUMNS FROM more",
        "SHOW CREATE VIEW v",
        "DESC t",
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2",
        "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = SCHEMA() AND table_name = 'more'",
        "SELECT constraint_type FROM information_schema.table_constraints WHERE constraint_schema = DATABASE() AND table_name = 'more' ORDER BY 1",
    ] {
        let told = |outcomes: Vec<Outcome>| match outcomes.into_iter().next() {
            Some(Outcome::Rows(rows)) => format!("{:?}", rows.texts()),
            other => tell(other.expect("an answer"), &none),
        };
        assert_eq!(told(other.query(sql).await), told(direct.query(sql).await), "{sql}");
    }
    let fields = (other.fields(b"more\0").await, direct.fields(b"more\0").await);
    assert_eq!(fields.0, fields.1);
    let here = other
        .select("SELECT DATABASE(), COUNT(*) FROM information_schema.schemata WHERE schema_name = DATABASE()")
        .await;
    assert_eq!(here.texts()[0], [Some(far.clone()), Some("1".to_owned())]);
}

async fn a_database_is_made_and_dropped_at_its_home(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, second, far, .. } = &homes;
    let mut client = stage.raw_with(Login::account("admin", "admin-pw")).await;
    client.ok(format!("DROP DATABASE {far}")).await;
    let there = format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{far}'");
    let count = async |cluster: &Cluster| -> u64 {
        cluster.root(0).await.query_first(&*there).await.unwrap().unwrap()
    };
    assert_eq!((count(second).await, count(&stage.cluster).await), (0, 0));
    assert_eq!(client.error(format!("USE {far}")).await.code, 1049);
    client.ok(format!("CREATE DATABASE IF NOT EXISTS {far} CHARACTER SET latin1")).await;
    assert_eq!((count(second).await, count(&stage.cluster).await), (1, 0));
    client.ok(format!("ALTER DATABASE {far} CHARACTER SET utf8mb4")).await;
    client.ok(format!("USE {far}")).await;
    client.ok("CREATE TABLE t (id INT)").await;
    client.ok("ALTER DATABASE CHARACTER SET latin1").await;
    client.ok(format!("DROP DATABASE {far}")).await;
    assert_eq!(client.value("SELECT DATABASE()").await, None);
    assert_eq!(client.error("SELECT * FROM t").await.code, 1046);
    client.ok(format!("USE {}", stage.schema)).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
    // Accounts are the default cluster's, whatever the default database is.
    let out = &homes.out;
    client.ok(format!("USE {out}")).await;
    client.ok("CREATE USER homes_u IDENTIFIED BY 'homes-pw'").await;
    let users = "SELECT COUNT(*) FROM mysql.user WHERE user = 'homes_u'";
    let known: Option<u64> = stage.cluster.root(0).await.query_first(users).await.unwrap();
    assert_eq!(known, Some(1));
    client.ok("DROP USER homes_u").await;
}

async fn sharded_tables_of_a_database_elsewhere(scenario: Scenario) {
    let schema = scenario.schema();
    let far = format!("{schema}_far");
    let keyspace = format!(
        "    keyspaces:\n      customer:\n        method: mod\n        key_type: integer\n        slots: 2\n        shards:\n          \
         s0: {{cluster: main, schema: {far}_0, slots: 0-0}}\n          s1: {{cluster: second, schema: {far}_1, slots: 1-1}}\n        \
         tables:\n          customers: id\n    reference_tables: [countries]\n    transactions: best_effort\n"
    );
    let homes = Homes::with(scenario, &keyspace).await;
    let main = Cluster::shared(scenario.dialect);
    for (cluster, shard) in [(&main, format!("{far}_0")), (&homes.second, format!("{far}_1"))] {
        for sql in [format!("DROP DATABASE IF EXISTS {shard}"), format!("CREATE DATABASE {shard}")] {
            cluster.run(0, &[&sql]).await;
        }
    }
    main.run(0, &[super::definitions::GRANT]).await;
    let mut client = homes.to(&far).await;
    client.ok("CREATE TABLE customers (id BIGINT PRIMARY KEY, text VARCHAR(20))").await;
    client.ok("CREATE TABLE countries (id INT PRIMARY KEY, name VARCHAR(20))").await;
    client.ok("INSERT INTO customers VALUES (1, 'odd'), (2, 'even')").await;
    client.ok("INSERT INTO countries VALUES (1, 'here')").await;
    client.ok("INSERT INTO t VALUES (1, 'home')").await;
    let mut other = homes.stage.raw().await;
    other.ok(format!("INSERT INTO {far}.countries VALUES (2, 'there')")).await;
    for (client, prefix) in [(&mut client, String::new()), (&mut other, format!("{far}."))] {
        for (sql, value) in [
            (format!("SELECT GROUP_CONCAT(text ORDER BY id) FROM {prefix}customers"), "odd,even"),
            (format!("SELECT text FROM {prefix}customers WHERE id = 2"), "even"),
            (
                format!(
                    "SELECT name FROM {prefix}customers c JOIN {prefix}countries n ON n.id = c.id WHERE c.id = 2"
                ),
                "there",
            ),
            (format!("SELECT COUNT(*) FROM {prefix}countries n JOIN {prefix}t h ON h.id = n.id"), "1"),
            (format!("SELECT COUNT(*) FROM {prefix}countries"), "2"),
            (format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{far}'"), "3"),
        ] {
            assert_eq!(client.value(&*sql).await.as_deref(), Some(value), "{sql}");
        }
    }
    assert_eq!(client.select("SHOW TABLES").await.rows.len(), 3);
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*far));
    client.ok("BEGIN").await;
    client.ok("UPDATE t SET text = 'x' WHERE id = 1").await;
    client.ok("UPDATE customers SET text = 'x' WHERE id IN (1)").await;
    client.ok("UPDATE customers SET text = 'x' WHERE id = 2").await;
    client.ok("COMMIT").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM customers WHERE text = 'x'").await.as_deref(), Some("2"));
    client.ok("ALTER TABLE customers ADD COLUMN n INT DEFAULT 5").await;
    client.ok("ALTER TABLE countries ADD COLUMN n INT DEFAULT 5").await;
    assert_eq!(client.value("SELECT SUM(n) FROM customers").await.as_deref(), Some("10"));
    assert_eq!(client.value("SELECT SUM(n) FROM countries").await.as_deref(), Some("10"));
    client.select("ANALYZE TABLE customers, countries, t").await;
    client.ok("DROP TABLE customers").await;
    client.ok("DROP TABLE countries").await;
    assert_eq!(client.select("SHOW TABLES").await.rows.len(), 1);
}

/// What a statement at another database's home leaves: ids, warnings, temporary tables, cursors, variables, files.
async fn what_statements_leave_goes_along(scenario: Scenario) {
    let homes = Homes::new(scenario).await;
    let Homes { stage, second, far, .. } = &homes;
    let login = Login::with(Capabilities::LOCAL_FILES | Capabilities::MULTI_STATEMENTS);
    let mut client = stage.raw_with(login).await;
    client.ok(format!("CREATE TABLE {far}.made (id INT PRIMARY KEY AUTO_INCREMENT, n TINYINT)")).await;
    assert_eq!(client.ok(format!("INSERT INTO {far}.made (n) VALUES (1), (2)")).await.insert_id, 1);
    assert_eq!(client.value("SELECT LAST_INSERT_ID()").await.as_deref(), Some("1"));
    client.ok(format!("INSERT INTO {far}.made (id, n) VALUES (LAST_INSERT_ID() + 9, 3)")).await;
    assert_eq!(client.ok(format!("INSERT IGNORE INTO {far}.made (n) VALUES (1000)")).await.warnings, 1);
    assert_eq!(client.select("SHOW WARNINGS").await.texts()[0][1].as_deref(), Some("1264"));
    assert_eq!(client.ok(format!("UPDATE {far}.made SET n = 5 WHERE n > 1")).await.affected_rows, 3);
    assert_eq!(client.value("SELECT ROW_COUNT()").await.as_deref(), Some("3"));
    client.ok(format!("UPDATE {far}.made SET n = 6 WHERE n = 5")).await;
    assert_eq!(client.value("SELECT ROW_COUNT() + 1").await.as_deref(), Some("4"));
    client.select(format!("SELECT SQL_CALC_FOUND_ROWS id FROM {far}.made LIMIT 1")).await;
    assert_eq!(client.value("SELECT FOUND_ROWS()").await.as_deref(), Some("4"));
    assert_eq!(client.error(format!("INSERT INTO {far}.made (id) VALUES (1)")).await.code, 1062);
    assert_eq!(client.select("SHOW ERRORS").await.texts()[0][1].as_deref(), Some("1062"));

    client.ok(format!("SELECT n INTO @n FROM {far}.made WHERE id = 2")).await;
    client.ok("INSERT INTO t VALUES (@n, 'five')").await;
    assert_eq!(
        client.value(format!("SELECT COUNT(*) FROM {far}.made WHERE n = @n")).await.as_deref(),
        Some("3")
    );

    client.ok(format!("CREATE TEMPORARY TABLE {far}.tmp (id INT)")).await;
    client.ok(format!("INSERT INTO {far}.tmp VALUES (1)")).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    assert_eq!(client.value(format!("SELECT COUNT(*) FROM {far}.tmp")).await.as_deref(), Some("1"));
    client.ok(format!("DROP TEMPORARY TABLE {far}.tmp")).await;

    let all = client.prepare(format!("SELECT id FROM {far}.made ORDER BY id")).await.unwrap();
    client.send_execute(all, 1, &[], true).await; // a read only cursor
    assert_eq!(client.read().await, [1], "one column");
    client.read().await;
    assert!(client.rows(vec![]).await.rows().rows.is_empty());
    let mut found = Vec::new();
    for _ in 0..2 {
        assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
        let fetch = [&all.id.to_le_bytes()[..], &2u32.to_le_bytes()].concat();
        client.command(com::STMT_FETCH, &fetch).await;
        found.extend(client.rows(vec![]).await.rows().rows);
    }
    assert_eq!(found.len(), 4, "{found:?}");
    let put = client.prepare(format!("UPDATE {far}.t SET text = ? WHERE id = ?")).await.unwrap();
    client.ok(format!("INSERT INTO {far}.t VALUES (1, '')")).await;
    for piece in [&b"long "[..], b"text"] {
        let head = [&put.id.to_le_bytes()[..], &[0, 0]].concat();
        client.command(com::STMT_SEND_LONG_DATA, &[&head[..], piece].concat()).await;
    }
    client.execute(put, &[Param::Sent, Param::Int(1)]).await.ok();

    let file = super::loading::load(
        &mut client,
        &format!("LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE {far}.t"),
        b"2\ttwo\n3\tthree\n",
    )
    .await;
    assert_eq!(file.ok().affected_rows, 2);
    assert_eq!(Homes::rows(second, &format!("{far}.t WHERE text IN ('two', 'three', 'long text')")).await, 3);
    if !scenario.is_mysql() {
        client.ok(format!("SET STATEMENT sql_mode = '' FOR INSERT INTO {far}.made (n) VALUES (1000)")).await;
    }
    let mut outcomes =
        client.query(format!("SELECT 1; DELETE FROM {far}.t; SELECT COUNT(*) FROM {far}.t")).await;
    assert_eq!(outcomes.remove(2).rows().value().as_deref(), Some("0"));
    assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*stage.schema));
}
