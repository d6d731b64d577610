//! Executions by the rules: which shards one runs on by the values that it brings.
//!
//! Owns: the way from a client's statement to that of a site, and from its packet to the site's. Does not know: where keys are (`shard`), SQL
//! (`plan::sharded`), servers' ids of statements (`execution`), what a statement is whatever its values (`placing`). Invariant: an execution
//! runs where the statement would run with its values as literals, or not at all; without rules for databases nothing here costs more than
//! one look.

use std::sync::Arc;

use super::Site;
use super::abroad::{Ahead, Placed};
use super::direct::{Directed, Directory, RULES_CHANGED, Reading, may_name_tables, refused};
use crate::backend::statements::Source;
use crate::plan::sharded::{Arguments, Merging, Planned, Routed, positional};
use crate::session::scatter::Share;
use crate::session::spread::portions::Spread;
use crate::session::statements::execution::Execution;
use crate::session::statements::placing::{DEFINITION, NOT_PREPARED};
use crate::session::{Problem, Session};
use crate::shard::{Charset, Date, Datetime, Value};
use crate::sql::{self, Class, Recognised, Uses};
use crate::wire::capabilities::Capabilities;
use crate::wire::command::STMT_BULK_EXECUTE;
use crate::wire::execute::{Layout, ask_for_rows};
use crate::wire::parameters::{Argument, Parameter, Parameters};

/// What an execution becomes.
pub(in crate::session) enum Bound {
    /// It is done.
    Done,
    /// One where the session is, with other values where that is needed.
    Here(Arc<Source>, Option<Bindings>),
    /// One at several sites, whose rows are merged.
    Scattered(Vec<Share>, Box<Merging>, Bindings),
    /// A change at several sites.
    Spread(Box<Spread>),
}

/// An execution's values, for statements of any site.
#[derive(Debug)]
pub(in crate::session) struct Bindings {
    id: u32,
    payload: Vec<u8>,
    bound_at: Option<usize>,
    types: Option<Arc<[u8]>>,
    carries_types: bool,
}

impl Bindings {
    /// Those that a payload with so many parameters carries; its types are `earlier` where it has none.
    fn new(
        id: u32,
        payload: Vec<u8>,
        parameters: usize,
        attributes: bool,
        earlier: Option<Arc<[u8]>>,
    ) -> Option<Self> {
        let layout = Layout::of(&payload, u16::try_from(parameters).ok()?, attributes)?;
        let carried = layout.types.and_then(|types| payload.get(types)).map(Arc::from);
        let carries_types = carried.is_some();
        let types = carried.or(earlier);
        Some(Self { id, payload, bound_at: layout.bound_at, types, carries_types })
    }

    /// The execution of a statement with them.
    pub fn execution<'a>(&'a self, source: &'a Arc<Source>) -> Execution<'a> {
        let Self { id, payload, bound_at, types, carries_types } = self;
        Execution {
            id: *id,
            source,
            payload,
            types: types.clone(),
            bound_at: *bound_at,
            carries_types: *carries_types,
            executes: true,
        }
    }
}

/// An execution as the client has sent it.
pub(in crate::session) struct Given<'a> {
    pub id: u32,
    pub payload: &'a [u8],
    pub base: Arc<Source>,
    pub statement: Recognised,
    pub reading: Reading,
    pub parameters: u16,
    types: Option<Arc<[u8]>>,
    attributes: bool,
    ahead: Ahead,
}

