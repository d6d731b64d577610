//! From a statement to its answer.
//!
//! Owns: which table a statement means, and what of it is shown. Does not know: the protocol.

use tokio::task::yield_now;

use super::expression::{Operand, Surroundings, Unanswerable};
use super::statement::{Item, Select, Source, Statement};
use super::table::{Column, Kind, Table, Value};
use super::views::{self, Texts};
use super::{Console, Operator, Order, Verb, catalog};
use crate::config::Server;
use crate::execute::client::Signals;
use crate::topology::definitions::{Journal, Trouble};
use crate::wire::err::ErrPacket;

/// What a statement is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Table(Table),
    Error(ErrPacket),
}

/// What is told to whoever asks for something else.
const KNOWN: &str = "The Tidegate console knows: SHOW SERVERS | POOLS | SESSIONS | PINS | DIGESTS | VARIABLES \
    [LIKE 'pattern' | WHERE condition] [ORDER BY column [DESC]] [LIMIT n]; \
    SELECT columns FROM servers | pools | sessions | pins | digests | variables, with the same; \
    SHOW DATABASES | TABLES | COLUMNS FROM table; KILL [CONNECTION | QUERY] id; RELOAD; SHOW DEFINITIONS; ABANDON DEFINITION id; \
    ALTER SERVER 'host:port' DRAIN | RESUME | WEIGHT n | RESET; ADD SERVER 'host:port' [TO 'cluster'] [WEIGHT n]; DROP SERVER 'host:port'; \
    SWITCHOVER TO 'host:port'";

/// A change that was not made, and why.
fn refused(why: String) -> ErrPacket {
    ErrPacket::new(1105, b"HY000", format!("Tidegate: nothing has changed: {why}"))
}

impl From<Unanswerable> for ErrPacket {
    fn from(why: Unanswerable) -> Self {
        match why {
            Unanswerable::Unknown => Self::new(1235, b"42000", format!("Unknown statement. {KNOWN}")),
            Unanswerable::NoColumn(name) => Self::new(1054, b"42S22", format!("Unknown column '{name}'")),
            Unanswerable::NoTable(name) => {
                Self::new(1146, b"42S02", format!("Table '{name}' doesn't exist. {KNOWN}"))
            }
            Unanswerable::NoVariable(name) => {
                Self::new(1193, b"HY000", format!("Unknown system variable '{name}'"))
            }
            Unanswerable::NoFunction(name) => {
                Self::new(1305, b"42000", format!("FUNCTION {name} does not exist"))
            }
            Unanswerable::NoDatabase(name) => Self::new(1049, b"42000", format!("Unknown database '{name}'")),
        }
    }
}

impl Console {
    /// Answers one statement of an operator.
    pub(super) async fn answer(&self, sql: &str, operator: &mut Operator) -> Answer {
        let answered = match Statement::parse(sql) {
            None => Err(Unanswerable::Unknown.into()),
            Some(Statement::Nothing) => Ok(Answer::Done),
            Some(Statement::Use(name)) => {
                operator.use_database(&name).map(|()| Answer::Done).map_err(Into::into)
            }
            Some(Statement::Kill { id, query_only }) => self.kill(id, query_only, operator).await,
            Some(Statement::Reload) => {
                let by = String::from_utf8_lossy(&operator.user);
                tracing::info!(%by, "reload by an operator");
                let done = self.steering.reload().await.map_err(refused);
                done.map(|changes| Answer::Table(views::changes(changes)))
            }
            Some(Statement::Definitions) => self.definitions().await.map(Answer::Table),
            Some(Statement::Abandon(id)) => self.abandon(id, operator).await,
            Some(Statement::SwitchOver(server)) => self.switch_over(&server, operator).await,
            Some(Statement::Order { server, weight, verb, cluster }) => {
                self.order(&server, weight, (verb, cluster), operator).await
            }
            Some(Statement::Select(select)) => {
                self.select(select, operator).await.map(Answer::Table).map_err(Into::into)
            }
        };
        answered.unwrap_or_else(Answer::Error)
    }

