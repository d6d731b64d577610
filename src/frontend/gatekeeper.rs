//! What the login does for the layers below: COM_CHANGE_USER, and what servers say of accounts while sessions run.

use super::context::LoginContext;
use super::login::{self, LoginErrorKind};
use crate::backend::account::{Account, Witness};
use crate::session::worker::{Caller, Changing, Gatekeeper, Refusal};
use crate::wire::auth::Salt;
use crate::wire::capabilities::Capabilities;
use crate::wire::stream::Stream;

impl Gatekeeper for LoginContext {
    fn change_user<'a>(
        &'a self,
        stream: &'a mut Stream,
        caller: Caller,
        payload: &'a [u8],
        capabilities: Capabilities,
        salt: &'a Salt,
    ) -> Changing<'a> {
        Box::pin(async move {
            let changing = login::change_user(stream, caller, payload, self, capabilities, salt);
            changing.await.map_err(|error| {
                tracing::info!(kind = error.kind.label(), detail = %error.detail, "change of user refused");
                let in_step = matches!(error.kind, LoginErrorKind::Denied | LoginErrorKind::Unsupported);
                if in_step && error.sent.is_some() { Refusal::Told } else { Refusal::Broken }
            })
        })
    }

    fn accounts_changed(&self) {
        self.accounts().forget_proofs();
    }

    fn refused(&self, account: &Account) {
        self.accounts().invalidate(account);
    }
}

impl Witness for LoginContext {
    fn accepted(&self, account: &Account, encrypted: bool) {
        self.accounts().accepted(account, self.judge.reach(encrypted));
    }
}
