//! LOAD DATA LOCAL INFILE into sharded tables: told as one server tells of it, each row in the shard of its key, and everywhere or nowhere.

use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;

use super::writes::{ids, same_rows};
use super::{Split, TABLES, rules, tell};
use crate::harness::{Cluster, Login, Outcome, RawClient, Scenario};

both_dialects! {
    rows_of_a_file_go_to_their_shards,
    a_file_that_fails_leaves_nothing_anywhere,
    a_client_that_goes_in_the_middle_leaves_nothing,
    a_file_of_a_hundred_thousand_rows,
    what_a_long_row_takes_is_bounded,
    a_file_for_a_reference_table_goes_to_all_copies,
    ids_that_servers_make_are_one_servers,
    a_file_can_be_killed_and_the_session_goes_on,
    rows_that_warn_of_more_than_a_server_keeps_are_loaded,
    fields_of_a_file_go_into_user_variables_and_set_computes_columns,
}

/// A session at Tidegate and one on the server that holds all, which send files.
pub(super) async fn both(split: &Split) -> (RawClient, RawClient) {
    let login = Login::with(Capabilities::LOCAL_FILES);
    let client = split.stage.raw_with(login.clone()).await;
    let login = Login { database: Some(split.whole.clone()), ..login };
    let direct = RawClient::login(split.stage.cluster.address(0), &login).await.expect("the login works");
    (client, direct)
}

/// Sends the statement, and the file where it is asked for.
pub(super) async fn load(client: &mut RawClient, sql: &str, file: &[u8]) -> Outcome {
    client.send_query(sql).await;
    let asked = client.outcome().await;
    let Outcome::File(name) = asked else { return asked };
    assert_eq!(name, "it's rows.csv");
    for piece in file.chunks(300_000) {
        client.send_numbered(piece).await;
    }
    client.send_numbered(b"").await;
    client.outcome().await
}

/// Loads a file on both; the answers are the same, and so are warnings and rows.
pub(super) async fn same(
    split: &Split,
    client: &mut RawClient,
    direct: &mut RawClient,
    sql: &str,
    file: &[u8],
) {
    let own = split.names();
    let sql = sql.replace("FILE", "LOCAL INFILE 'it\\'s rows.csv'");
    let (ours, theirs) = (load(client, &sql, file).await, load(direct, &sql, file).await);
    assert_eq!(tell(ours, &own), tell(theirs, &own), "{sql}: {}", file.escape_ascii());
    let warnings = async |client: &mut RawClient| {
        // MariaDB names the schema.
        let plain = |text: String| {
            ["_0", "_1", "_w"].iter().fold(text, |text, end| text.replace(&format!("{end}`.`"), "`.`"))
        };
        let rows = client.select("SHOW WARNINGS").await.texts().into_iter();
        let mut rows: Vec<Vec<_>> = rows.map(|row| row.into_iter().flatten().map(plain).collect()).collect();
        rows.sort();
        rows
    };
    assert_eq!(warnings(client).await, warnings(direct).await, "{sql}: {}", file.escape_ascii());
    split.same(client, direct, "SELECT LAST_INSERT_ID()").await;
    same_rows(split, client, direct).await;
}

