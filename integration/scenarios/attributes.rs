//! Connection attributes, as the servers' performance_schema shows them.

use std::collections::BTreeMap;

use tidegate::wire::capabilities::Capabilities;

use crate::harness::{Login, RawClient, Rules, Scenario, Stage};

both_dialects! {
    a_connection_speaks_for_tidegate,
    a_connection_can_show_the_client_that_it_was_opened_for,
}

/// The attributes of the server connection that serves the client.
async fn shown(client: &mut RawClient) -> BTreeMap<String, String> {
    let sql = "/* tidegate: primary */ SELECT attr_name, attr_value FROM performance_schema.session_account_connect_attrs \
               WHERE processlist_id = (SELECT MAX(id) FROM information_schema.processlist WHERE info LIKE '%connect_attrs%')";
    let rows = client.select(sql).await;
    let text = |cell: &Option<String>| cell.clone().expect("a text");
    rows.texts().iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

/// A server that keeps attributes, and one connection to it for all.
async fn stage(scenario: Scenario, rules: Rules) -> Stage {
    let rules = Rules { pool: "{max: 1}".into(), ..rules };
    scenario.own_stage_with(0, rules, &["--performance-schema"]).await
}

fn login() -> Login {
    let attributes = vec![("program_name", "shop"), ("_client_name", "libshop"), ("_proxy_name", "forged")];
    Login { attributes, ..Login::with(Capabilities::CONNECT_ATTRS) }
}

async fn a_connection_speaks_for_tidegate(scenario: Scenario) {
    let stage = stage(scenario, Rules::default()).await;
    let shown = shown(&mut stage.raw_with(login()).await).await;
    for (name, value) in
        [("program_name", "tidegate"), ("_client_name", "tidegate"), ("_proxy_name", "tidegate")]
    {
        assert_eq!(shown.get(name).map(String::as_str), Some(value), "{shown:?}");
    }
    assert_eq!(shown.get("_pid"), Some(&stage.proxy.pid.to_string()));
    assert!(!shown.contains_key("_proxy_client_id"), "{shown:?}");
}

async fn a_connection_can_show_the_client_that_it_was_opened_for(scenario: Scenario) {
    let rules = Rules { in_cluster: "forward_attributes: true".into(), ..Rules::default() };
    let stage = stage(scenario, rules).await;
    let mut client = stage.raw_with(login()).await;
    let id = client.greeting.connection_id.to_string();
    let first = shown(&mut client).await;
    for (name, value) in [
        ("program_name", "shop"),
        ("_client_name", "libshop"),
        ("_proxy_name", "tidegate"),
        ("_proxy_client_id", &id),
        ("_proxy_client_host", "127.0.0.1"),
    ] {
        assert_eq!(first.get(name).map(String::as_str), Some(value), "{first:?}");
    }
    drop(client);
    // It is shared all the same, and goes on to show the first.
    let mut second = stage.raw_with(Login { attributes: vec![("program_name", "other")], ..login() }).await;
    assert_eq!(shown(&mut second).await, first);
}
