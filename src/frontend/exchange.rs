//! The exchange in which a client proves its password.
//!
//! Owns: which plugin is used, what is asked of the client, and the judgement on it. Does not know: the greeting's
//! and the response's bytes. Invariant: an `Account` comes out only when the client has proven a password that the
//! file gives, or that a server has accepted within `FRESH`.
//!
//! In passthrough only a password that is known can check a scramble; one that is not known is asked for by the full
//! authentication of caching_sha2_password, over TLS, a Unix socket, or encrypted by RSA.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::accounts::Remembered;
use super::certificate::{Certificate, is_met};
use super::context::LoginContext;
use super::error::{NAME_MAX, Reject};
use super::judge::{JudgeError, Question, Reach, Transport};
use crate::backend::account::Account;
use crate::wire::auth::{
    CACHING_SHA2_KEY_REQUEST, FAST_AUTH_SUCCESS, FULL_AUTHENTICATION, MORE_DATA, Plugin, Salt, SwitchRequest,
    fresh_salt, proves, same_bytes,
};
use crate::wire::handshake::Response;
use crate::wire::packet_io::PacketIo;
use crate::wire::socket::Peer;

/// Longest password that is taken; servers take 256 bytes.
const PASSWORD_MAX: usize = 1024;

/// For the log. libmariadb does this where it was not offered TLS and not told to do without; so does
/// mysql-connector-python without TLS. Servers refuse it as well.
const NOT_ENCRYPTED: &str =
    "the client did not encrypt its password for our key, nor is the connection encrypted";

/// For the log.
const REQUIRE_NOT_MET: &str =
    "the password is right, the connection is not what `require` of this account asks for";
/// For the log.
const NO_CERTIFICATE: &str = "the client has shown no certificate, and `tls.require` is `x509`";

/// What the client was challenged with.
#[derive(Clone, Copy)]
pub(super) struct Challenge {
    pub plugin: Plugin,
    pub salt: Salt,
}

/// What the client has given so far.
enum Proof {
    /// An answer to a challenge; empty for an empty password.
    Scramble(Challenge, Vec<u8>),
    /// The password itself.
    Password(Zeroizing<Vec<u8>>),
}

/// What is to be done about a proof.
enum Verdict {
    Accepted(Arc<Account>),
    /// It could not be judged; the client has to answer another plugin's challenge.
    Switch,
}