    /// The journal of definitions.
    async fn definitions(&self) -> Result<Table, ErrPacket> {
        let (home, monitor) = (self.clusters.home(), self.config.load().monitor.clone());
        let unread = |trouble: Trouble| {
            ErrPacket::new(
                1105,
                b"HY000",
                format!("Tidegate: the journal of definitions cannot be read: {trouble}"),
            )
        };
        let entries = match Journal::find(home, &monitor).await.map_err(unread)? {
            Some(mut journal) => journal.entries(None).await.map_err(unread)?,
            None => Vec::new(),
        };
        Ok(views::definitions(entries))
    }

    /// Gives up a definition that is not on all of its shards.
    async fn abandon(&self, id: u64, operator: &Operator) -> Result<Answer, ErrPacket> {
        let (home, monitor) = (self.clusters.home(), self.config.load().monitor.clone());
        let by = String::from_utf8_lossy(&operator.user);
        tracing::info!(%by, id, "an operator gives up a definition");
        let told = |trouble: Trouble| refused(trouble.to_string());
        match Journal::find(home, &monitor).await.map_err(told)? {
            Some(mut journal) => journal.abandon(id).await.map(|()| Answer::Done).map_err(told),
            None => Err(told(Trouble::Unknown(id))),
        }
    }

    /// Ends a session, or what it runs.
    pub(super) async fn kill(
        &self,
        id: u64,
        query_only: bool,
        operator: &Operator,
    ) -> Result<Answer, ErrPacket> {
        let unknown = || ErrPacket::new(1094, b"HY000", format!("Unknown thread id: {id}"));
        let target = self.registry.find(id).ok_or_else(unknown)?;
        let by = String::from_utf8_lossy(&operator.user);
        tracing::info!(%by, target = id, query_only, "kill by an operator");
        if query_only {
            self.cores.kill_query(target).await?;
        } else {
            // The session itself ends its statement on the server.
            target.signals.raise(Signals::KILL);
        }
        Ok(Answer::Done)
    }

    async fn order(
        &self,
        server: &str,
        weight: Option<u32>,
        (verb, cluster): (Verb, Option<String>),
        operator: &Operator,
    ) -> Result<Answer, ErrPacket> {
        let mut server: Server = server.parse().map_err(refused)?;
        server.weight = weight.unwrap_or(server.weight);
        let by = String::from_utf8_lossy(&operator.user);
        tracing::info!(%by, server = server.address(), ?verb, "an operator's order");
        self.steering.order(Order { server, verb, cluster }).await.map_err(refused)?;
        Ok(Answer::Done)
    }

    async fn switch_over(&self, server: &str, operator: &Operator) -> Result<Answer, ErrPacket> {
        let server: Server = server.parse().map_err(refused)?;
        let (address, by) = (server.address(), String::from_utf8_lossy(&operator.user));
        tracing::info!(%by, server = address, "switchover by an operator");
        self.steering.switch_over(address).await.map_err(refused)?;
        Ok(Answer::Done)
    }

