//! The two worlds of a sequence: one server, and a primary with replicas behind Tidegate, with the same content.

use std::net::SocketAddr;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::compare;
use super::doubt::Doubt;
use super::player::{Packet, Player};
use super::sequence::{SESSIONS, Sequence};
use super::step::{Line, Step};
use crate::harness::{Cluster, Login, Rules, Scenario, Stage};

/// Where sequences are played.
pub struct World {
    stage: Stage,
    reference: Cluster,
    scenario: Scenario,
    /// As root, past Tidegate: the reference, the primary, the replicas.
    roots: Vec<Conn>,
    /// What the primary had written when the replicas were last waited for.
    position: String,
    /// Steps that were played, in both.
    pub steps: u64,
}

impl World {
    pub async fn new(scenario: Scenario) -> Self {
        let rules = Rules { reads: "consistency: session".into(), ..Rules::pool("{max: 4}") };
        let stage = scenario.stage_with(rules).await;
        let reference = Cluster::alone(scenario.dialect);
        let mut roots = vec![reference.root(0).await];
        for server in 0..stage.cluster.servers.len() {
            roots.push(stage.cluster.root(server).await);
        }
        for root in &mut roots[..2] {
            root.query_drop("SET SESSION sql_mode = ''").await.expect("a mode");
            for statement in routines() {
                root.query_drop(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
        Self { stage, reference, scenario, roots, position: String::new(), steps: 0 }
    }

    fn reference_address(&self) -> SocketAddr {
        self.reference.address(0)
    }

    /// Makes both worlds new.
    async fn reset(&mut self, sessions: &[usize]) {
        for root in &mut self.roots[..2] {
            for statement in tables(sessions) {
                root.query_drop(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
        self.catch_up().await;
    }

    /// Waits until the replicas have what the primary has written.
    async fn catch_up(&mut self) {
        let mysql = self.scenario.is_mysql();
        let ask = if mysql { "SELECT @@global.gtid_executed" } else { "SELECT @@global.gtid_binlog_pos" };
        let position: String = self.roots[1].query_first(ask).await.expect("an answer").expect("a row");
        if position == self.position {
            return;
        }
        let function = if mysql { "WAIT_FOR_EXECUTED_GTID_SET" } else { "MASTER_GTID_WAIT" };
        let wait = format!("SELECT {function}('{position}', 30)");
        for root in &mut self.roots[2..] {
            let result: i64 = root.query_first(&wait).await.expect("an answer").expect("a row");
            assert_eq!(result, 0, "a replica does not catch up");
        }
        self.position = position;
    }

    /// No replica has written anything of its own: it would follow no more, or never be a primary.
    async fn have_only_followed(&mut self) {
        for replica in 2..self.roots.len() {
            let followed = if self.scenario.is_mysql() {
                let ask = "SELECT @@global.gtid_executed";
                let executed: String =
                    self.roots[replica].query_first(ask).await.expect("an answer").expect("a row");
                let ask = format!("SELECT GTID_SUBSET('{executed}', @@global.gtid_executed)");
                self.roots[1].query_first(ask).await
            } else {
                let ask = "SELECT @@global.gtid_current_pos = @@global.gtid_slave_pos";
                self.roots[replica].query_first(ask).await
            };
            assert_eq!(followed.expect("an answer"), Some(1), "a replica has written");
        }
    }

    /// Ends the sessions; what they held is free after.
    async fn end(&mut self, players: Vec<(Player, Player)>) {
        for (mut direct, mut through) in players {
            direct.play(&Step::ResetConnection).await;
            through.play(&Step::ResetConnection).await;
        }
        self.have_only_followed().await;
    }

    /// Plays a sequence in both worlds, step by step; the first step whose answers differ.
    pub async fn play(&mut self, sequence: &Sequence) -> Option<Difference> {
        let sessions: Vec<usize> = (0..SESSIONS)
            .filter(|session| sequence.lines.iter().any(|(other, _)| other == session))
            .collect();
        self.reset(&sessions).await;
        let mut players = Vec::new();
        let login = Login { database: Some("diff_a".into()), ..sequence.login.clone() };
        for _ in 0..SESSIONS {
            let direct = Player::login(self.reference_address(), &login).await;
            players.push((direct, Player::login(self.stage.proxy.address, &login).await));
        }
        let mut doubts: [Doubt; SESSIONS] = Default::default();
        for (index, (session, text)) in sequence.lines.iter().enumerate() {
            let mut line = Line::parse(text);
            if !doubts[*session].apply(&mut line) {
                continue;
            }
            self.steps += 1;
            let (direct, through) = &mut players[*session];
            let expected = direct.play(&line.step).await;
            doubts[*session].note(&line, &expected, self.scenario.is_mysql());
            let found = through.play(&line.step).await;
            if compare::is_refused(&found) {
                doubts[*session].note_refusal();
            }
            let difference = compare::difference(&expected, &found, &line);
            if let Some(what) = difference {
                self.end(players).await;
                return Some(Difference { line: index, what, expected, found });
            }
            self.catch_up().await;
        }
        self.end(players).await;
        None
    }
}

/// Where two worlds part.
pub struct Difference {
    pub line: usize,
    pub what: String,
    pub expected: Vec<Packet>,
    pub found: Vec<Packet>,
}

/// What is there from the first sequence to the last.
fn routines() -> Vec<String> {
    let mut sql = Vec::new();
    for schema in ["diff_a", "diff_b"] {
        sql.push(format!("DROP DATABASE IF EXISTS {schema}"));
        sql.push(format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4"));
    }
    sql.push("USE diff_a".into());
    for session in 0..SESSIONS {
        sql.extend(TABLES.iter().chain(ROUTINES).map(|form| form.replace("{s}", &session.to_string())));
    }
    sql
}

/// What makes the tables of sessions new.
fn tables(sessions: &[usize]) -> Vec<String> {
    let mut sql = vec!["SET SESSION sql_mode = ''".to_owned(), "USE diff_a".into()];
    for session in sessions {
        let forms = DROPS.iter().chain(TABLES).chain(OTHER_TABLES);
        sql.extend(forms.map(|form| form.replace("{s}", &session.to_string())));
    }
    sql
}

const DROPS: &[&str] = &[
    "DROP DATABASE IF EXISTS diff_x{s}",
    "DROP TABLE IF EXISTS child{s}, parent{s}, t{s}, all{s}, x{s}, y{s}, diff_b.t{s}, diff_b.x{s}, diff_b.y{s}",
    "DROP VIEW IF EXISTS w{s}, diff_b.w{s}",
    "DROP PROCEDURE IF EXISTS q{s}",
    "DROP PROCEDURE IF EXISTS diff_b.q{s}",
];

/// In the other database there is little.
const OTHER_TABLES: &[&str] = &[
    "CREATE TABLE diff_b.t{s} (id INT AUTO_INCREMENT PRIMARY KEY, n INT, s VARCHAR(20), UNIQUE (n))",
    "INSERT INTO diff_b.t{s} VALUES (7, 7, 'b')",
];

/// What each session finds.
const TABLES: &[&str] = &[
    "CREATE TABLE t{s} (id INT AUTO_INCREMENT PRIMARY KEY, n INT, s VARCHAR(20), UNIQUE (n))",
    "INSERT INTO t{s} VALUES (1, 1, 'one'), (2, 2, 'two'), (3, 3, NULL)",
    "CREATE TABLE parent{s} (id INT PRIMARY KEY)",
    "CREATE TABLE child{s} (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent{s} (id))",
    "INSERT INTO parent{s} VALUES (1), (2)",
    "INSERT INTO child{s} VALUES (1, 1)",
    "CREATE TABLE all{s} (id INT AUTO_INCREMENT PRIMARY KEY, ti TINYINT, ui TINYINT UNSIGNED, si SMALLINT, mi MEDIUMINT, \
     i INT UNSIGNED ZEROFILL, bi BIGINT, bu BIGINT UNSIGNED, de DECIMAL(20,6), f FLOAT, d DOUBLE, bt BIT(9), da DATE, \
     dt DATETIME(3), ts TIMESTAMP(6) NULL, tm TIME(2), y YEAR, c CHAR(10) CHARACTER SET latin1, \
     vc VARCHAR(50) COLLATE utf8mb4_bin, vb VARBINARY(20), bn BINARY(5), tx TEXT, bl BLOB, e ENUM('a', 'b'), \
     se SET('x', 'y', 'z'), js JSON)",
    "INSERT INTO all{s} VALUES (1, -1, 200, -300, 70000, 42, -5000000000, 18446744073709551615, 1234.567890, 1.5, -2.25, \
     b'101010101', '2020-02-03', '2020-02-03 04:05:06.789', '2020-02-03 04:05:06.789012', '-12:34:56.78', 2024, 'cäfé', \
     'ünï😀', x'00ff', 'ab', 'text', x'fffe00', 'b', 'x,z', '{\"a\": [1, 2]}')",
    "INSERT INTO all{s} (id) VALUES (2)",
    "INSERT INTO all{s} (id, ti, vc, da, tm) VALUES (3, 0, '', '0000-00-00', '00:00:00')",
];

const ROUTINES: &[&str] = &[
    "CREATE DEFINER=app@'%' VIEW v{s} AS SELECT id, s FROM t{s}",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_rows(a INT) BEGIN SELECT a; SELECT * FROM t{s} ORDER BY id; END",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_out(a INT, OUT b INT) SET b = a + 1",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_set(a INT) BEGIN SET @p = a; SET SESSION div_precision_increment = a; END",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_warn() SELECT CAST('x' AS SIGNED)",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_write(a INT) BEGIN INSERT INTO t{s} (n) VALUES (a); SELECT ROW_COUNT(), LAST_INSERT_ID(); END",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_temp() BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS tmp{s} (a INT); SELECT * FROM tmp{s}; END",
    "CREATE DEFINER=app@'%' PROCEDURE p{s}_signal(a INT) BEGIN IF a > 2 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'from a procedure'; \
     ELSE SIGNAL SQLSTATE '01000'; END IF; END",
    "CREATE DEFINER=app@'%' FUNCTION f{s}(a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a * 2",
    "CREATE DEFINER=app@'%' FUNCTION f{s}_set(a VARCHAR(50)) RETURNS VARCHAR(50) NO SQL BEGIN SET @f = a; RETURN a; END",
];
