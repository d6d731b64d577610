//! Statements about the session and its transactions.

use super::*;

const NONE: Uses = Uses::empty();

#[test]
fn t19_transactions_carry_their_access_mode() {
    for sql in ["BEGIN", "begin work;", "START TRANSACTION", "/* x */ START /* y */ TRANSACTION -- z"] {
        both(sql, Class::Begin(Access::Default), NONE);
    }
    both("START TRANSACTION READ ONLY", Class::Begin(Access::ReadOnly), NONE);
    both("START TRANSACTION READ WRITE", Class::Begin(Access::ReadWrite), NONE);
    let snapshot = Uses::CHAIN_OR_RELEASE;
    both("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", Class::Begin(Access::ReadOnly), snapshot);
    both("START TRANSACTION READ ONLY , WITH CONSISTENT SNAPSHOT", Class::Begin(Access::ReadOnly), snapshot);
    mariadb("BEGIN NOT ATOMIC SELECT 1; END", Class::Other, Uses::DOUBT | Uses::MULTIPLE);
    both("START SLAVE", Class::Other, NONE);
    mysql("START GROUP_REPLICATION", Class::Other, NONE);
}

#[test]
fn transactions_end() {
    for sql in ["COMMIT", "COMMIT WORK", "ROLLBACK", "COMMIT AND NO CHAIN NO RELEASE", "SAVEPOINT chain"] {
        both(sql, Class::EndOrSavepoint, NONE);
    }
    both("ROLLBACK TO SAVEPOINT `release`", Class::EndOrSavepoint, NONE);
    both("ROLLBACK WORK TO chain", Class::EndOrSavepoint, NONE);
    both("RELEASE SAVEPOINT a", Class::EndOrSavepoint, NONE);
    both("COMMIT AND CHAIN", Class::EndOrSavepoint, Uses::CHAIN_OR_RELEASE);
    both("ROLLBACK RELEASE", Class::EndOrSavepoint, Uses::CHAIN_OR_RELEASE);
}