    async fn select(&self, select: Select, operator: &Operator) -> Result<Table, Unanswerable> {
        let around = Around { console: self, operator };
        let mut table = match &select.from {
            // Without FROM there is one row of nothing.
            None => Table { columns: vec![], rows: vec![vec![]] },
            Some(source) => self.source(source, &select, operator).await?,
        };
        let rows = std::mem::take(&mut table.rows);
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            yield_now().await; // a condition can be long: `serve` bounds the time of all rows together
            let liked = match (&select.like, row.first().and_then(Value::shown)) {
                (Some(pattern), Some(text)) => super::table::like(&text, pattern),
                (Some(_), None) => false,
                (None, _) => true,
            };
            let met = match &select.condition {
                Some(condition) if liked => condition.holds(&table, &row, &around)?,
                _ => liked,
            };
            if met {
                kept.push(row);
            }
        }
        table.rows = kept;
        sort(&mut table, &select)?;
        let mut shown = project(&table, &select.items, &around)?;
        if let Some((skip, take)) = select.limit {
            let (skip, take) = (clamp(skip), clamp(take));
            shown.rows = shown.rows.into_iter().skip(skip).take(take).collect();
        }
        Ok(shown)
    }

    async fn source(
        &self,
        source: &Source,
        select: &Select,
        operator: &Operator,
    ) -> Result<Table, Unanswerable> {
        match source {
            Source::Table { database, name } => {
                let database = database.as_deref().or(operator.database.as_deref()).unwrap_or(catalog::OWN);
                if database.eq_ignore_ascii_case(catalog::OWN) {
                    return self.own(name).await.ok_or_else(|| Unanswerable::NoTable(name.clone()));
                }
                if database.eq_ignore_ascii_case(catalog::DICTIONARY) {
                    return Ok(self.dictionary(name, select).await);
                }
                Err(Unanswerable::NoTable(format!("{database}.{name}")))
            }
            Source::Listing { what, of } => self.listing(what, of.as_deref(), operator).await,
        }
    }

    /// A table of the console's own.
    async fn own(&self, name: &str) -> Option<Table> {
        let snapshots = self.clusters.snapshots();
        Some(match name.to_ascii_lowercase().as_str() {
            "servers" => views::servers(&snapshots),
            "pools" => views::pools(&self.metrics, &snapshots, &self.cores.look().await),
            "sessions" => {
                let texts = Texts::of(&self.cores.look().await);
                views::sessions(&self.registry.all(), &snapshots, &texts)
            }
            "pins" => {
                let texts = Texts::of(&self.cores.look().await);
                views::pins(&self.registry.all(), &snapshots, &texts)
            }
            "digests" => views::digests(self.cores.look().await),
            "variables" => self.variables(),
            _ => return None,
        })
    }

    /// A table of the dictionary. One that the console does not have is empty, and a column that it does not have is NULL:
    /// which there are differs by the servers' versions, and programs that browse ask for many.
    async fn dictionary(&self, name: &str, select: &Select) -> Table {
        let mut own = Vec::new();
        for table in catalog::TABLES {
            own.extend(self.own(table).await.map(|found| (table, found)));
        }
        let find = |name: &str| own.iter().find(|(table, _)| *table == name).map(|(_, found)| found.clone());
        let mut table = catalog::dictionary(name, find).unwrap_or_else(|| Table::new(&[]));
        for name in select.columns() {
            if table.column(name).is_none() {
                table.columns.push(Column::new(name.to_owned(), Kind::Text));
                table.rows.iter_mut().for_each(|row| row.push(Value::Null));
            }
        }
        table
    }

    async fn listing(
        &self,
        what: &str,
        of: Option<&str>,
        operator: &Operator,
    ) -> Result<Table, Unanswerable> {
        let database = of.or(operator.database.as_deref()).unwrap_or(catalog::OWN);
        Ok(match what {
            "DATABASES" | "SCHEMAS" => catalog::databases(),
            "TABLES" => catalog::tables(database).first_columns(1),
            "FULL TABLES" => catalog::tables(database),
            "TABLE STATUS" => catalog::table_status(),
            "PROCESSLIST" => self.own("sessions").await.ok_or(Unanswerable::Unknown)?,
            "STATUS" => self.status(),
            "COLUMNS" | "FULL COLUMNS" => {
                let name = of.unwrap_or_default();
                let found = self.own(name).await;
                let found = found.ok_or_else(|| Unanswerable::NoTable(name.to_owned()))?;
                catalog::columns_of(&found, what == "FULL COLUMNS")
            }
            _ => catalog::listing(what).ok_or(Unanswerable::Unknown)?,
        })
    }

    fn status(&self) -> Table {
        let mut table = Table::of_texts(&["Variable_name", "Value"]);
        let sessions = self.registry.len().to_string();
        let uptime = views::uptime_s(self.started).to_string();
        for (name, value) in [("Threads_connected", sessions), ("Uptime", uptime)] {
            table.rows.push(vec![name.into(), value.into()]);
        }
        table
    }
}

