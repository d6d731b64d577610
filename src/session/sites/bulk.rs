//! Executions that change several places; MariaDB's COM_STMT_BULK_EXECUTE: its rows at one shard, or those of each shard there.
//!
//! Owns: which rows of a bulk are whose, and the packet of each place. Does not know: how several shards carry theirs out (`spread`). Invariant: a
//! row goes as it came; every row is in one packet, in the order in which the client has sent those of its shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bound::{Bindings, Bound, Given, MALFORMED};
use super::direct::{Directed, Directory, NOT_STRICT, On, RULES_CHANGED, refused};
use crate::execute::told::Inserted;
use crate::plan::sharded::{Arguments, Chosen, Routed, Verb, positional};
use crate::session::spread::portions::{Portion, Spread};
use crate::session::{Problem, Session};
use crate::shard::ShardIx;
use crate::wire::parameters::{Argument, Bulk};

impl Session {
    /// A bulk execution of a statement that runs on shards.
    pub(in crate::session) async fn bind_bulk(
        &mut self,
        directory: &Directory,
        routed: &Routed,
        given: &Given<'_>,
        asked: Arguments<'_>,
    ) -> Result<Bound, Problem> {
        let database = directory.rules_of(&routed.database)?;
        let mut bulk = Bulk::of(given.payload, given.parameters, given.types()).ok_or(MALFORMED)?;
        let (mut row, mut values, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut starts = vec![bulk.position()];
        while bulk.next(&mut row).ok_or(MALFORMED)? {
            values.clear();
            values.extend(row.iter().map(|value| given.value(*value, self.charset)));
            let asked = Arguments { parameters: &values, ..asked };
            match routed.choose(&asked, database).map_err(|refusal| refused(&refusal))? {
                Chosen::One(one) => places.push(one),
                Chosen::Several(_) => return Err(Problem::Unsupported(BULK_APART.into())),
            }
            starts.push(bulk.position());
        }
        let Some(last) = places.last().copied() else { return Err(MALFORMED) };
        if places.iter().any(|place| *place != last) {
            let on = On { routed, database };
            return self.bulk_apart(&on, given, asked, &places, &starts);
        }
        let asked = Arguments { parameters: &values, ..asked };
        let sql = match self.follow(directory, routed, &asked, given.statement).await? {
            Directed::Here => None,
            Directed::As(sql) => Some(positional(&sql, asked.lexing).0),
            _ => return Err(Problem::Unsupported(BULK_APART.into())),
        };
        self.bound_here(given, sql, None).await
    }

    /// A portion becomes an execution of this text.
    pub(in crate::session) fn bind_portion(
        &mut self,
        portion: &mut Portion,
        given: &Given<'_>,
        sql: Vec<u8>,
        bindings: Bindings,
    ) -> Result<(), Problem> {
        let share = &mut portion.share;
        share.source = match &share.site.names {
            Some(names) => self.statements.at_shard(given.id, &sql, &names.schema.0, &self.worker.hasher),
            None => Some(Arc::clone(&given.base)),
        };
        share.source.as_ref().ok_or(MALFORMED)?;
        (share.sql, portion.bindings) = (sql, Some(bindings));
        Ok(())
    }

    /// All copies of a table are changed by the same values.
    pub(in crate::session) fn bind_copies(
        &mut self,
        directed: Directed,
        given: &Given<'_>,
    ) -> Result<Bound, Problem> {
        let Directed::Spread(mut spread) = directed else { return Err(RULES_CHANGED) };
        if given.is_bulk() {
            return Err(Problem::Unsupported(BULK_COPIES.into()));
        }
        self.close_cursor_elsewhere(given.id);
        let parameters = given.parameters()?;
        for portion in &mut spread.portions {
            let bindings = given.bindings(parameters.whole(), given.parameters.into())?;
            let sql = match portion.share.sql.is_empty() {
                true => given.base.text.to_vec(),
                false => std::mem::take(&mut portion.share.sql),
            };
            self.bind_portion(portion, given, sql, bindings)?;
        }
        Ok(Bound::Spread(spread))
    }

    /// The rows lie at these places, each from its start to the next one's.
    fn bulk_apart(
        &mut self,
        on: &On<'_>,
        given: &Given<'_>,
        asked: Arguments<'_>,
        places: &[ShardIx],
        starts: &[usize],
    ) -> Result<Bound, Problem> {
        let inserts = matches!(on.routed.verb, Verb::Insert | Verb::Replace);
        if inserts && !self.strict {
            return Err(Problem::Unsupported(NOT_STRICT.into()));
        }
        if !on.routed.verb.writes() || !on.routed.ignores.is_empty() || Bulk::asks_for_each(given.payload) {
            return Err(Problem::Unsupported(BULK_APART.into()));
        }
        self.outside_of_transactions()?;
        let mut of_shard: BTreeMap<ShardIx, Vec<usize>> = BTreeMap::new();
        for (row, place) in places.iter().enumerate() {
            of_shard.entry(*place).or_default().push(row);
        }
        let inserted = inserts.then(|| Inserted {
            rows: of_shard.values().map(|rows| rows.len() as u64).collect(),
            last: of_shard.keys().position(|shard| places.last() == Some(shard)).unwrap_or_default(),
            ignores: false,
        });
        let head = starts.first().and_then(|first| given.payload.get(..*first)).ok_or(MALFORMED)?;
        let mut portions = Vec::with_capacity(of_shard.len());
        for (shard, rows) in of_shard {
            let share = on.share(shard, asked.sql, &on.routed.edits, asked.lexing).ok_or(RULES_CHANGED)?;
            let named = if share.sql.is_empty() { asked.sql } else { &share.sql };
            let (sql, order) = positional(named, asked.lexing);
            let as_given =
                order.iter().enumerate().all(|(at, argument)| *argument == Argument::Parameter(at));
            if !as_given || order.len() != usize::from(given.parameters) {
                return Err(Problem::Unsupported(BULK_APART.into()));
            }
            let mut payload = head.to_vec();
            for row in &rows {
                let span = starts.get(*row).zip(starts.get(row + 1));
                let bytes = span.and_then(|(start, end)| given.payload.get(*start..*end));
                payload.extend_from_slice(bytes.ok_or(MALFORMED)?);
            }
            let bindings = given.bindings(Some(payload), order.len())?;
            let mut portion = Portion::new(share, on.name(shard).ok_or(RULES_CHANGED)?, rows);
            self.bind_portion(&mut portion, given, sql, bindings)?;
            portions.push(portion);
        }
        Ok(Bound::Spread(Box::new(Spread {
            portions,
            inserted,
            copies: false,
            made: None,
            kept: Vec::new(),
        })))
    }
}

const BULK_APART: &str = "each row of a bulk execution on a sharded table must lie in one shard, and rows of several shards are neither read, nor inserted with \
                          IGNORE, nor answered one by one: execute the statement for each row";

const BULK_COPIES: &str = "bulk execution cannot change a reference table, of which every shard has a copy: execute the statement for each row";