#[test]
fn t20_set_of_session_state_is_told_from_the_rest() {
    for sql in [
        "SET NAMES utf8mb4",
        "SET NAMES 'utf8' COLLATE 'utf8_bin'",
        "SET CHARACTER SET utf8",
        "SET CHARSET latin1",
        "SET autocommit=0",
        "SET SESSION sql_mode = 'ANSI', time_zone := '+00:00'",
        "SET LOCAL sql_mode=''",
        "SET @@sql_mode = ''",
        "SET @@session.sql_mode = ''",
        "SET @@local.sql_mode = DEFAULT",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
        "SET transaction_isolation='READ-COMMITTED'",
        "SET @@SESSION.transaction_isolation='READ-COMMITTED'",
        "SET sql_mode=ANSI, foreign_key_checks=OFF",
        "SET x = -1",
    ] {
        both(sql, Class::Set, NONE);
    }
    both("SET @a = 1, @b := 'x'", Class::Set, Uses::USER_VARIABLE_WRITE);
    both("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Class::Set, Uses::NEXT_TRANSACTION);
    both("SET TRANSACTION READ ONLY", Class::Set, Uses::NEXT_TRANSACTION);
    both("SET @@transaction_isolation = 'SERIALIZABLE'", Class::Set, Uses::NEXT_TRANSACTION);
    both("SET ROLE ALL", Class::Set, Uses::ROLE);
    both("SET timestamp = 1", Class::Set, Uses::BINDING_VARIABLE);
    both("SET @@session.sql_log_bin = 0", Class::Set, Uses::BINDING_VARIABLE);
    both("SET insert_id = 7, @a = 1", Class::Set, Uses::BINDING_VARIABLE | Uses::USER_VARIABLE_WRITE);
}

#[test]
fn set_of_what_must_be_computed_is_told() {
    let write = Uses::USER_VARIABLE_WRITE | Uses::NOT_CONSTANT;
    both("SET @a = NOW()", Class::Set, write);
    both("SET @a = CURRENT_TIMESTAMP", Class::Set, write);
    both("SET @a = @b + 1", Class::Set, write | Uses::USER_VARIABLE_READ);
    both("SET @a = f(1)", Class::Set, write | Uses::UNKNOWN_FUNCTION);
    both("SET @a = (SELECT MAX(id) FROM t)", Class::Set, write | Uses::SUBQUERY);
    both("SET @old = @@sql_mode, sql_mode = ''", Class::Set, write | Uses::SYSTEM_VARIABLE);
    both("SET @a = (SELECT 1 FROM t FOR UPDATE)", Class::LockingRead, write);
}

#[test]
fn set_that_reaches_further_is_global() {
    for sql in [
        "SET GLOBAL x = 1",
        "SET @@global.x = 1",
        "SET sql_mode = '', GLOBAL x = 1",
        "SET PERSIST x = 1",
        "SET @@PERSIST_ONLY.x = 1",
        "SET PASSWORD = 'x'",
        "SET GLOBAL TRANSACTION READ ONLY",
    ] {
        both(sql, Class::SetGlobal, NONE);
    }
    mysql("SET PASSWORD FOR 'u' = 'x'", Class::SetGlobal, NONE);
    both("SET DEFAULT ROLE r FOR u", Class::SetGlobal, NONE);
    mysql("SET RESOURCE GROUP rg", Class::SetGlobal, Uses::ROLE);
    both("SET", Class::Other, Uses::DOUBT);
    both("SET 'x' = 1", Class::Other, Uses::DOUBT);
}

#[test]
fn set_statement_takes_the_class_of_what_it_wraps() {
    mariadb("SET STATEMENT a=1, b=2 FOR UPDATE t SET x=1", Class::Write, NONE);
    mariadb("SET STATEMENT a=1 FOR SELECT 1 FOR UPDATE", Class::LockingRead, NONE);
    mariadb("SET STATEMENT gtid_domain_id=1 FOR SELECT 1", Class::Read, Uses::DOUBT);
    mariadb("SET STATEMENT a=1 FOR SET @x=1", Class::Other, Uses::DOUBT | Uses::USER_VARIABLE_READ);
    mariadb("SET STATEMENT a=1", Class::Other, Uses::DOUBT);
}

#[test]
fn t9_variables_are_told_by_reading_and_writing() {
    both("SELECT @v", Class::Read, Uses::USER_VARIABLE_READ);
    both("SELECT @v := 1", Class::Read, Uses::USER_VARIABLE_READ | Uses::USER_VARIABLE_WRITE);
    both("SELECT @'a b', @`c`, @\"d\"", Class::Read, Uses::USER_VARIABLE_READ);
}

#[test]
fn t15_system_variables_are_told() {
    both("SELECT @@read_only", Class::Read, Uses::SYSTEM_VARIABLE);
    both("SELECT @@global.gtid_executed, @@session.`sql_mode`", Class::Read, Uses::SYSTEM_VARIABLE);
    both("SELECT @@identity", Class::Read, Uses::SYSTEM_VARIABLE | Uses::LAST_INSERT_ID);
    both("SELECT @@session.warning_count", Class::Read, Uses::SYSTEM_VARIABLE | Uses::DIAGNOSTICS);
    both("SHOW VARIABLES LIKE 'read_only'", Class::ShowServer, NONE);
}

#[test]
fn what_holds_the_connection_is_a_session_statement() {
    for (sql, uses) in [
        ("LOCK TABLES t READ, u WRITE", Uses::LOCK_TABLES),
        ("LOCK INSTANCE FOR BACKUP", Uses::LOCK_TABLES),
        ("UNLOCK TABLES", Uses::UNLOCK_TABLES),
        ("FLUSH TABLES WITH READ LOCK", Uses::LOCK_TABLES),
        ("FLUSH LOCAL TABLES t, u FOR EXPORT", Uses::LOCK_TABLES),
        ("BACKUP STAGE START", Uses::LOCK_TABLES),
        ("BACKUP UNLOCK", Uses::UNLOCK_TABLES),
        ("HANDLER t OPEN", Uses::HANDLER),
        ("XA START 'x'", Uses::XA),
    ] {
        both(sql, Class::Session, uses);
    }
    both("FLUSH TABLES", Class::Other, NONE);
}

#[test]
fn prepared_statements_in_text_are_told() {
    for sql in ["PREPARE s FROM 'SELECT 1'", "EXECUTE s", "DEALLOCATE PREPARE s", "DROP PREPARE s"] {
        both(sql, Class::TextPrepared, Uses::TEXT_PREPARED);
    }
    mariadb("EXECUTE IMMEDIATE 'SELECT 1'", Class::TextPrepared, Uses::TEXT_PREPARED | Uses::DOUBT);
}