async fn rows_of_a_file_go_to_their_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    for (sql, file) in [
        (
            "LOAD DATA FILE INTO TABLE customers (id, name, score)",
            &b"1\ta\t1\n2\tb\t2\n3\tc\t3\n4\t\\N\t\\N"[..],
        ),
        // Keys that are there are passed over, rows too short and too long are taken.
        (
            "LOAD DATA FILE INTO TABLE customers (id, name, score)",
            b"1\tagain\t1\n5\n6\tlong\t6\tmore\tmore\n2\tx\ty\n",
        ),
        ("LOAD DATA FILE REPLACE INTO TABLE customers (id, name, score)", b"1\tagain\t1\n7\tg\t7\n6\tf\t6\n"),
        ("LOAD DATA FILE IGNORE INTO TABLE customers (name, id)", b"h\t8\nh\t8\ng\t7\n"),
        ("LOAD DATA FILE INTO TABLE customers (id, name, score)", b""),
        (
            "LOAD DATA FILE INTO TABLE customers FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' \
             LINES TERMINATED BY '\\r\\n' IGNORE 2 LINES (score, name, id)",
            b"score,name,id\r\n,,\r\n1,\"a, \"\"b\"\"\r\n\",11\r\n2,\"b\\\",12\",\"12\"\r\nNULL,NULL,13\r\n",
        ),
        (
            "LOAD DATA FILE INTO TABLE orders (customer_id, id, total)",
            b"1\t1\t1.5\n2\t1\tx\n1\t2\t99999999999\n",
        ),
        (
            "LOAD DATA FILE INTO TABLE customers CHARACTER SET latin1 (id, name)",
            b"20\tgr\xfc\xdfe\n21\t\xe9\n",
        ),
        (
            "LOAD DATA FILE INTO TABLE customers (id, name)",
            b"22\tgr\xc3\xbc\xc3\x9fe\n23\t\xf0\x9f\x8c\x8a\n",
        ),
        ("LOAD DATA FILE INTO TABLE customers (id, missing)", b"30\tx\n31\ty\n"),
        ("LOAD DATA FILE INTO TABLE customers", b"32\twithout\t1\n33\ta list\t2\textra\n"),
    ] {
        same(&split, &mut client, &mut direct, sql, file).await;
    }
    assert_eq!(ids(&split, 0).await, [2, 4, 6, 8, 12, 20, 22, 32]);
    assert_eq!(ids(&split, 1).await, [1, 3, 5, 7, 11, 13, 21, 23, 33]);
}

async fn a_file_that_fails_leaves_nothing_anywhere(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, _direct) = both(&split).await;
    // A trigger is the only error that a LOCAL file's row can make.
    let trigger = format!(
        "CREATE TRIGGER {0}_1.t BEFORE INSERT ON {0}_1.customers FOR EACH ROW \
         IF NEW.id = 801 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one', MYSQL_ERRNO = 1644; END IF",
        split.stage.schema
    );
    split.second.run(0, &[&trigger]).await;
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE customers (id, name)";
    let rows = |last: &str| {
        let rows: String = (1..5000).map(|id| format!("{id}\tname\n")).collect();
        format!("{rows}{last}").into_bytes()
    };
    let refused = load(&mut client, sql, &rows("")).await.err();
    assert_eq!((refused.code, &*refused.message), (1644, &b"not this one"[..]), "{refused}");
    split.second.run(0, &[&format!("DROP TRIGGER {}_1.t", split.stage.schema)]).await;
    for (last, code, words) in [
        ("x\ty\n", 1235, "The key of row 5000 of the file is not a plain number (doubtful-key)"),
        ("\n", 1235, "The key of row 5000 of the file is not a plain number (doubtful-key)"),
        ("\\N\ty\n", 1048, "The key of row 5000 of the file is NULL (null-key)"),
        ("18446744073709551614\tx\n", 1235, "a key that does not fit its column"),
    ] {
        let error = load(&mut client, sql, &rows(last)).await.err();
        assert_eq!(error.code, code, "{error}");
        assert!(String::from_utf8_lossy(&error.message).contains(words), "{error}");
        assert_eq!(client.value("SELECT COUNT(*) FROM customers").await.as_deref(), Some("0"), "{last}");
        assert_eq!((ids(&split, 0).await, ids(&split, 1).await), (vec![], vec![]), "{last}");
    }
    assert_eq!(load(&mut client, sql, &rows("")).await.ok().affected_rows, 4999);
}

async fn a_client_that_goes_in_the_middle_leaves_nothing(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, _direct) = both(&split).await;
    client.send_query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers (id, name)").await;
    assert!(matches!(client.outcome().await, Outcome::File(_)));
    let rows: String = (1..20_000).map(|id| format!("{id}\tname\n")).collect();
    client.send_numbered(rows.as_bytes()).await;
    let dirty = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM {}_1.customers WHERE id < 100 LIMIT 1) rows_seen",
        split.stage.schema
    );
    // Rows are there for those who read what is not committed.
    let mut root = split.second.root(0).await;
    root.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await.unwrap();
    let mut pace = crate::harness::pace();
    crate::harness::within("rows come to the shard", async {
        while root.query_first::<u64, _>(&dirty).await.unwrap() == Some(0) {
            pace.tick().await;
        }
    })
    .await;
    drop(client);
    crate::harness::within("they are gone", async {
        while root.query_first::<u64, _>(&dirty).await.unwrap() != Some(0) {
            pace.tick().await;
        }
    })
    .await;
    let open = "SELECT COUNT(*) FROM information_schema.innodb_trx";
    split.second.until_number(0, "no transaction is open", open, |open| open == 0).await;
    assert_eq!((ids(&split, 0).await, ids(&split, 1).await), (vec![], vec![]));
}

