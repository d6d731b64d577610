//! What brings a connection from one state to another, as text.

use super::*;

const HANDSHAKE: fn() -> Handshake =
    || Handshake { charset: "utf8mb4".into(), collation: "utf8mb4_general_ci".into(), ignore_space: false };

fn state(schema: &str, variables: &[(&str, &str)]) -> State {
    let mut state = State::with_schema(schema.into());
    for (name, value) in variables {
        state.set(name.as_bytes(), value.as_bytes());
    }
    state
}

fn set_text(from: &State, to: &State) -> Option<String> {
    from.difference(to, &HANDSHAKE()).unwrap().set.map(|set| String::from_utf8(set).unwrap())
}

#[test]
fn the_lists_that_are_searched_are_sorted() {
    assert!(NEVER_REPLAYED.is_sorted());
    assert!(OF_TRANSACTIONS.is_sorted());
}

#[test]
fn to_prepare_again_touches_no_transaction() {
    let then = state("a", &[("sql_mode", "ANSI"), ("tx_isolation", "SERIALIZABLE")]);
    let now = state("b", &[("autocommit", "OFF"), ("time_zone", "+02:00")]);
    let within = state("a", &[("autocommit", "OFF"), ("sql_mode", "ANSI")]);
    assert_eq!(then.within(&now), within);
    assert_eq!(set_text(&now, &within).unwrap(), "SET time_zone=DEFAULT,sql_mode=_utf8mb4'ANSI'");
    assert_eq!(set_text(&within, &now).unwrap(), "SET sql_mode=DEFAULT,time_zone=_utf8mb4'+02:00'");
    let (then, now) = (State::default(), State { role: Some(b"r".to_vec()), ..state("b", &[]) });
    assert_eq!(then.within(&now), now, "what cannot be taken back stays");
}

#[test]
fn a_state_outlasts_a_change_of_global_variables() {
    let before = [("sql_mode", "ANSI"), ("time_zone", "SYSTEM"), ("sql_mode", "later"), ("timestamp", "5")];
    let before = before.map(|(name, value)| (name.into(), value.into()));
    let mut own = state("a", &[("time_zone", "+02:00")]);
    assert!(own.outlast(&before, false));
    assert_eq!(own, state("a", &[("sql_mode", "ANSI"), ("time_zone", "+02:00")]));
    assert!(!own.outlast(&before, false));
    let mut spaced = state("a", &[]);
    spaced.outlast(&before[..1], true);
    assert_eq!(spaced, state("a", &[("sql_mode", "ANSI,IGNORE_SPACE")]));
}

#[test]
fn a_collation_goes_with_its_character_set() {
    let was = state("a", &[("character_set_server", "latin1"), ("collation_server", "latin1_bin")]);
    let mut now = was.clone();
    assert!(now.set(b"character_set_server", b"latin1"), "its collation is the default one now");
    assert_eq!(
        set_text(&was, &now).unwrap(),
        "SET collation_server=DEFAULT,character_set_server=_utf8mb4'latin1'"
    );
    assert_eq!(
        set_text(&now, &was).unwrap(),
        "SET character_set_server=_utf8mb4'latin1',collation_server=_utf8mb4'latin1_bin'"
    );
    let mut own = state("a", &[("character_set_database", "latin1")]);
    assert!(own.observe(Change::Schema(b"a")), "USE makes it the database's");
    assert_eq!(own, state("a", &[]));
}

#[test]
fn of_two_names_the_later_one_counts() {
    let mut own = state("", &[("long_query_time", "3"), ("log_slow_query_time", "5")]);
    assert_eq!(own, state("", &[("log_slow_query_time", "5")]));
    own.set(b"long_query_time", b"7");
    assert_eq!(own, state("", &[("long_query_time", "7")]));
}

#[test]
fn equal_states_need_nothing() {
    let one = state("a", &[("autocommit", "OFF")]);
    assert_eq!(one.difference(&one.clone(), &HANDSHAKE()), Some(Difference::default()));
}

#[test]
fn values_are_written_so_that_every_server_takes_them() {
    let wanted = state(
        "",
        &[
            ("autocommit", "OFF"),
            ("sort_buffer_size", "300000"),
            ("long_query_time", "2.5"),
            ("time_zone", "+02:00"),
            ("character_set_results", ""),
            ("init", "a'b\\c"),
        ],
    );
    assert_eq!(
        set_text(&State::default(), &wanted).unwrap(),
        "SET autocommit=_utf8mb4'OFF',character_set_results=NULL,init=_utf8mb4 x'6127625c63',long_query_time=2.5,\
         sort_buffer_size=300000,time_zone=_utf8mb4'+02:00'"
    );
}

#[test]
fn what_another_client_set_is_taken_back() {
    let theirs = state("", &[("autocommit", "OFF"), ("character_set_client", "gbk"), ("sql_mode", "ANSI")]);
    let mine = state("", &[("sql_mode", "")]);
    assert_eq!(
        set_text(&theirs, &mine).unwrap(),
        "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci',autocommit=DEFAULT,sql_mode=_utf8mb4''"
    );
}

#[test]
fn a_character_set_takes_the_collation_with_it() {
    let of = |charset| {
        state("", &[("character_set_connection", charset), ("collation_connection", "latin1_german2_ci")])
    };
    assert_eq!(
        set_text(&of("gbk"), &of("ascii")).unwrap(),
        "SET character_set_connection=_utf8mb4'ascii',collation_connection=_utf8mb4'latin1_german2_ci'"
    );
}

