//! The SQL console: what it shows of real sessions, KILL, and who gets in.

use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Login, PATIENCE, RawClient, Rules, Scenario, Stage, pace, within};
use crate::kill::{endless, until_running};

both_dialects! {
    pins_are_shown_with_their_cause_until_it_ends,
    sessions_are_shown_at_what_they_do,
    statements_are_counted_by_digest,
    servers_pools_and_variables_are_shown,
    kill_ends_statements_and_sessions,
    only_operators_get_in,
    what_clients_send_at_connect_is_answered,
    what_is_not_known_is_refused_by_name,
    bytes_of_other_protocols_are_sent_away,
    without_an_account_there_is_no_console,
}

pub fn operator() -> Login {
    Login { database: Some("tidegate".into()), ..Login::account("operator", "operator-pw") }
}

pub async fn console(stage: &Stage) -> RawClient {
    RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in")
}

/// The rows of a statement as `column=value` texts; NULL is `column=NULL`.
pub async fn rows(console: &mut RawClient, sql: &str) -> Vec<Vec<String>> {
    let found = console.select(sql).await;
    let names: Vec<_> = (0..found.columns.len()).map(|column| found.name(column)).collect();
    let row = |row: Vec<Option<String>>| {
        let cells = names.iter().zip(row);
        cells.map(|(name, cell)| format!("{name}={}", cell.unwrap_or_else(|| "NULL".into()))).collect()
    };
    found.texts().into_iter().map(row).collect()
}

/// The only row.
pub async fn row(console: &mut RawClient, sql: &str) -> Vec<String> {
    let mut found = rows(console, sql).await;
    assert_eq!(found.len(), 1, "{sql}: {found:?}");
    found.remove(0)
}

/// Waits until the rows of a statement are as they should: what is shown and counted of a session is written when its client has
/// the answer already.
async fn until_rows(console: &mut RawClient, sql: &str, wanted: impl Fn(&[Vec<String>]) -> bool) {
    let (mut found, mut pace) = (Vec::new(), pace());
    let asking = async {
        loop {
            pace.tick().await;
            found = rows(console, sql).await;
            if wanted(&found) {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, asking).await;
    assert!(in_time.is_ok(), "{sql}: waited in vain: {found:?}");
}

/// Waits until there is one row, and it has these cells.
async fn until_row(console: &mut RawClient, sql: &str, cells: &[&str]) {
    until_rows(console, sql, |rows| matches!(rows, [row] if lacks(row, cells).is_none())).await;
}

fn lacks<'a>(row: &[String], cells: &[&'a str]) -> Option<&'a str> {
    cells.iter().copied().find(|cell| !row.iter().any(|found| found == cell))
}

pub fn has(row: &[String], cells: &[&str]) {
    assert_eq!(lacks(row, cells), None, "not in {row:?}");
}

pub fn address(stage: &Stage, server: usize) -> String {
    let server = &stage.cluster.servers[server];
    format!("{}:{}", server.host, server.port)
}

async fn pins_are_shown_with_their_cause_until_it_ends(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut console) = (stage.raw().await, console(&stage).await);
    let id = client.greeting.connection_id;
    assert_eq!(rows(&mut console, "SHOW PINS").await, Vec::<Vec<String>>::new());
    let lock = &stage.schema;
    client.value(format!("SELECT GET_LOCK('{lock}', 10)")).await.unwrap();
    let thread: u64 = {
        let mut root = stage.cluster.root(0).await;
        root.query_first(format!("SELECT IS_USED_LOCK('{lock}')")).await.unwrap().unwrap()
    };
    let thread = format!("Backend_id={thread}");
    until_row(
        &mut console,
        &format!("SHOW PINS WHERE Id = {id}"),
        &[
            "User=app",
            "Reason=user lock",
            &format!("Server={}", address(&stage, 0)),
            &thread,
            "Digest_text=SELECT `GET_LOCK` (...)",
        ],
    )
    .await;
    client.ok("LOCK TABLES t READ").await;
    let cells = ["Digest_text=LOCK TABLES `t` READ", &thread];
    until_row(&mut console, "SHOW PINS WHERE reason = 'locks'", &cells).await;
    let sessions = format!("SHOW SESSIONS LIKE '{id}'");
    until_row(&mut console, &sessions, &["Pins=user lock, locks", &thread]).await;
    client.ok("UNLOCK TABLES").await;
    until_row(&mut console, "SHOW PINS", &["Reason=user lock"]).await;
    drop(client);
    until_rows(&mut console, &sessions, <[_]>::is_empty).await;
    assert_eq!(rows(&mut console, "SHOW PINS").await, Vec::<Vec<String>>::new(), "gone with the session");
}