impl Given<'_> {
    pub fn types(&self) -> &[u8] {
        self.types.as_deref().unwrap_or_default()
    }

    /// Whether values were sent before the execution.
    pub fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether it brings the values of several rows.
    pub fn is_bulk(&self) -> bool {
        self.payload.first() == Some(&STMT_BULK_EXECUTE)
    }

    /// The values.
    pub fn parameters(&self) -> Result<Parameters<'_>, Problem> {
        let ahead = |at| self.ahead.value(at);
        Parameters::of(self.payload, self.parameters, self.attributes, self.types(), ahead).ok_or(MALFORMED)
    }

    /// Values for a statement with so many parameters, as this payload carries them.
    pub fn bindings(&self, payload: Option<Vec<u8>>, parameters: usize) -> Result<Bindings, Problem> {
        let earlier = self.types.clone();
        payload
            .and_then(|payload| Bindings::new(self.id, payload, parameters, self.attributes, earlier))
            .ok_or(MALFORMED)
    }

    /// Parameters as keys are compared.
    pub fn values<'v>(&self, parameters: &Parameters<'v>, charset: Charset) -> Vec<Value<'v>> {
        parameters.values().map(|value| self.value(value, charset)).collect()
    }

    /// The same of one.
    pub fn value<'v>(&self, parameter: Parameter<'v>, charset: Charset) -> Value<'v> {
        match parameter {
            Parameter::Null => Value::Null,
            Parameter::Integer(number) => Value::Integer(number),
            Parameter::Real(number) => Value::Double(number),
            Parameter::Decimal(digits) => Value::Decimal(digits),
            Parameter::Text(text) => Value::Text(text, charset),
            Parameter::Bytes(bytes) => Value::Bytes(bytes),
            Parameter::Date(year, month, day, None) => Value::Date(Date { year, month, day }),
            Parameter::Date(year, month, day, Some(microseconds)) => {
                Value::Datetime(Datetime { date: Date { year, month, day }, microseconds })
            }
            Parameter::Other => Value::Other,
        }
    }
}

impl Session {
    /// Goes where an execution must run; `None` where there are no rules.
    ///
    /// # Errors
    /// The plan refuses it, its values do, or it cannot run there in the open transaction.
    pub(in crate::session) async fn direct_execution(
        &mut self,
        id: u32,
        payload: &[u8],
    ) -> Result<Option<Bound>, Problem> {
        let directory = self.worker.directory.load();
        if !directory.lists_any() {
            return Ok(None);
        }
        let directory = Arc::clone(&directory);
        Box::pin(self.direct_execution_by(&directory, id, payload)).await.map(Some)
    }

    async fn direct_execution_by(
        &mut self,
        directory: &Directory,
        id: u32,
        payload: &[u8],
    ) -> Result<Bound, Problem> {
        let ahead = self.statements.take_ahead(id);
        let known = self.statements.known.get(&id).ok_or(MALFORMED)?;
        let mut given = Given {
            id,
            payload,
            base: Arc::clone(&known.source),
            statement: known.statement,
            reading: known.reading,
            parameters: known.parameters,
            types: known.types.clone(),
            attributes: self.class.capabilities.contains(Capabilities::QUERY_ATTRIBUTES),
            ahead,
        };
        let (base, statement) = (Arc::clone(&given.base), given.statement);
        self.find_home_by(directory);
        if self.end_parts_for(&base.text, statement).await? {
            return Ok(Bound::Done);
        }
        self.knows_variables(statement)?;
        let placed = match may_name_tables(statement) {
            true => self.placed_now(directory, id, &mut given.base).await?,
            false => None,
        };
        match placed.as_deref().map(|placed| (placed, &*placed.planned)) {
            Some((_, Planned::Refused(refusal))) => return Err(refused(refusal)),
            Some((Placed { text, literals, .. }, Planned::Routed(routed))) => {
                let Reading { lexing, charset, .. } = &given.reading;
                let asked = Arguments { sql: text, lexing, literals, parameters: &[], charset: *charset };
                return self.bind(directory, routed, &given, asked).await;
            }
            Some((Placed { text, literals, .. }, Planned::Makes(makes))) => {
                let Reading { lexing, charset, .. } = &given.reading;
                let asked = Arguments { sql: text, lexing, literals, parameters: &[], charset: *charset };
                return self.bind_making(directory, makes, &given, asked).await;
            }
            Some((_, Planned::Copies(copies)))
                if !directory.rules_of(&copies.database)?.copies().is_empty() =>
            {
                let spread = self.spread_copies(directory.rules_of(&copies.database)?, copies, &base.text)?;
                return self.bind_copies(spread, &given);
            }
            Some((_, Planned::Unlisted(_))) => return Err(RULES_CHANGED),
            Some((_, Planned::Definition(_) | Planned::Upkeep(_))) => {
                return Err(Problem::Unsupported(DEFINITION.into()));
            }
            Some((_, Planned::Load(_))) => return Err(NOT_PREPARED),
            Some((_, Planned::Home)) => {
                // Of the database in which it was prepared.
                let home = directory.rules().home_of(&base.state.schema);
                self.stay_at(home, &base.text, statement).await?;
            }
            Some((_, Planned::Copies(copies))) => {
                let home = directory.rules_of(&copies.database)?.home.cluster;
                self.stay_at(home, &base.text, statement).await?;
            }
            Some((_, Planned::HomeOf(cluster))) => {
                self.go_home(Site::home(*cluster), statement).await?;
            }
            Some((_, Planned::Dictionary(dictionary))) => {
                given.base = self.dictionary_anew(directory, dictionary, id, &base).await?;
                self.stay_at(self.default_home(), &given.base.text, statement).await?;
            }
            None if statement.class == Class::Use => {
                let name = sql::used_database(&base.text, &self.lexing);
                self.take_to_database(name.as_deref(), statement).await?;
            }
            None => {}
        }
        self.close_cursor_elsewhere(id);
        let bindings = match given.ahead.is_empty() {
            true => None,
            false => Some(given.bindings(given.parameters()?.whole(), given.parameters.into())?),
        };
        let source = self.source_here(&given, None).await?;
        Ok(Bound::Here(source, bindings))
    }