#[test]
fn ignored_spaces_of_the_handshake_stay() {
    let handshake = Handshake { ignore_space: true, ..HANDSHAKE() };
    let theirs = state("", &[("sql_mode", "ANSI")]);
    let set = theirs.difference(&State::default(), &handshake).unwrap().set.unwrap();
    assert_eq!(set, b"SET sql_mode=CONCAT(@@global.sql_mode,',IGNORE_SPACE')");
}

#[test]
fn a_collation_of_results_is_set_by_names_alone() {
    let mut named = state(
        "",
        &[
            ("character_set_client", "latin1"),
            ("character_set_connection", "latin1"),
            ("character_set_results", "latin1"),
        ],
    );
    let plain = named.clone();
    named.set(b"collation_connection", b"latin1_german2_ci");
    named.results = Some(b"latin1_german2_ci".to_vec());
    assert_eq!(
        set_text(&plain, &named).unwrap(),
        "SET NAMES latin1 COLLATE latin1_german2_ci,character_set_client=_utf8mb4'latin1',\
         character_set_connection=_utf8mb4'latin1',collation_connection=_utf8mb4'latin1_german2_ci'"
    );
    let back = set_text(&named, &plain).unwrap();
    assert!(
        back.starts_with("SET NAMES 'utf8mb4'") && back.contains("character_set_results=_utf8mb4'latin1'")
    );
    assert!(named.set(b"character_set_results", b"latin1") && named.results.is_none());
}

#[test]
fn checks_are_taken_back_to_what_they_are_globally() {
    let theirs = state("", &[("foreign_key_checks", "OFF"), ("sql_notes", "OFF")]);
    let set = set_text(&theirs, &State::default()).unwrap();
    assert_eq!(set, "SET foreign_key_checks=@@global.foreign_key_checks,sql_notes=DEFAULT");
}

#[test]
fn a_database_can_be_changed_but_not_unset() {
    assert_eq!(state("a", &[]).difference(&state("", &[]), &HANDSHAKE()), None);
    let difference = state("a", &[]).difference(&state("b", &[]), &HANDSHAKE()).unwrap();
    assert_eq!(difference.schema, Some(b"b".to_vec()));
}

#[test]
fn the_name_of_a_database_is_sent_in_the_charset_that_it_is_known_in() {
    let cafe = state("caf\u{e9}", &[]);
    let spoken = |charset: &str| Handshake { charset: charset.into(), ..HANDSHAKE() };
    let (utf8, latin) = (&spoken("utf8mb4"), &spoken("latin1"));
    assert!(!State::default().difference(&cafe, utf8).unwrap().schema_in_utf8);
    let difference = State::default().difference(&cafe, latin).unwrap();
    assert!(difference.schema_in_utf8);
    assert_eq!(difference.set.unwrap(), b"SET character_set_client='latin1'");
    let koi8r = [("character_set_client", "koi8r"), ("character_set_connection", "koi8r")];
    let difference = state("a", &koi8r).difference(&state("caf\u{e9}", &koi8r), utf8).unwrap();
    assert!(difference.schema_in_utf8);
    assert_eq!(difference.set.unwrap(), b"SET character_set_client=_utf8mb4'koi8r'");
    let mut reset = state("a", &[]);
    reset.reset();
    let difference = reset.difference(&State { schema: cafe.schema, ..reset.clone() }, utf8).unwrap();
    assert_eq!(difference.set.unwrap(), b"SET character_set_client=DEFAULT");
}

#[test]
fn a_role_can_be_taken_but_not_given_back() {
    let admin = State { role: Some(b"admin".to_vec()), ..state("a", &[]) };
    let difference = state("a", &[]).difference(&admin, &HANDSHAKE()).unwrap();
    assert_eq!(difference.role.unwrap(), b"SET ROLE admin");
    assert_eq!(admin.difference(&state("a", &[]), &HANDSHAKE()), None);
    let none = State { role: Some(b"NONE".to_vec()), ..state("a", &[]) };
    assert_eq!(admin.difference(&none, &HANDSHAKE()).unwrap().role.unwrap(), b"SET ROLE NONE");
}

#[test]
fn a_reset_client_gets_a_reset_connection_and_the_other_way_round() {
    let mut reset = state("a", &[("autocommit", "OFF")]);
    reset.reset();
    let difference = state("a", &[("sql_mode", "")]).difference(&reset, &HANDSHAKE()).unwrap();
    assert_eq!(difference, Difference { reset: true, ..Difference::default() });
    let back = reset.difference(&state("a", &[]), &HANDSHAKE()).unwrap();
    assert!(back.reset && back.set.unwrap().starts_with(b"SET NAMES 'utf8mb4'"));
}

#[test]
fn a_new_character_set_forgets_the_collation() {
    let mut one = state("", &[("collation_connection", "utf8mb4_bin")]);
    one.observe(Change::Variable { name: b"character_set_connection", value: b"latin1" });
    assert_eq!(one.get(b"collation_connection"), None);
}

#[test]
fn the_same_character_set_again_forgets_the_collation() {
    let mut one = state("", &[("character_set_connection", "latin1"), ("collation_connection", "utf16_bin")]);
    assert!(one.observe(Change::Variable { name: b"character_set_connection", value: b"latin1" }));
    assert_eq!(one.get(b"collation_connection"), None);
}

#[test]
fn bound_variables_are_not_replayed() {
    let mut one = State::default();
    assert!(!one.observe(Change::Variable { name: b"timestamp", value: b"1000.0" }));
    assert!(!one.observe(Change::Variable { name: b"last_gtid", value: b"0-1-2" }));
    assert!(one.observe(Change::Variable { name: b"time_zone", value: b"+00:00" }));
}