async fn sessions_are_shown_at_what_they_do(scenario: Scenario) {
    let stage = scenario.stage().await;
    let (mut client, mut console) = (stage.raw().await, console(&stage).await);
    let id = client.greeting.connection_id;
    let sql = format!("SHOW SESSIONS WHERE id = {id}");
    let database = format!("Database={}", stage.schema);
    let cells = ["User=app", &database, "State=idle", "Server=NULL", "Pins=NULL"];
    until_row(&mut console, &sql, &cells).await;
    let shown = row(&mut console, &sql).await;
    assert!(shown.iter().any(|cell| cell.starts_with("Client=127.0.0.1:")), "{shown:?}");
    client.ok("USE test").await;
    client.ok("BEGIN").await;
    client.value("SELECT 7").await.unwrap();
    let server = format!("Server={}", address(&stage, 0));
    let cells = ["Database=test", "State=idle in transaction", &server, "Digest_text=SELECT ?"];
    until_row(&mut console, &sql, &cells).await;
    client.send_query("SELECT SLEEP(600)").await;
    let cells = ["State=running", &server, "Digest_text=SELECT `SLEEP` (?)"];
    until_row(&mut console, &sql, &cells).await;
    console.ok(format!("KILL {id}")).await;
    client.end().await;
    until_rows(&mut console, &sql, <[_]>::is_empty).await;
}

async fn statements_are_counted_by_digest(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (n INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)"]).await;
    let (mut client, mut other, mut console) = (stage.raw().await, stage.raw().await, console(&stage).await);
    for id in 1..=3 {
        client.select(format!("SELECT n FROM t WHERE n >= {id}")).await;
        other.select(format!("/* x */ select `n`  from t where n >= '{id}'")).await;
    }
    let prepared = other.prepare("SELECT n FROM t WHERE n >= ?").await.unwrap();
    other.execute(prepared, &[crate::harness::packets::Param::Int(3)]).await.rows();
    client.error("INSERT INTO t VALUES (1)").await;
    client.ok("INSERT INTO t VALUES (4), (5)").await;
    client.error("SELECT no_such_column FROM t").await;
    let reads = "SHOW DIGESTS LIKE 'SELECT `n` FROM `t` WHERE%'";
    until_row(
        &mut console,
        reads,
        &[
            "Digest_text=SELECT `n` FROM `t` WHERE `n` >= ?",
            "Count=7",
            "Rows=13",
            "Errors=0",
            "Route=replica",
            "Reason=read-only query",
        ],
    )
    .await;
    until_rows(&mut console, "SHOW DIGESTS LIKE 'INSERT INTO `t`%' ORDER BY Count", |writes| {
        let sum = |name: &str| {
            let cells = writes.iter().flatten().filter_map(|cell| cell.strip_prefix(name));
            cells.map(|cell| cell.parse::<u64>().unwrap()).sum::<u64>()
        };
        let by = ["Route=primary", "Reason=write"];
        (sum("Count="), sum("Errors="), sum("Rows=")) == (2, 1, 2) && lacks(&writes[0], &by).is_none()
    })
    .await;
    let failed = "SHOW DIGESTS LIKE '%no_such_column%'";
    until_row(&mut console, failed, &["Count=1", "Errors=1", "Rows=0"]).await;
    let times = console.select("SELECT total_ms, avg_ms, max_ms FROM digests WHERE count = 7 LIMIT 1").await;
    let times: Vec<f64> =
        times.texts()[0].iter().map(|cell| cell.as_ref().unwrap().parse().unwrap()).collect();
    assert!(times[0] >= times[2] && times[2] >= times[1] && times[1] > 0.0, "{times:?}");
}

