//! One server with all rows, and a Tidegate with the same rows on four shards.
//!
//! Owns: servers, sessions. Does not know: statements. Invariant: both sides hold the same rows.

use tidegate::execute::names::Names;
use tidegate::wire::command as com;

use super::compare::{self, Verdict};
use super::statement::{Statement, apart};
use super::tables::Tables;
use crate::differential::forms::Random;
use crate::harness::packets::Param;
use crate::harness::{Cluster, Login, Outcome, RawClient, Rules, Scenario, Stage};

/// Shards; the first two are on the first cluster.
const SHARDS: u64 = 4;

pub struct World {
    client: RawClient,
    direct: RawClient,
    /// At the second cluster's server.
    other: RawClient,
    // The proxy ends before its servers.
    stage: Stage,
    second: Cluster,
    names: Names,
}

fn rules(schema: &str, main: &Cluster, second: &Cluster) -> Rules {
    let server = &second.servers[0];
    let shard = |shard: u64| {
        let cluster = if shard < 2 { "main" } else { "second" };
        format!("s{shard}: {{cluster: {cluster}, schema: {schema}_{shard}, slots: {shard}-{shard}}}")
    };
    let shards: Vec<_> = (0..SHARDS).map(shard).collect();
    let top = format!(
        "default_cluster: main\ndatabases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    \
         without_key: {{read: scatter, write: scatter}}\n    keyspaces:\n      all:\n        \
         method: mod\n        key_type: integer\n        slots: {SHARDS}\n        shards: {{{0}}}\n        tables: {{one: k, two: k}}\n      \
         texts:\n        method: hash\n        key_type: string\n        collation: utf8mb4_general_ci\n        slots: {SHARDS}\n        \
         shards: {{{0}}}\n        tables: {{words: w}}",
        shards.join(", ")
    );
    let clusters = format!("  second:\n    servers: [\"{}:{}\"]\n", server.host, server.port);
    // All is read from the primaries, which have it at once.
    let unlisted = (1..main.servers.len()).collect();
    Rules { top, clusters, unlisted, ..Rules::default() }
}

impl World {
    pub async fn new(scenario: Scenario) -> Self {
        let second = Cluster::alone(scenario.dialect);
        let main = Cluster::shared(scenario.dialect);
        let schema = scenario.schema();
        let stage = scenario.stage_with(rules(&schema, &main, &second)).await;
        let whole = format!("{schema}_w");
        for (cluster, schema) in
            Self::schemas(&schema).map(|(shard, schema)| (Self::cluster(&stage, &second, shard), schema))
        {
            let drop = format!("DROP DATABASE IF EXISTS {schema}");
            let create = format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4");
            cluster.run(0, &[&drop, &create]).await;
        }
        let login = Login { database: Some(whole.clone()), ..Login::default() };
        let mut direct = RawClient::login(stage.cluster.address(0), &login).await.expect("the login works");
        let mut client = stage.raw().await;
        let other = RawClient::login(second.address(0), &Login::default()).await.expect("the login works");
        // MySQL's default: otherwise what is shown of a group is open.
        for session in [&mut direct, &mut client] {
            session.ok("SET sql_mode = CONCAT(@@sql_mode, ',ONLY_FULL_GROUP_BY')").await;
            session.ok("SET group_concat_max_len = 100000").await;
        }
        let names = Names { schema: (whole.into(), schema.into()), tables: vec![] };
        Self { client, direct, other, stage, second, names }
    }

    /// The whole, then the shards: which, and their schemas.
    fn schemas(schema: &str) -> impl Iterator<Item = (Option<u64>, String)> {
        let shard = |shard: u64| (Some(shard), format!("{schema}_{shard}"));
        let shards: Vec<_> = (0..SHARDS).map(shard).collect();
        std::iter::once((None, format!("{schema}_w"))).chain(shards)
    }

    fn cluster<'a>(stage: &'a Stage, second: &'a Cluster, shard: Option<u64>) -> &'a Cluster {
        if shard.is_some_and(|shard| shard >= 2) { second } else { &stage.cluster }
    }

    /// New tables with new rows.
    pub async fn fill(&mut self, tables: &Tables, random: &mut Random) {
        for table in &tables.tables {
            let rows = table.rows(random);
            for (shard, schema) in Self::schemas(&self.stage.schema) {
                let own = rows.iter().filter(|(key, _)| shard.is_none_or(|shard| key % SHARDS == shard));
                let own: Vec<_> = own.map(|(_, row)| &**row).collect();
                let mut statements = vec![
                    format!("DROP TABLE IF EXISTS {schema}.{}", table.name),
                    format!("CREATE TABLE {schema}.{}", table.definition()),
                    "SET sql_mode = 'NO_ENGINE_SUBSTITUTION'".to_owned(),
                ];
                if !own.is_empty() {
                    statements.push(format!("INSERT INTO {schema}.{} VALUES {}", table.name, own.join(", ")));
                }
                let statements: Vec<_> = statements.iter().map(String::as_str).collect();
                Self::cluster(&self.stage, &self.second, shard).run(0, &statements).await;
            }
        }
    }

    /// The third table, whose rows Tidegate itself brings to their shards.
    pub async fn fill_words(&mut self, tables: &Tables, random: &mut Random) {
        for (shard, schema) in Self::schemas(&self.stage.schema) {
            let drop = format!("DROP TABLE IF EXISTS {schema}.words");
            let create = format!("CREATE TABLE {schema}.{}", tables.words_definition());
            Self::cluster(&self.stage, &self.second, shard).run(0, &[&drop, &create]).await;
        }
        for row in tables.words_rows(random) {
            self.change(&format!("INSERT INTO words (w, id, i, g, d) VALUES {row}")).await;
        }
    }

