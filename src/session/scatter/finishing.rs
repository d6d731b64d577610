//! Columns of merged rows that one of the shards' servers computes.
//!
//! Owns: who is asked, and the way of answers into the reply. Does not know: what is asked (`merge::Finisher`). Invariant: a connection is asked
//! only when all of its part's reply has been read; each row that was merged has one answer.

use super::lanes::unsent;
use super::parts::Asked;
use super::united::Reply;
use super::{Failure, Read, Share};
use crate::execute::part::Packet;
use crate::execute::relay::RelayError;
use crate::merge::Finisher;
use crate::session::Session;
use crate::wire::command;

impl Session {
    /// Asks for what is missing in the rows, and puts them into the reply.
    pub(in crate::session) async fn finish_rows(
        &mut self,
        mut finisher: Finisher,
        parts: &mut [Asked],
        shares: &[Share],
        read: &Read<'_>,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let free = self.free_part(parts).await; // LIMIT may have left rows
        let free = free.and_then(|at| Some((parts.get_mut(at)?, shares.get(at)?)));
        let (asked, share) = free.ok_or(Failure::Again)?;
        let mut row = Vec::new();
        while let Some((question, rows)) = finisher.question()? {
            let connection = asked.connection().ok_or(RelayError::Protocol)?;
            let mut packets = Vec::with_capacity(question.len() + 16);
            command::put_query(&mut packets, &question, connection.capabilities);
            asked.ask(&packets).await.map_err(|error| unsent(error, asked.server(), share))?;
            let mut number = 0;
            loop {
                match self.next_of(asked, share).await? {
                    Packet::Column(_) | Packet::Columns => {}
                    Packet::Row(range) => {
                        row.clear();
                        finisher.answer(number, asked.bytes(range), &mut row)?;
                        asked.release();
                        number += 1;
                        self.put_row(&row, reply, read).await?;
                    }
                    Packet::Error(error) => return Err(Failure::Refused(error)),
                    Packet::End(_) => break,
                    Packet::File(_) => return Err(RelayError::Protocol.into()),
                }
            }
            if number != rows {
                return Err(RelayError::Protocol.into());
            }
        }
        Ok(())
    }
}
