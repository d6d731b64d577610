//! Capability flags of the handshake (MySQL manual, "Capabilities Flags"; MariaDB, "Connection Phase").

use bitflags::bitflags;

bitflags! {
    /// The 32 capability bits that both dialects share, and above them MariaDB's extended ones, which a greeting and a
    /// response have where LONG_PASSWORD is clear.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Capabilities: u64 {
        /// Improved passwords; MariaDB clears it (`CLIENT_MYSQL`) to announce its extended capabilities.
        const LONG_PASSWORD = 1;
        /// Affected rows count the rows found, not the rows changed.
        const FOUND_ROWS = 1 << 1;
        /// All column flags.
        const LONG_FLAG = 1 << 2;
        /// The response may name a database.
        const CONNECT_WITH_DB = 1 << 3;
        /// `database.table.column` is not allowed.
        const NO_SCHEMA = 1 << 4;
        /// The compressed protocol with zlib.
        const COMPRESS = 1 << 5;
        /// An ODBC client.
        const ODBC = 1 << 6;
        /// `LOAD DATA LOCAL`.
        const LOCAL_FILES = 1 << 7;
        /// Spaces are allowed before `(` of a function call.
        const IGNORE_SPACE = 1 << 8;
        /// The 4.1 protocol; required.
        const PROTOCOL_41 = 1 << 9;
        /// `interactive_timeout` instead of `wait_timeout`.
        const INTERACTIVE = 1 << 10;
        /// Upgrade to TLS.
        const SSL = 1 << 11;
        /// The client ignores SIGPIPE; no effect.
        const IGNORE_SIGPIPE = 1 << 12;
        /// Status flags in OK and EOF.
        const TRANSACTIONS = 1 << 13;
        /// Unused.
        const RESERVED = 1 << 14;
        /// 4.1 authentication.
        const SECURE_CONNECTION = 1 << 15;
        /// Several statements in one COM_QUERY.
        const MULTI_STATEMENTS = 1 << 16;
        /// Several results for COM_QUERY.
        const MULTI_RESULTS = 1 << 17;
        /// Several results for COM_STMT_EXECUTE.
        const PS_MULTI_RESULTS = 1 << 18;
        /// The response names its authentication plugin.
        const PLUGIN_AUTH = 1 << 19;
        /// The response carries connection attributes.
        const CONNECT_ATTRS = 1 << 20;
        /// The authentication response's length is length-encoded.
        const PLUGIN_AUTH_LENENC_DATA = 1 << 21;
        /// The client can handle an expired password.
        const CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22;
        /// Session state changes in OK packets.
        const SESSION_TRACK = 1 << 23;
        /// OK packets instead of EOF packets.
        const DEPRECATE_EOF = 1 << 24;
        /// Result sets may come without column metadata.
        const OPTIONAL_RESULTSET_METADATA = 1 << 25;
        /// The compressed protocol with zstd.
        const ZSTD_COMPRESSION = 1 << 26;
        /// Query attributes in COM_QUERY and COM_STMT_EXECUTE.
        const QUERY_ATTRIBUTES = 1 << 27;
        /// Multi-factor authentication.
        const MULTI_FACTOR_AUTHENTICATION = 1 << 28;
        /// Reserved for longer capability fields.
        const CAPABILITY_EXTENSION = 1 << 29;
        /// The client verifies the server's certificate; no effect on the wire.
        const SSL_VERIFY_SERVER_CERT = 1 << 30;
        /// The client remembers options; no effect on the wire.
        const REMEMBER_OPTIONS = 1 << 31;
        /// MariaDB: progress reports of long statements.
        const PROGRESS = 1 << 32;
        /// MariaDB: COM_MULTI, which no server has any more.
        const COM_MULTI = 1 << 33;
        /// MariaDB: COM_STMT_BULK_EXECUTE.
        const STMT_BULK_OPERATIONS = 1 << 34;
        /// MariaDB: column definitions carry the names of extended types.
        const EXTENDED_METADATA = 1 << 35;
        /// MariaDB: column definitions are left out where the client has them from the statement's preparation.
        const CACHE_METADATA = 1 << 36;
        /// MariaDB: COM_STMT_BULK_EXECUTE answers for each row.
        const BULK_UNIT_RESULTS = 1 << 37;
    }
}