async fn a_file_of_a_hundred_thousand_rows(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    let rows: String = (1..=100_000).map(|id| format!("{id}\tname {id}\t{}\n", id % 7)).collect();
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE customers (id, name, score)";
    for _ in 0..2 {
        let own = split.names();
        let ours = load(&mut client, sql, rows.as_bytes()).await;
        let theirs = load(&mut direct, sql, rows.as_bytes()).await;
        assert_eq!(tell(ours, &own), tell(theirs, &own));
    }
    split
        .same(&mut client, &mut direct, "SELECT COUNT(*), SUM(id), SUM(score), MAX(id) FROM customers")
        .await;
    assert_eq!((ids(&split, 0).await.len(), ids(&split, 1).await.len()), (50_000, 50_000));
}

/// Rows are cut at any place of the client's packets, and are found up to the longest that may be.
async fn what_a_long_row_takes_is_bounded(scenario: Scenario) {
    let limits = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.limits = "{packet: 16MiB, packet_memory: 48MiB}".into();
        rules
    };
    let split = Split::of(scenario, Cluster::alone(scenario.dialect), &TABLES, limits).await;
    let mut client = both(&split).await.0;
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' IGNORE INTO TABLE customers (id, name, score)";
    let long = |id: u32, length: usize| format!("{id}\t{}\t1\n", "n".repeat(length));
    // Too long for the column: all that is seen is that the row has arrived.
    let rows = [long(1, 11 << 20), long(2, 9 << 20), "3\tc\t3\n".into()].concat();
    load(&mut client, sql, rows.as_bytes()).await.ok();
    assert_eq!(client.value("SELECT COUNT(*) FROM customers").await.unwrap(), "3");
    client.ok("DELETE FROM customers WHERE id IN (1, 2, 3)").await;
    let rows = ["4\td\t4\n".into(), long(5, 17 << 20)].concat();
    let error = load(&mut client, sql, rows.as_bytes()).await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("Row 2 of the file is too long"), "{error}");
    assert_eq!(client.value("SELECT COUNT(*) FROM customers").await.unwrap(), "0");
    // Of three copies a row is kept four times.
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' IGNORE INTO TABLE countries (id, name)";
    let error = load(&mut client, sql, format!("1\t{}\n", "n".repeat(14 << 20)).as_bytes()).await.err();
    assert_eq!(error.code, 1041, "{error}");
    assert_eq!(client.value("SELECT COUNT(*) FROM countries").await.unwrap(), "0");
}

/// The rows of each copy: at home, on both shards, and on the one server that has everything.
async fn copies(split: &Split) -> Vec<Vec<(i64, Option<String>)>> {
    let schema = &split.stage.schema;
    let mut copies = Vec::new();
    for (cluster, schema) in [
        (&split.stage.cluster, schema.clone()),
        (&split.stage.cluster, format!("{schema}_0")),
        (&split.second, format!("{schema}_1")),
        (&split.stage.cluster, split.whole.clone()),
    ] {
        let sql = format!("SELECT id, name FROM {schema}.countries ORDER BY id");
        copies.push(cluster.root(0).await.query(sql).await.unwrap());
    }
    copies
}

async fn a_file_for_a_reference_table_goes_to_all_copies(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    for (sql, file) in [
        ("LOAD DATA FILE INTO TABLE countries (id, name)", &b"1\tNorway\n2\tPeru\n3\tPeru\n"[..]),
        ("LOAD DATA FILE REPLACE INTO TABLE countries (id, name)", b"1\tMali\n4\tMali\n5\t\\N\n"),
        (
            "LOAD DATA FILE INTO TABLE countries FIELDS TERMINATED BY ',' IGNORE 1 LINES (name, id)",
            b"name,id\nx\\,y,6\n",
        ),
    ] {
        same(&split, &mut client, &mut direct, sql, file).await;
        let copies = copies(&split).await;
        assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    }
    let rows: String = (100..2000).map(|id| format!("{id}\tname {id}\n")).collect();
    same(&split, &mut client, &mut direct, "LOAD DATA FILE INTO TABLE countries (id, name)", rows.as_bytes())
        .await;
    let copies = copies(&split).await;
    assert!(copies[0].len() > 1900 && copies.iter().all(|copy| *copy == copies[0]));
}