async fn servers_pools_and_variables_are_shown(scenario: Scenario) {
    let rules = Rules { pool: "{max: 17}".into(), ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let (mut client, mut console) = (stage.raw().await, console(&stage).await);
    client.ok("BEGIN").await;
    client.value("SELECT 7").await.unwrap();
    let primary = address(&stage, 0);
    let shown = row(&mut console, &format!("SHOW SERVERS LIKE '{primary}'")).await;
    has(&shown, &["Role=primary", "State=up", "Weight=1", "Lag_seconds=NULL"]);
    // Other scenarios' writes may make one of them late for a moment.
    let replicas = "SHOW SERVERS WHERE role = 'replica' AND left_out IS NULL";
    until_rows(&mut console, replicas, |replicas| {
        replicas.len() == stage.cluster.servers.len() - 1
            && replicas.iter().all(|replica| lacks(replica, &["Read_share_percent=50.000"]).is_none())
    })
    .await;
    let pool = format!("SHOW POOLS LIKE '{primary}'");
    has(&row(&mut console, &pool).await, &["Max=17", "In_use=1", "Waiting=0", "Failed=0"]);
    client.ok("COMMIT").await;
    until_rows(&mut console, &pool, |pools| {
        let given_back = ["In_use=0", "Rolled_back=0", "Not_reused=0"];
        let is_any = |cell: &str| pools[0].iter().any(|found| found == cell);
        matches!(pools, [pool] if lacks(pool, &given_back).is_none())
            && !is_any("Idle=0")
            && !is_any("Reused=0")
    })
    .await;
    let shown = row(&mut console, "SHOW VARIABLES LIKE 'clusters.main.pool.max'").await;
    has(&shown, &["Value=17"]);
    let all = format!("{:?}", rows(&mut console, "SHOW VARIABLES").await);
    assert!(!all.contains("-pw"), "a password is shown: {all}");
}

async fn kill_ends_statements_and_sessions(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut console = console(&stage).await;
    let mark = format!("{}-mark", scenario.name);
    for prefix in ["", "/* tidegate: primary */ "] {
        let mut client = stage.raw().await;
        let id = client.greeting.connection_id;
        client.send_query(format!("{prefix}{}", endless(&mark))).await;
        until_running(&stage, &mark, 1).await; // a KILL QUERY that comes before the statement ends nothing
        has(&row(&mut console, &format!("SHOW SESSIONS LIKE '{id}'")).await, &["State=running"]);
        console.ok(format!("KILL QUERY {id}")).await;
        client.outcomes().await;
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7", "the session goes on");
        console.ok(format!("KILL QUERY {id}")).await;
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7", "nothing ran");
        console.command(com::PROCESS_KILL, &id.to_le_bytes()).await;
        console.outcome().await.ok();
        client.end().await;
    }
    assert_eq!(console.error("KILL 4000000000").await.code, 1094);
    assert_eq!(console.error("KILL QUERY 4000000000").await.code, 1094);
}

async fn only_operators_get_in(scenario: Scenario) {
    let stage = scenario.stage().await;
    let address = stage.proxy.console();
    let refused = |login: Login| async move {
        let login = Login { database: None, ..login };
        RawClient::login(address, &login).await.err().map(|error| error.code)
    };
    assert_eq!(refused(Login::account("operator", "wrong")).await, Some(1045));
    assert_eq!(refused(Login::account("operator", "")).await, Some(1045));
    assert_eq!(refused(Login::account("app", "app-pw")).await, Some(1045), "a client's account");
    assert_eq!(refused(Login::account("", "")).await, Some(1045));
    assert_eq!(refused(operator()).await, None);
    stage.proxy.until_logged("login to the console failed").await;
    let client = RawClient::login(stage.proxy.address, &Login { database: None, ..operator() }).await;
    assert_eq!(client.err().map(|error| error.code), Some(1045), "operators are no clients");
    let elsewhere = Login { database: Some("shop".into()), ..operator() };
    let unknown = RawClient::login(address, &elsewhere).await;
    assert_eq!(unknown.err().map(|error| error.code), Some(1049));
    for login in [
        Login { capabilities: Login::OLD, ..operator() },
        Login { tls: true, ..operator() },
        Login { plugin: tidegate::wire::auth::Plugin::NativePassword, ..operator() },
    ] {
        let mut console = RawClient::login(stage.proxy.console(), &login).await.expect("it gets in");
        assert_eq!(console.value("SELECT DATABASE()").await.as_deref(), Some("tidegate"));
        assert!(!rows(&mut console, "SHOW SERVERS").await.is_empty());
    }
}

async fn what_clients_send_at_connect_is_answered(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut console = console(&stage).await;
    for sql in [
        "SET NAMES utf8mb4",
        "SET autocommit=1",
        "SET @@session.autocommit = OFF",
        "COMMIT",
        "USE tidegate",
        "-- ping",
    ] {
        console.ok(sql).await;
    }
    for (sql, expected) in [
        ("select @@version_comment limit 1", "Tidegate console"),
        ("SELECT @@max_allowed_packet, @@wait_timeout, @@socket", "73728"),
        (
            "SELECT @@session.auto_increment_increment AS auto_increment_increment, @@sql_mode AS sql_mode",
            "1",
        ),
        ("SHOW VARIABLES LIKE 'lower_case_table_names'", "lower_case_table_names"),
        ("SHOW FULL TABLES FROM `tidegate` LIKE 'pins'", "pins"),
        ("SHOW TABLES", "digests"),
        ("SHOW DATABASES", "information_schema"),
        ("SHOW FULL COLUMNS FROM `pins` FROM `tidegate`", "Id"),
        ("SHOW ENGINES", "TIDEGATE"),
        ("SHOW CHARACTER SET", "utf8mb4"),
        ("SHOW COUNT(*) WARNINGS", "0"),
        ("SELECT COUNT(*) FROM servers", "3"),
        (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'tidegate' ORDER BY 1 DESC",
            "variables",
        ),
        (
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'pins' AND ordinal_position = 3",
            "Reason",
        ),
        ("SELECT 1", "1"),
    ] {
        assert_eq!(console.value(sql).await.as_deref(), Some(expected), "{sql}");
    }
    for sql in [
        "SHOW WARNINGS",
        "SHOW PLUGINS",
        "SHOW VARIABLES LIKE 'aurora\\_version'",
        "SELECT routine_name FROM information_schema.routines",
    ] {
        assert!(console.select(sql).await.rows.is_empty(), "{sql}");
    }
    for command in [com::PING, com::RESET_CONNECTION] {
        console.command(command, &[]).await;
        console.outcome().await.ok();
    }
    console.command(com::STATISTICS, &[]).await;
    assert!(console.read().await.starts_with(b"Uptime: "));
    assert_eq!(
        console.value("SELECT CONNECTION_ID()").await.unwrap(),
        console.greeting.connection_id.to_string()
    );
}

async fn what_is_not_known_is_refused_by_name(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut console = console(&stage).await;
    for sql in ["SELECT * FROM pins JOIN sessions", "DROP TABLE pins", "SHOW NONSENSE", "\u{0}", "KILL"] {
        let error = console.error(sql).await;
        assert_eq!(error.code, 1235, "{sql}");
        let text = String::from_utf8_lossy(&error.message).into_owned();
        assert!(text.contains("SHOW SERVERS | POOLS | SESSIONS | PINS | DIGESTS | VARIABLES"), "{text}");
    }
    for (sql, code) in [
        ("SELECT nonsense FROM pins", 1054),
        ("SELECT * FROM nonsense", 1146),
        ("SELECT @@nonsense", 1193),
        ("SELECT NONSENSE()", 1305),
        ("USE shop", 1049),
    ] {
        assert_eq!(console.error(sql).await.code, code, "{sql}");
    }
    let prepared = console.prepare("SHOW PINS").await;
    assert_eq!(prepared.err().map(|error| error.code), Some(1295));
    for command in [com::CHANGE_USER, com::STMT_EXECUTE, com::STMT_FETCH, 0x05, 0x12, 0xfe] {
        console.command(command, b"operator\0\0\0").await;
        assert_eq!(console.outcome().await.err().code, 1047, "{command:#04x}");
    }
    console.send_query([&b"SELECT '\xff\xfe'"[..]].concat()).await;
    console.outcomes().await.pop().unwrap().rows();
    assert_eq!(console.value("SELECT 7").await.as_deref(), Some("7"), "it goes on");
}

async fn bytes_of_other_protocols_are_sent_away(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut first = console(&stage).await;
    let large = [&[0xff, 0xff, 0xff, 1][..], &vec![0x41; 100_000]].concat();
    for bytes in [
        &b""[..],
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x20\0\0\x01",
        b"\x01\0\0\x07\x0e",
        b"\x02\0\0\x01\xff\xff",
        &large,
    ] {
        let mut tcp = TcpStream::connect(stage.proxy.console()).await.expect("it listens");
        let _ = tcp.write_all(bytes).await;
        let _ = tcp.shutdown().await;
        // A reset is an end as well.
        let _ = within("the end of the connection", tcp.read_to_end(&mut Vec::new())).await;
    }
    // After the login: too long, out of order, empty.
    for (bytes, code) in [(&large[..], 1153), (b"\x01\0\0\x09\x0e", 1156), (b"\0\0\0\0", 1047)] {
        let mut console = console(&stage).await;
        console.try_send(bytes).await;
        let answer = console.next().await.filter(|packet| packet[0] == 0xff);
        // A reset may take the message along.
        assert!(answer.is_none_or(|packet| packet[1..3] == u16::to_le_bytes(code)), "{code}");
    }
    let old = Login { capabilities: Login::OLD.difference(Capabilities::PLUGIN_AUTH), ..operator() };
    drop(RawClient::login(stage.proxy.console(), &old).await);
    assert_eq!(first.value("SELECT 7").await.as_deref(), Some("7"));
}

async fn without_an_account_there_is_no_console(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { admin: String::new(), ..Rules::default() }).await;
    assert!(!stage.proxy.has_console());
    assert_eq!(stage.raw().await.value("SELECT 7").await.as_deref(), Some("7"));
}
