//! How reads spread over the replicas: the methods, as the rules file and a hint write them.
//!
//! Does not know: how they are carried out.

/// How reads spread over the replicas.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Balance {
    /// By weight and lag; away from who is clearly slower or busier.
    #[default]
    LagWeighted,
    /// In turn, by weight.
    RoundRobin,
    /// To who has the fewest connections in use for its weight.
    LeastConnections,
    /// By the client's address.
    SourceHash,
    /// By chance, by weight.
    Random,
}

impl Balance {
    /// All, with their names.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("lag_weighted", Self::LagWeighted),
        ("round_robin", Self::RoundRobin),
        ("least_connections", Self::LeastConnections),
        ("source_hash", Self::SourceHash),
        ("random", Self::Random),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, balance)| *balance == self).map_or("", |(name, _)| name)
    }

    /// The method that `text` names, in whatever case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_it = |(name, _): &&(&str, Self)| text.eq_ignore_ascii_case(name.as_bytes());
        Self::NAMES.iter().find(is_it).map(|(_, balance)| *balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_names_and_no_others() {
        for (name, balance) in Balance::NAMES {
            assert_eq!(
                (Balance::parse(name.to_uppercase().as_bytes()), balance.name()),
                (Some(balance), name)
            );
        }
        for text in ["", "round robin", "random ", "lag"] {
            assert_eq!(Balance::parse(text.as_bytes()), None);
        }
    }
}