async fn ids_that_servers_make_are_one_servers(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    let sql = "LOAD DATA FILE INTO TABLE tickets (customer_id, text)";
    let rows: String = (0..1200).map(|row| format!("3\trow{row}\n")).collect();
    same(&split, &mut client, &mut direct, sql, rows.as_bytes()).await;
    assert_eq!(client.value("SELECT LAST_INSERT_ID()").await.as_deref(), Some("1"));
    let sql = sql.replace("FILE", "LOCAL INFILE 'it\\'s rows.csv'");
    let error = load(&mut client, &sql, b"3\ta\n4\tb\n").await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("AUTO_INCREMENT"), "{error}");
    let count = "SELECT COUNT(*) FROM tickets";
    split.same(&mut client, &mut direct, count).await;
    // Given ids may be of any shard.
    let sql = "LOAD DATA FILE INTO TABLE tickets (id, customer_id, text)";
    same(&split, &mut client, &mut direct, sql, b"5000\t3\ta\n5001\t4\tb\n").await;
    split.same(&mut client, &mut direct, count).await;
}

async fn rows_that_warn_of_more_than_a_server_keeps_are_loaded(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE customers (id, name, score)";
    // Three of each row, in some places; then few.
    let row = |id: i64| match id % 4000 {
        0..2500 => format!("{id}\t{}\tx\tmore\n", "long ".repeat(12)),
        _ => format!("{id}\tname\t1\n"),
    };
    let rows: String = (1..=8000).map(row).collect();
    let own = split.names();
    let (ours, theirs) =
        (load(&mut client, sql, rows.as_bytes()).await, load(&mut direct, sql, rows.as_bytes()).await);
    assert_eq!(tell(ours, &own), tell(theirs, &own));
    same_rows(&split, &mut client, &mut direct).await;
    // A key among them that does not fit is found, and where.
    client.ok("DELETE FROM customers WHERE id IN (1, 2)").await;
    let rows: String = (9000..9999)
        .map(row)
        .chain([row(i64::MAX).replace("9223372036854775807", "18446744073709551614")])
        .collect();
    let error = load(&mut client, sql, rows.as_bytes()).await.err();
    let message = String::from_utf8_lossy(&error.message).into_owned();
    assert!(
        message.contains("a key that does not fit its column") && message.contains(" 1000 the file"),
        "{message}"
    );
    assert_eq!(client.value("SELECT COUNT(*) FROM customers WHERE id >= 9000").await.as_deref(), Some("0"));
}

