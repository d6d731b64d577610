//! Variables: the proxy's configuration, and those of a server that clients ask about before anything else.

use super::Console;
use super::table::{Table, Value};

/// What servers have and clients count on; the console itself has nothing that could be set.
const SYSTEM: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("auto_increment_offset", "1"),
    ("autocommit", "1"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("collation_database", "utf8mb4_general_ci"),
    ("collation_server", "utf8mb4_general_ci"),
    ("default_storage_engine", ""),
    ("foreign_key_checks", "1"),
    ("have_ssl", "YES"),
    ("init_connect", ""),
    ("interactive_timeout", "3600"),
    ("license", "Apache-2.0"),
    ("lower_case_file_system", "OFF"),
    ("lower_case_table_names", "2"),
    ("max_allowed_packet", "73728"),
    ("net_buffer_length", "16384"),
    ("net_read_timeout", "60"),
    ("net_write_timeout", "60"),
    ("performance_schema", "0"),
    ("protocol_version", "10"),
    ("query_cache_size", "0"),
    ("query_cache_type", "OFF"),
    ("socket", ""),
    ("sql_auto_is_null", "0"),
    ("sql_mode", "STRICT_TRANS_TABLES"),
    ("sql_safe_updates", "0"),
    ("sql_select_limit", "18446744073709551615"),
    ("storage_engine", ""),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("transaction_read_only", "0"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("tx_read_only", "0"),
    ("version_comment", super::VERSION_COMMENT),
    ("version_compile_machine", std::env::consts::ARCH),
    ("version_compile_os", std::env::consts::OS),
    ("wait_timeout", "3600"),
    ("warning_count", "0"),
    ("error_count", "0"),
];

impl Console {
    /// SHOW VARIABLES: options of the rules file with their values in effect, then what clients ask about.
    pub(super) fn variables(&self) -> Table {
        let mut table = Table::of_texts(&["Variable_name", "Value"]);
        let own = self.config.load().shown().into_iter().map(|(name, value)| [name, value]);
        table.rows.extend(own.map(|pair| pair.map(Value::Text).to_vec()));
        table.rows.extend(SYSTEM.iter().map(|(name, value)| vec![(*name).into(), (*value).into()]));
        table.rows.extend(
            [("version", super::VERSION), ("port", &self.config_port())]
                .map(|(name, value)| vec![Value::from(name), Value::from(value)]),
        );
        table
    }

    /// `@@name`.
    pub(super) fn variable(&self, name: &str) -> Option<Value> {
        let value = match name {
            "version" => super::VERSION.to_owned(),
            "port" => self.config_port(),
            "hostname" => String::new(),
            _ => SYSTEM.iter().find(|(known, _)| *known == name)?.1.to_owned(),
        };
        Some(value.parse().map_or_else(|_| Value::Text(value), Value::Number))
    }

    fn config_port(&self) -> String {
        self.config.load().console.as_ref().map_or(0, |console| console.listen.port()).to_string()
    }
}