    /// An execution of a statement that runs on shards.
    pub(in crate::session) async fn bind(
        &mut self,
        directory: &Directory,
        routed: &Routed,
        given: &Given<'_>,
        asked: Arguments<'_>,
    ) -> Result<Bound, Problem> {
        if given.is_bulk() {
            return self.bind_bulk(directory, routed, given, asked).await;
        }
        let parameters = given.parameters()?;
        let values = given.values(&parameters, self.charset);
        let asked = Arguments { parameters: &values, ..asked };
        let same = |order: &[Argument]| {
            let mut order = order.iter().enumerate();
            order.len() == values.len() && order.all(|(at, argument)| *argument == Argument::Parameter(at))
        };
        match self.follow(directory, routed, &asked, given.statement).await? {
            Directed::Here => {
                let payload = (!given.ahead.is_empty()).then(|| parameters.whole());
                let bindings = payload.map(|payload| given.bindings(payload, values.len())).transpose()?;
                self.bound_here(given, None, bindings).await
            }
            Directed::As(sql) => {
                let (sql, order) = positional(&sql, asked.lexing);
                let changed = !same(&order) || !given.ahead.is_empty();
                let payload = changed.then(|| parameters.arranged(&order));
                let bindings = payload.map(|payload| given.bindings(payload, order.len())).transpose()?;
                self.bound_here(given, Some(sql), bindings).await
            }
            Directed::Scattered(mut shares, merging) => {
                self.close_cursor_here(given.id);
                self.close_cursor_elsewhere(given.id);
                let mut order = Vec::new();
                for share in &mut shares {
                    (share.sql, order) = positional(&share.sql, asked.lexing);
                    let schema = share.site.names.as_ref().map_or(&[][..], |names| &names.schema.0);
                    let hasher = &self.worker.hasher;
                    share.source = self.statements.at_shard(given.id, &share.sql, schema, hasher);
                }
                let mut payload = parameters.arranged(&order);
                payload.as_deref_mut().map(ask_for_rows);
                let bindings = given.bindings(payload, order.len())?;
                Ok(Bound::Scattered(shares, merging, bindings))
            }
            Directed::Spread(mut spread) => {
                self.close_cursor_elsewhere(given.id);
                for portion in &mut spread.portions {
                    let named = if portion.share.sql.is_empty() { asked.sql } else { &portion.share.sql };
                    let (sql, order) = positional(named, asked.lexing);
                    let bindings = given.bindings(parameters.arranged(&order), order.len())?;
                    self.bind_portion(portion, given, sql, bindings)?;
                }
                Ok(Bound::Spread(spread))
            }
            Directed::Done | Directed::Defined(_) | Directed::Tended(_) | Directed::Loaded(_) => {
                Err(Problem::Unsupported(DEFINITION.into()))
            }
        }
    }