async fn fields_of_a_file_go_into_user_variables_and_set_computes_columns(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    split.same(&mut client, &mut direct, "SET @plus = 100, @x = 'before'").await;
    let many: String = (1000..2600).map(|id| format!("{id}\t{}\tn\n", id % 7)).collect();
    for (sql, file) in [
        (
            "LOAD DATA FILE INTO TABLE customers (id, @x, name) SET score = @x * 2",
            &b"1\t5\ta\n2\t\\N\tb\n3\tx\tc\n4\t7\td\textra\n"[..],
        ),
        ("LOAD DATA FILE INTO TABLE customers (id, @x, name) SET score = @x + 1", b""),
        // A short row leaves NULL.
        ("LOAD DATA FILE INTO TABLE customers (id, name, @x) SET score = @x", b"11\ta\t1\n12\tb\n"),
        (
            "LOAD DATA FILE REPLACE INTO TABLE customers FIELDS TERMINATED BY ',' IGNORE 1 LINES (@skip, id, @`a name`, @skip) \
             SET name = CONCAT(UPPER(@`a name`), '-, SET', id), score = IF(@skip = '', NULL, @skip)",
            b"a,b,c,d\n1,1,one,5\n2,2,two,\n9,9,nine,99\n",
        ),
        (
            "LOAD DATA FILE INTO TABLE customers (id, score) SET score = score + @plus, `NAME` = 'x'",
            b"21\t1\n22\t2\n",
        ),
        (
            "LOAD DATA FILE INTO TABLE customers SET name = CONCAT(name, '!'), score = DEFAULT",
            b"31\ta\t1\n32\tb\t2\n",
        ),
        (
            "LOAD DATA FILE INTO TABLE orders (@x, customer_id, @y, @z) SET id = @y % 10, total = (@y + 1) / 4",
            b"a\t1\t15\tq\nb\t2\t16\n",
        ),
        ("LOAD DATA FILE INTO TABLE customers (id, @x, name) SET score = NULLIF(@x, '3')", many.as_bytes()),
        ("LOAD DATA FILE INTO TABLE countries (id, @x) SET name = LOWER(@x)", b"1\tPeru\n2\tMALI\n"),
    ] {
        same(&split, &mut client, &mut direct, sql, file).await;
        // What the last row of the file has left, at whatever shard that is.
        for question in
            ["SELECT @x, @`a name`, @skip, @y, @z, @plus", "SELECT id, name FROM countries ORDER BY id"]
        {
            split.same(&mut client, &mut direct, question).await;
        }
        let here = client.select("SELECT id, @x FROM customers WHERE id IN (1, 2) ORDER BY id").await.texts();
        let there =
            direct.select("SELECT id, @x FROM customers WHERE id IN (1, 2) ORDER BY id").await.texts();
        assert_eq!(here, there, "{sql}");
    }
    let copies = copies(&split).await;
    assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    // They are the session's own.
    for _ in 0..4 {
        let mut other = split.stage.raw().await;
        for id in 1..=2 {
            let seen = other.select(format!("SELECT @x, @z FROM customers WHERE id = {id}")).await.texts();
            assert_eq!(seen, [[None, None]]);
        }
    }
    for tail in [
        "(id, name) SET id = 5",
        "(id, @x) SET name = @x, `ID` = id",
        "(id, @x) SET name = @n := @x",
        "(id, @x) SET name = (SELECT @x)",
        "(id, @x) SET name = unknown(@x)",
        "(id, @x) SET score = CONNECTION_ID()",
        "(id, @x) SET score = @@server_id",
        "(id, @x) SET customers.name = @x",
        "(id, @x) SET name = customers.score",
        "(id, @x) SET name = USER()",
    ] {
        let sql = format!("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers {tail}");
        let error = client.error(&sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains("(load)"), "{sql}: {error}");
    }
    let error =
        client.error("LOAD DATA LOCAL INFILE 'rows' INTO TABLE countries (id) SET name = UUID()").await;
    assert!(String::from_utf8_lossy(&error.message).contains("(load)"), "{error}");
    // A value that is too long to go along.
    let long = format!("901\t{}\n", "x".repeat(200_000));
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE customers (id, @x) SET score = LENGTH(@x)";
    let error = load(&mut client, sql, long.as_bytes()).await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("too long to be kept"), "{error}");
    assert_eq!(client.value("SELECT COUNT(*) FROM customers WHERE id = 901").await.as_deref(), Some("0"));
    let file = [long.as_bytes(), b"902\tshort\n"].concat();
    assert_eq!(load(&mut client, sql, &file).await.ok().affected_rows, 2);
    assert_eq!(client.value("SELECT @x").await.as_deref(), Some("short"));
}

async fn a_file_can_be_killed_and_the_session_goes_on(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    client.send_query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers (id, name)").await;
    assert!(matches!(client.outcome().await, Outcome::File(_)));
    client.send_numbered(b"1\tone\n2\ttwo\n").await;
    let mut killer = split.stage.raw().await;
    killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    client.send_numbered(b"3\tthree\n").await;
    client.send_numbered(b"").await;
    let error = client.outcome().await.err();
    assert_eq!(error.code, 1317, "{error}");
    same_rows(&split, &mut client, &mut direct).await;
    // What is not carried out says so before a file is asked for.
    for (sql, name) in [
        ("LOAD DATA INFILE 'rows' INTO TABLE customers (id)", "(load)"),
        ("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers (name)", "(missing-key)"),
        ("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers CHARACTER SET gbk (id)", "(load)"),
    ] {
        let error = client.error(sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains(name), "{sql}: {error}");
    }
    assert_eq!(
        client.prepare("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers (id)").await.unwrap_err().code,
        1295
    );
    // A client that sends no files is not asked for one.
    let mut without = split.stage.raw().await;
    let error = without.error("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers (id)").await;
    assert!([3948, 4166].contains(&error.code), "{error}");
    assert_eq!(client.value("SELECT COUNT(*) FROM customers").await.as_deref(), Some("0"));
}
