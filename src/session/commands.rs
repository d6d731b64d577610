//! Every command, and its answer.

use std::sync::Arc;

use super::incoming::Command;
use super::pins::Pins;
use super::resume::course::Course;
use super::sites::Site;
use super::work::Work;
use super::{Flow, Problem, Session, reply};
use crate::backend::names::of_collation;
use crate::backend::state::State;
use crate::plan::{self, Reason, Route, Target};
use crate::sql::{Class, Kill, Recognised, Uses, Victim};
use crate::wire::capabilities::Capabilities;
use crate::wire::command as com;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

impl Session {
    /// Carries out one command. Each arm is one step; look here first.
    pub(super) async fn carry_out(&mut self, command: &Command) -> Flow {
        match command.payload().first().copied() {
            Some(com::QUERY) => self.query(command).await,
            Some(com::STMT_EXECUTE) => self.execute(command).await,
            Some(com::STMT_BULK_EXECUTE) if self.has_bulk() => self.execute(command).await,
            Some(com::STMT_PREPARE) => self.prepare(command).await,
            Some(com::STMT_CLOSE) => self.close_statement(command),
            Some(com::STMT_SEND_LONG_DATA) => self.send_long_data(command).await,
            Some(com::STMT_RESET) => self.reset_statement(command).await,
            Some(com::STMT_FETCH) => self.fetch(command).await,
            Some(com::PING) => self.ping(command).await,
            Some(com::INIT_DB) => self.forward_beside(command, Class::Use, Expect::Simple).await,
            Some(com::STATISTICS) => self.forward_beside(command, Class::ShowServer, Expect::Text).await,
            Some(com::FIELD_LIST) => self.list_fields(command).await,
            Some(com::SET_OPTION) => self.set_option(command).await,
            Some(com::RESET_CONNECTION) => self.reset_connection(command).await,
            Some(com::CHANGE_USER) => self.change_user(command).await,
            Some(com::PROCESS_KILL) => self.process_kill(command).await,
            Some(com::QUIT) => Flow::Close,
            _ => self.refuse(&Problem::Request(1047, "Unknown command".into())).await,
        }
    }

    /// Whether COM_STMT_BULK_EXECUTE was offered, and taken.
    fn has_bulk(&self) -> bool {
        self.class.capabilities.contains(Capabilities::STMT_BULK_OPERATIONS)
    }

    /// The same, of which servers leave the warnings of the statement before; MySQL counts them in its answer.
    async fn forward_beside(&mut self, command: &Command, class: Class, expect: Expect) -> Flow {
        let asks = self.last.warnings > 0;
        let uses = if asks { Uses::DIAGNOSTICS } else { Uses::empty() };
        if class == Class::Use && self.worker.directory.load().lists_any() {
            let statement = Recognised::plain(class, uses);
            let taken = Box::pin(self.take_to_database(command.payload().get(1..), statement)).await;
            if let Err(problem) = taken {
                return self.refuse(&problem).await;
            }
        }
        self.forward_as(command, Recognised::plain(class, uses), expect).await
    }

    /// COM_FIELD_LIST: a table's columns. Those of a sharded table are asked of a shard.
    async fn list_fields(&mut self, command: &Command) -> Flow {
        let statement = Recognised::plain(Class::Show, Uses::empty());
        if !self.worker.directory.load().lists_any() {
            return self.forward_as(command, statement, Expect::Fields).await;
        }
        let named = Box::pin(self.go_to_fields(command, statement)).await;
        match named {
            Ok(packets) => {
                let packets = packets.as_deref().unwrap_or(command.packets());
                let work = Work::command(packets, Expect::Fields, statement);
                let route = Route { target: Target::Any, reason: Reason::ServerState };
                self.perform(&work, route).await
            }
            Err(problem) => self.refuse(&problem).await,
        }
    }

    /// A command whose answer is the server's, and which is routed like a statement of `class`.
    async fn forward(&mut self, command: &Command, class: Class, expect: Expect) -> Flow {
        self.forward_as(command, Recognised::plain(class, Uses::empty()), expect).await
    }

    async fn forward_as(&mut self, command: &Command, statement: Recognised, expect: Expect) -> Flow {
        let class = statement.class;
        let route = match class {
            // Dictionary and statistics through the old commands: the primary's, as far as there is one.
            Class::Use => plan::route(statement, self.situation()),
            _ => Route { target: Target::Any, reason: Reason::ServerState },
        };
        let work = Work::command(command.packets(), expect, statement);
        self.perform(&work, route).await
    }

    /// A command that the held connection answers, and that changes nothing of what the statement before left.
    async fn ask_held(&mut self, command: &Command) -> Flow {
        let statement = Recognised::plain(Class::Diagnostics, Uses::DIAGNOSTICS);
        let work = Work::command(command.packets(), Expect::Simple, statement);
        self.perform(&work, Route { target: Target::Held, reason: Reason::Pinned }).await
    }