    /// One where the session is now.
    pub(in crate::session) async fn bound_here(
        &mut self,
        given: &Given<'_>,
        sql: Option<Vec<u8>>,
        bindings: Option<Bindings>,
    ) -> Result<Bound, Problem> {
        self.close_cursor_elsewhere(given.id);
        let source = self.source_here(given, sql).await?;
        Ok(Bound::Here(source, bindings))
    }

    /// The statement as it is known where the session is: as the client's text, or as this one.
    async fn source_here(&mut self, given: &Given<'_>, sql: Option<Vec<u8>>) -> Result<Arc<Source>, Problem> {
        if !self.is_away() || self.is_at_home_of(&given.base.state.schema) {
            return Ok(Arc::clone(&given.base));
        }
        let text = sql.as_deref().unwrap_or(&given.base.text);
        let own = match given.statement.uses.contains(Uses::CONNECTION_ID) {
            true => self.in_own_ids(text, given.statement).await,
            false => None,
        };
        let (text, schema) = (own.as_deref().unwrap_or(text), &self.desired.schema);
        let source = self.statements.at_shard(given.id, text, schema, &self.worker.hasher);
        let source = source.ok_or(MALFORMED)?;
        if let Some(known) = self.statements.known.get_mut(&given.id) {
            known.abroad.note_execution(&source);
        }
        Ok(source)
    }

    /// Keeps a value until it is known where it goes; false where that cannot be known, as no shard is asked.
    pub(in crate::session) async fn keep_ahead(&mut self, id: u32, parameter: u16, bytes: &[u8]) -> bool {
        let directory = self.worker.directory.load();
        if !directory.lists_any() {
            return false;
        }
        let directory = Arc::clone(&directory);
        let placed = self.placed(&directory, id);
        let is_abroad = |placed: Arc<Placed>| {
            use Planned::{HomeOf, Makes, Routed, Unlisted};
            matches!(*placed.planned, Routed(_) | Makes(_) | Unlisted(_) | HomeOf(_))
        };
        if !placed.is_some_and(is_abroad) {
            let known = self.statements.known.get(&id);
            let home = known.map(|known| directory.rules().home_of(&known.source.state.schema));
            let home = Site::home(home.unwrap_or(self.home()));
            Box::pin(self.visit(&home)).await;
            return false;
        }
        if let Some(known) = self.statements.known.get_mut(&id) {
            let kept = parameter < known.parameters && known.abroad.ahead.add(parameter, bytes, &self.worker);
            known.long_data_failed |= !kept;
        }
        true
    }

    /// What the statement has open where the session is not ends: a client's statement has one cursor.
    pub(in crate::session) fn close_cursor_elsewhere(&mut self, id: u32) {
        if self.is_open_elsewhere(id)
            && let Some(known) = self.statements.known.get(&id)
        {
            self.close_elsewhere(id, &known.sources());
        }
    }

    /// The same where it is.
    fn close_cursor_here(&mut self, id: u32) {
        if self.statements.open.close(id)
            && let (Some(known), Some(held)) = (self.statements.known.get(&id), &mut self.held)
        {
            known.sources().iter().for_each(|source| held.statements.remove(source));
            self.set_pins(self.statements.open.pins(self.pins));
        }
    }
}

pub(in crate::session) const MALFORMED: Problem =
    Problem::Request(1835, std::borrow::Cow::Borrowed("Malformed communication packet."));
