//! One server with all rows, and a Tidegate with the same rows on four shards.
//!
//! Owns: servers, sessions. Does not know: statements. Invariant: both sides hold the same rows.

use tidegate::execute::names::Names;

use super::compare::{self, Verdict};
use super::statement::Statement;
use super::tables::Tables;
use crate::differential::forms::Random;
use crate::harness::{Cluster, Login, Outcome, RawClient, Rules, Scenario, Stage};

/// Shards; the first two are on the first cluster.
const SHARDS: u64 = 4;

pub struct World {
    client: RawClient,
    direct: RawClient,
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
        "default_cluster: main\ndatabases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    keyspaces:\n      all:\n        \
         method: mod\n        key_type: integer\n        slots: {SHARDS}\n        shards: {{{}}}\n        tables: {{one: k, two: k}}",
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
        // MySQL's default: otherwise what is shown of a group is open.
        for session in [&mut direct, &mut client] {
            session.ok("SET sql_mode = CONCAT(@@sql_mode, ',ONLY_FULL_GROUP_BY')").await;
        }
        let names = Names { schema: (whole.into(), schema.into()), tables: vec![] };
        Self { client, direct, stage, second, names }
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

    async fn both(&mut self, sql: &str) -> (Outcome, Outcome) {
        let server = self.direct.query(sql).await.pop().expect("an answer");
        (server, self.client.query(sql).await.pop().expect("an answer"))
    }

    /// Plays a statement on both sides.
    pub async fn judge(&mut self, statement: &Statement) -> Verdict {
        let (server, tidegate) = self.both(&statement.sql()).await;
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