/// One client's exchange.
pub(super) struct Exchange<'a, S> {
    pub io: &'a mut PacketIo<S>,
    pub context: &'a LoginContext,
    pub peer: Peer,
    /// Who on the way can read along.
    pub transport: Transport,
    /// The certificate that the client has shown, verified.
    pub certificate: Option<Certificate>,
    /// The client can be asked for another plugin.
    pub can_switch: bool,
    /// The client can be let in to set another password where its own has expired.
    pub handles_expired: bool,
    /// When the servers must have answered, so that there is time to tell the client.
    pub deadline: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Finds out whether the client may use the account that it names. `challenge` is what `response` may answer;
    /// `None` where the client was not challenged yet.
    pub async fn authenticate(
        mut self,
        response: &Response,
        challenge: Option<Challenge>,
    ) -> Result<Arc<Account>, Reject> {
        if response.user.len() > NAME_MAX {
            return Err(self.denied(response, true));
        }
        if self.context.require_certificate && self.certificate.is_none() {
            return Err(self.denied(response, true).because(NO_CERTIFICATE));
        }
        if let Some(proof) = challenge.and_then(|challenge| self.first_proof(response, challenge))
            && let Verdict::Accepted(account) = self.judge(response, proof).await?
        {
            return Ok(account);
        }
        if !self.can_switch {
            return Err(Reject::unsupported("it needs a client that speaks caching_sha2_password"));
        }
        let proof = self.switch(response).await?;
        match self.judge(response, proof).await? {
            Verdict::Accepted(account) => Ok(account),
            Verdict::Switch => Err(self.denied(response, true)),
        }
    }

    /// The proof in the client's first packet, if it is one: a client that answers by another plugin than the
    /// announced one sends nothing, and waits to be asked.
    fn first_proof(&self, response: &Response, announced: Challenge) -> Option<Proof> {
        let plugin = match &response.plugin {
            Some(name) => Plugin::from_name(name)?,
            None => Plugin::NativePassword,
        };
        let is_answer =
            |length| plugin == announced.plugin || response.auth.len() == length || !self.can_switch;
        match plugin {
            Plugin::CachingSha2Password if is_answer(32) => {}
            Plugin::NativePassword if is_answer(20) => {}
            Plugin::ClearPassword if self.is_private() && !response.auth.is_empty() => {
                return Some(Proof::Password(ended(&response.auth)));
            }
            _ => return None,
        }
        Some(scramble(Challenge { plugin, salt: announced.salt }, response.auth.to_vec()))
    }

    /// Challenges the client anew, by a plugin that it speaks if that can be judged.
    async fn switch(&mut self, response: &Response) -> Result<Proof, Reject> {
        let named = response.plugin.as_deref().and_then(Plugin::from_name);
        let plugin = match named {
            _ if self.context.accounts.is_passthrough() => Plugin::CachingSha2Password,
            Some(plugin @ (Plugin::CachingSha2Password | Plugin::NativePassword)) => plugin,
            _ => self.context.plugin(),
        };
        let salt = fresh_salt().map_err(|_| Reject::internal("no random bytes for a salt"))?;
        self.io.write(&SwitchRequest::encode(plugin, &salt)).await?;
        let answer = self.io.read().await?;
        Ok(scramble(Challenge { plugin, salt }, answer))
    }

    async fn judge(&mut self, response: &Response, proof: Proof) -> Result<Verdict, Reject> {
        if self.context.accounts.is_passthrough() {
            self.judge_by_servers(response, proof).await
        } else {
            self.judge_by_list(response, &proof).await.map(Verdict::Accepted)
        }
    }

    async fn judge_by_list(&mut self, response: &Response, proof: &Proof) -> Result<Arc<Account>, Reject> {
        let listed = self.context.accounts.listed(&response.user);
        match listed.filter(|listed| proof.shows(listed.password.expose())) {
            Some(listed)
                if !is_met(&listed.require, self.transport == Transport::Tls, self.certificate.as_ref()) =>
            {
                Err(self.denied(response, !proof.is_empty()).because(REQUIRE_NOT_MET))
            }
            Some(listed) => {
                self.tell_fast_success(proof).await?;
                Ok(listed.account)
            }
            None => Err(self.denied(response, !proof.is_empty())),
        }
    }

    async fn judge_by_servers(&mut self, response: &Response, proof: Proof) -> Result<Verdict, Reject> {
        let user = &response.user[..];
        let known = self.context.accounts.remembered(user);
        if let Some(known) = known.into_iter().find(|known| proof.shows(known.account.secret.expose())) {
            let account = self.confirmed(known, response.collation).await?;
            self.tell_fast_success(&proof).await?;
            return Ok(Verdict::Accepted(account));
        }
        let password = match proof {
            Proof::Password(password) => password,
            Proof::Scramble(_, answer) if answer.is_empty() => Zeroizing::default(),
            Proof::Scramble(Challenge { plugin: Plugin::CachingSha2Password, salt }, _) => self
                .ask_for_password(&salt)
                .await?
                .ok_or_else(|| self.denied(response, true).because(NOT_ENCRYPTED))?,
            Proof::Scramble(..) => return Ok(Verdict::Switch),
        };
        if password.len() > PASSWORD_MAX {
            return Err(self.denied(response, true));
        }
        let accounts = &self.context.accounts;
        match self.ask_servers(user, &password, response.collation).await {
            Ok(reach) => Ok(Verdict::Accepted(accounts.remember(user, &password, reach))),
            Err(JudgeError::Expired) => Ok(Verdict::Accepted(accounts.expired(user, &password))),
            Err(error) => Err(error.into()),
        }
    }

    async fn ask_servers(&self, user: &[u8], password: &[u8], collation: u16) -> Result<Reach, JudgeError> {
        let Self { transport: client, deadline, handles_expired, .. } = *self;
        self.context
            .judge
            .judge(Question { user, password, collation, client, handles_expired, deadline })
            .await
    }

    /// A remembered account of which the servers' word still holds, or has just been given again.
    async fn confirmed(&self, known: Remembered, collation: u16) -> Result<Arc<Account>, Reject> {
        let (accounts, account) = (&self.context.accounts, &known.account);
        if accounts.is_fresh(&known, self.transport) {
            return Ok(known.account);
        }
        match self.ask_servers(&account.user, account.secret.expose(), collation).await {
            Ok(reach) => {
                accounts.accepted(account, reach);
                Ok(known.account)
            }
            Err(JudgeError::Expired) => {
                accounts.invalidate(account);
                Ok(accounts.expired(&account.user, account.secret.expose()))
            }
            Err(error) => {
                if matches!(error, JudgeError::Refused(_) | JudgeError::Unsupported(_)) {
                    accounts.refused(&known, self.transport);
                }
                Err(error.into())
            }
        }
    }

    /// The full authentication of caching_sha2_password; `None` where the client's answer cannot be decrypted.
    async fn ask_for_password(&mut self, salt: &Salt) -> Result<Option<Zeroizing<Vec<u8>>>, Reject> {
        self.io.write(&[MORE_DATA, FULL_AUTHENTICATION]).await?;
        let mut answer = Zeroizing::new(self.io.read().await?);
        if self.is_private() {
            return Ok(Some(ended(&answer)));
        }
        if answer[..] == [CACHING_SHA2_KEY_REQUEST] {
            let key = self.context.key.public_pem().as_bytes();
            self.io.write(&[&[MORE_DATA], key].concat()).await?;
            answer = Zeroizing::new(self.io.read().await?);
        }
        Ok(self.context.key.open(&answer, salt))
    }

    /// caching_sha2_password says that no more is needed; a server says nothing about an empty password.
    async fn tell_fast_success(&mut self, proof: &Proof) -> Result<(), Reject> {
        if let Proof::Scramble(Challenge { plugin: Plugin::CachingSha2Password, .. }, answer) = proof
            && !answer.is_empty()
        {
            self.io.write(&[MORE_DATA, FAST_AUTH_SUCCESS]).await?;
        }
        Ok(())
    }

    /// Nobody on the way can read along.
    fn is_private(&self) -> bool {
        self.transport.is_private()
    }

    fn denied(&self, response: &Response, with_password: bool) -> Reject {
        Reject::denied(&response.user, self.peer, with_password)
    }
}

impl Proof {
    /// Whether it was made with this password.
    fn shows(&self, password: &[u8]) -> bool {
        match self {
            Self::Scramble(challenge, answer) => proves(challenge.plugin, &challenge.salt, password, answer),
            Self::Password(given) => same_bytes(given, password),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Scramble(_, answer) => answer.is_empty(),
            Self::Password(password) => password.is_empty(),
        }
    }
}

/// An answer to a challenge. Clients send a lone NUL for an empty password by caching_sha2_password.
fn scramble(challenge: Challenge, answer: Vec<u8>) -> Proof {
    Proof::Scramble(challenge, if answer == [0] { Vec::new() } else { answer })
}

/// A password as it comes in the clear: ended by NUL.
fn ended(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.strip_suffix(&[0]).unwrap_or(bytes).to_vec())
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
