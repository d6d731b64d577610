//! An account towards the servers.
//!
//! Owns: whom we are to them, and the password. Does not know: how the client proved that it is allowed to use it.
//! Invariant: one `AccountId` stands for one password; connections of one id are alike for the pool.

use std::fmt;

use crate::config::Secret;
use crate::ids::AccountId;

/// An account with its password; shared by the sessions that use it.
#[derive(Debug)]
pub struct Account {
    /// Key of the pool: another password is another id.
    pub id: AccountId,
    /// The name that the client gave.
    pub user: Vec<u8>,
    /// The name that the servers get.
    pub backend_user: Vec<u8>,
    /// The password that the servers get.
    pub secret: Secret,
    /// Its password has expired: servers are told that this is understood, and let it do nothing but set another one.
    pub expired: bool,
}

/// Who wants to know whom the servers let in; implemented above this layer.
pub trait Witness: Send + Sync {
    /// A server has just let `account` in, over a connection that is encrypted or not.
    fn accepted(&self, account: &Account, encrypted: bool);
}

impl fmt::Debug for dyn Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}