    /// A change on both sides, on neither where Tidegate refuses it.
    pub async fn change(&mut self, sql: &str) -> Verdict {
        let tidegate = self.client.query(sql).await.pop().expect("an answer");
        if let Some(reason) = compare::refusal(&tidegate) {
            return Verdict::Refused(reason);
        }
        let server = self.direct.query(sql).await.pop().expect("an answer");
        compare::judge_change(&server, &tidegate)
    }

    /// What a table has here and not there: on the server with all rows, and on the shards together. Rows in a wrong shard are told, too.
    pub async fn contents(&mut self, table: &str) -> Option<String> {
        let sorted = |mut rows: Vec<Vec<Option<Vec<u8>>>>| {
            rows.sort();
            rows
        };
        let whole = Self::rows(&mut self.direct, &format!("SELECT * FROM {table}")).await;
        let mut parts = Vec::new();
        for shard in 0..SHARDS {
            let sql = format!("SELECT * FROM {}_{shard}.{table}", self.stage.schema);
            let own = Self::rows(if shard < 2 { &mut self.direct } else { &mut self.other }, &sql).await;
            let key = |row: &Vec<Option<Vec<u8>>>| -> Option<u64> {
                String::from_utf8_lossy(row.first()?.as_deref()?).parse().ok()
            };
            let strange =
                own.iter().find(|row| table != "words" && key(row).is_some_and(|key| key % SHARDS != shard));
            if let Some(row) = strange {
                return Some(format!("{table}: shard {shard} has {row:?}"));
            }
            parts.extend(own);
        }
        let (whole, parts) = (sorted(whole), sorted(parts));
        if whole == parts {
            return None;
        }
        let only = |one: &[Vec<_>], other: &[Vec<_>]| -> Vec<String> {
            let missing = one.iter().filter(|row| !other.contains(row)).take(3);
            missing.map(|row: &Vec<Option<Vec<u8>>>| format!("{row:?}")).collect()
        };
        Some(format!("{table}: only there {:?}, only here {:?}", only(&whole, &parts), only(&parts, &whole)))
    }

    async fn rows(session: &mut RawClient, sql: &str) -> Vec<Vec<Option<Vec<u8>>>> {
        match session.query(sql).await.pop() {
            Some(Outcome::Rows(result)) => result.bytes(),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// Prepares a statement, executes it with these values, and closes it.
    async fn executed(session: &mut RawClient, sql: &str, values: &[String]) -> Outcome {
        let prepared = match session.prepare(sql).await {
            Ok(prepared) => prepared,
            Err(error) => return Outcome::Err(error),
        };
        let parameter =
            |value: &String| match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
                Some(text) => (text.as_bytes().to_vec(), true),
                // Drivers without types send digits.
                None => (value.as_bytes().to_vec(), sql.len().is_multiple_of(5)),
            };
        let values: Vec<_> = values.iter().map(parameter).collect();
        let params: Vec<_> = values
            .iter()
            .map(|(bytes, text)| match text {
                true => Param::Text(bytes),
                false => Param::Int(String::from_utf8_lossy(bytes).parse().expect("a number")),
            })
            .collect();
        let outcome = session.execute(prepared, &params).await;
        session.command(com::STMT_CLOSE, &prepared.id.to_le_bytes()).await;
        outcome
    }

    async fn both(&mut self, sql: &str) -> (Outcome, Outcome) {
        let server = self.direct.query(sql).await.pop().expect("an answer");
        (server, self.client.query(sql).await.pop().expect("an answer"))
    }

    /// Plays a statement on both sides.
    pub async fn judge(&mut self, statement: &Statement) -> Verdict {
        let (server, tidegate) = match statement.prepared {
            false => self.both(&statement.sql()).await,
            true => {
                let (sql, values) = apart(&statement.marked());
                let server = Self::executed(&mut self.direct, &sql, &values).await;
                (server, Self::executed(&mut self.client, &sql, &values).await)
            }
        };
        compare::judge(statement, &server, &tidegate, &self.names)
    }

    /// The smallest statement that differs still.
    pub async fn shrink(&mut self, statement: Statement) -> Statement {
        let mut best = statement;
        'smaller: loop {
            for smaller in best.smaller() {
                if matches!(self.judge(&smaller).await, Verdict::Differs(_)) {
                    best = smaller;
                    continue 'smaller;
                }
            }
            return best;
        }
    }

    /// Both answers to a statement, in words.
    pub async fn tell(&mut self, sql: &str) -> String {
        let (server, tidegate) = self.both(sql).await;
        let show = |outcome: &Outcome| match outcome {
            Outcome::Rows(result) => {
                let rows = result.bytes();
                let row = |row: &Vec<Option<Vec<u8>>>| {
                    let values = row.iter().map(|value| {
                        value.as_ref().map_or("NULL".to_owned(), |value| value.escape_ascii().to_string())
                    });
                    values.collect::<Vec<_>>().join(" | ")
                };
                let rows: Vec<_> = rows.iter().take(40).map(row).collect();
                let columns: Vec<_> =
                    result.columns.iter().map(|column| column.escape_ascii().to_string()).collect();
                format!(
                    "{}\n    {}\n    {} warnings",
                    columns.join("\n    "),
                    rows.join("\n    "),
                    result.end.warnings
                )
            }
            Outcome::Err(error) => format!("{error}"),
            other => format!("{other:?}"),
        };
        format!("{sql}\n  server   {}\n  tidegate {}", show(&server), show(&tidegate))
    }
}