    /// COM_PING: the held connection is asked, so that it stays alive; otherwise Tidegate answers.
    async fn ping(&mut self, command: &Command) -> Flow {
        self.note_command(0);
        if self.held.is_some() {
            return self.ask_held(command).await;
        }
        self.tell(&reply::ok(1, self.standing(), self.left_warnings(), self.client.capabilities)).await
    }

    /// COM_SET_OPTION: several statements in one packet are allowed, or not.
    async fn set_option(&mut self, command: &Command) -> Flow {
        let allowed = match command.payload() {
            [_, 0, 0] => true,
            [_, 1, 0] => false,
            // A server refuses it, and MySQL adds that to what there is to ask about.
            [_, _, _] if self.held.is_some() => return self.ask_held(command).await,
            _ => return self.refuse(&Problem::Request(1047, "Unknown command".into())).await,
        };
        self.note_command(-1);
        if self.held.is_none() {
            self.call_in_insert_id(None).await; // from the class that it is in
        }
        if let Some(mut held) = self.held.take() {
            // The held connection keeps its session; it belongs to the other class from now on.
            held.key.class.capabilities.set(Capabilities::MULTI_STATEMENTS, allowed);
            self.held = Some(held);
        }
        self.class.capabilities.set(Capabilities::MULTI_STATEMENTS, allowed);
        if self.held.is_some() {
            return self.ask_held(command).await;
        }
        self.tell(&reply::end(1, self.standing(), self.left_warnings(), self.client.capabilities)).await
    }

    /// COM_RESET_CONNECTION: the session begins anew, without a server having to be asked.
    async fn reset_connection(&mut self, command: &Command) -> Flow {
        if self.pins.contains(Pins::EXPIRED_PASSWORD) {
            self.statements.clear();
            return self.forward(command, Class::Session, Expect::Simple).await;
        }
        self.drop_state().await;
        let mut desired = (*self.desired).clone();
        desired.reset();
        self.desired = Arc::new(desired);
        self.become_fresh();
        self.tell(&reply::ok(1, self.standing(), 0, self.client.capabilities)).await
    }

    /// Gives back what is held, and forgets what lived on it.
    pub(super) async fn drop_state(&mut self) {
        self.look_after_last_call().await;
        if let Some(mut held) = self.held.take() {
            // The client may count on its locks being gone once it has its answer.
            self.unburden(&mut held, true);
            self.worker.pool.check_in_settled(held).await;
        }
        self.clear_after_routines();
        self.set_pins(Pins::default());
        self.leave_sites();
        self.move_to_site(&Site::home(self.home()));
        self.ledger.clear();
        self.statements.clear();
        self.texts.clear();
        self.variables.clear();
        self.sequence_at = None;
        self.insert_id = Arc::default();
        self.incarnation = self.incarnation.wrapping_add(1);
        self.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
        self.course = Course::Untold;
        self.recall_database(); // it is the session's still
    }

    /// The last packet of a login: OK, or what is wrong with the database. False when the client must go.
    pub(super) async fn finish_login(&mut self, database: Option<Vec<u8>>, sequence: u8) -> bool {
        let database = database.filter(|schema| !schema.is_empty());
        if self.account.expired {
            return self.finish_expired_login(database.as_deref(), sequence).await;
        }
        if let Some(schema) = database
            && let Err(problem) = self.log_in_to(schema).await
        {
            tracing::debug!(client = %self.entry.handle.id, %problem, "login refused");
            let packet = reply::error(sequence, &problem.packet());
            self.tell(&packet).await;
            return false;
        }
        let (schema, flags) = (&self.desired.schema, self.client.capabilities);
        let ok = reply::welcome(sequence, self.standing(), schema, flags);
        self.tell(&ok).await == Flow::Continue
    }

    /// The database that a login names becomes the session's, where it is one.
    async fn log_in_to(&mut self, schema: Vec<u8>) -> Result<(), Problem> {
        let (charset, _) = of_collation(self.class.collation.into(), self.lexing.server.dialect);
        if !schema.is_ascii() && !charset.starts_with("utf8") {
            return self.check_state(Some(&schema)).await;
        }
        self.desired = Arc::new(State::with_schema(schema.clone()));
        self.entry.handle.activity.set_database(&schema);
        self.find_home();
        self.move_to_site(&Site::home(self.home()));
        if !self.worker.is_schema_known(self.account.id, &schema) {
            self.check_state(None).await?;
            self.worker.know_schema(self.account.id, &schema);
        }
        Ok(())
    }

    async fn process_kill(&mut self, command: &Command) -> Flow {
        match command.payload() {
            &[_, a, b, c, d] => {
                let id = u64::from(u32::from_le_bytes([a, b, c, d]));
                self.kill(&[], Kill { victim: Victim::Id(id), query_only: false }).await
            }
            _ => self.refuse(&Problem::Request(1835, "Malformed communication packet.".into())).await,
        }
    }
}