/// Sorts by columns, or by their places from 1 on.
fn sort(table: &mut Table, select: &Select) -> Result<(), Unanswerable> {
    let mut keys = Vec::new();
    for (operand, descending) in &select.order {
        keys.push((sort_key(table, select, operand)?, *descending));
    }
    table.rows.sort_by(|one, other| {
        let each = keys.iter().map(|(at, descending)| {
            let order = one[*at].order(&other[*at]);
            if *descending { order.reverse() } else { order }
        });
        each.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    Ok(())
}

/// The column that an item of ORDER BY means: its name, its alias, or its place among what is shown.
fn sort_key(table: &Table, select: &Select, operand: &Operand) -> Result<usize, Unanswerable> {
    let (shown, name) = match operand {
        Operand::Literal(Value::Number(place)) => {
            let at = clamp(*place).wrapping_sub(1);
            if select.items == [Item::All] && at < table.columns.len() {
                return Ok(at);
            }
            (select.items.get(at), place.to_string())
        }
        Operand::Column(name) => {
            let is_alias =
                |item: &&Item| matches!(item, Item::One(_, alias) if alias.eq_ignore_ascii_case(name));
            (select.items.iter().find(is_alias), name.clone())
        }
        _ => return Err(Unanswerable::Unknown),
    };
    let column = match shown {
        Some(Item::One(Operand::Column(column), _)) => column,
        _ => &name,
    };
    table.column(column).ok_or_else(|| Unanswerable::NoColumn(column.clone()))
}

/// The columns that are asked for. COUNT(*) makes one row of all.
fn project(table: &Table, items: &[Item], around: &Around<'_>) -> Result<Table, Unanswerable> {
    if let [Item::All] = items {
        return Ok(table.clone());
    }
    let counts = items.iter().any(|item| matches!(item, Item::One(Operand::Count, _)));
    let one_row = [table.rows.first().cloned().unwrap_or_default()];
    let rows: &[Vec<Value>] = if counts { &one_row } else { &table.rows };
    let mut shown = Table { columns: vec![], rows: vec![vec![]; rows.len()] };
    for item in items {
        let Item::One(operand, name) = item else {
            shown.columns.extend(table.columns.iter().cloned());
            shown.rows.iter_mut().zip(rows).for_each(|(out, row)| out.extend(row.iter().cloned()));
            continue;
        };
        let mut kind = match operand {
            // Also where there are no rows to look into.
            Operand::Column(name) => {
                let at = table.column(name).ok_or_else(|| Unanswerable::NoColumn(name.clone()))?;
                Some(table.columns[at].kind)
            }
            _ => None,
        };
        for (out, row) in shown.rows.iter_mut().zip(rows) {
            let value = operand.value(table, row, around)?;
            kind.get_or_insert(match value {
                Value::Number(_) => Kind::Number,
                Value::Fraction(_) => Kind::Fraction,
                Value::Null | Value::Text(_) => Kind::Text,
            });
            out.push(value);
        }
        shown.columns.push(Column::new(name.clone(), kind.unwrap_or(Kind::Text)));
    }
    Ok(shown)
}

fn clamp(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What a statement may ask beside its table.
struct Around<'a> {
    console: &'a Console,
    operator: &'a Operator,
}

impl Surroundings for Around<'_> {
    fn variable(&self, name: &str) -> Option<Value> {
        self.console.variable(name)
    }

    fn function(&self, name: &str) -> Option<Value> {
        let user = || String::from_utf8_lossy(&self.operator.user).into_owned();
        Some(match name {
            "database" | "schema" => Value::text_or_null(self.operator.database.clone()),
            "version" => super::VERSION.into(),
            "user" | "current_user" | "session_user" | "system_user" => format!("{}@%", user()).into(),
            "connection_id" => u64::from(self.operator.id.0).into(),
            "now" | "current_timestamp" | "utc_timestamp" | "sysdate" => {
                super::time::utc(std::time::SystemTime::now()).into()
            }
            "current_role" => "NONE".into(),
            _ => return None,
        })
    }
}