impl Capabilities {
    /// Flags that change what a server sends or how it acts, so that a backend connection must have been
    /// opened with the client's own values (see `backend::Class`).
    pub const CLASS: Self = Self::FOUND_ROWS
        .union(Self::NO_SCHEMA)
        .union(Self::LOCAL_FILES)
        .union(Self::IGNORE_SPACE)
        .union(Self::INTERACTIVE)
        .union(Self::ODBC)
        .union(Self::MULTI_STATEMENTS)
        .union(Self::MULTI_RESULTS)
        .union(Self::PS_MULTI_RESULTS)
        .union(Self::DEPRECATE_EOF)
        .union(Self::OPTIONAL_RESULTSET_METADATA)
        .union(Self::QUERY_ATTRIBUTES)
        .union(Self::PROGRESS)
        .union(Self::STMT_BULK_OPERATIONS)
        .union(Self::EXTENDED_METADATA);

    /// What servers of one dialect or of some versions alone have.
    const SPECIAL: Self = Self::OPTIONAL_RESULTSET_METADATA
        .union(Self::QUERY_ATTRIBUTES)
        .union(Self::PROGRESS)
        .union(Self::STMT_BULK_OPERATIONS)
        .union(Self::EXTENDED_METADATA);

    /// What all supported servers have.
    pub const COMMON: Self = Self::all().difference(Self::SPECIAL);

    /// What Tidegate offers to clients where the servers behind it offer it too.
    pub const OFFERED: Self = Self::CLASS
        .union(Self::LONG_PASSWORD)
        .union(Self::LONG_FLAG)
        .union(Self::CONNECT_WITH_DB)
        .union(Self::PROTOCOL_41)
        .union(Self::TRANSACTIONS)
        .union(Self::RESERVED)
        .union(Self::SECURE_CONNECTION)
        .union(Self::PLUGIN_AUTH)
        .union(Self::CONNECT_ATTRS)
        .union(Self::PLUGIN_AUTH_LENENC_DATA)
        .union(Self::CAN_HANDLE_EXPIRED_PASSWORDS)
        .union(Self::SESSION_TRACK);

    /// The flags out of the two fields of a greeting or a response.
    pub fn of(low: u32, extended: u32) -> Self {
        let flags = Self::from_bits_retain(low.into());
        if flags.contains(Self::LONG_PASSWORD) {
            return flags; // MySQL: what stands in the other field means nothing
        }
        flags.union(Self::from_bits_retain(u64::from(extended) << 32))
    }

    /// The bits that both dialects have.
    pub fn low(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.bits().to_le_bytes();
        [a, b, c, d]
    }

    /// MariaDB's extended bits.
    pub fn extended(self) -> [u8; 4] {
        let [.., a, b, c, d] = self.bits().to_le_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_table_in_the_documents_has_every_flag_and_its_fate() {
        let table = include_str!("../../docs/protocol.md");
        let mut rows = BTreeMap::new();
        for row in table.lines().filter_map(|line| line.strip_prefix("| `")) {
            let cells: Vec<_> = row.split(" | ").collect();
            if let [name, bit, fate, why, ..] = cells[..]
                && let Ok(bit) = bit.parse::<u32>()
            {
                assert!(why.len() > 5, "{name}: why?");
                assert_eq!(rows.insert(name.trim_end_matches('`'), (bit, fate)), None, "{name} twice");
            }
        }
        let ours = Capabilities::SSL | Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
        for (name, flag) in Capabilities::all().iter_names() {
            let (bit, fate) = rows.remove(name).unwrap_or_else(|| panic!("no row for {name}"));
            assert_eq!(1 << bit, flag.bits(), "{name}");
            let expected = match (Capabilities::OFFERED | ours).contains(flag) {
                false => "refused",
                true if Capabilities::CLASS.contains(flag) => "supported, class",
                true if fate == "translated" => fate,
                true => "supported",
            };
            assert_eq!(fate, expected, "{name}");
        }
        assert!(rows.is_empty(), "no such flags: {rows:?}");
        assert_eq!(Capabilities::all().bits().count_ones(), 38);
    }
}
