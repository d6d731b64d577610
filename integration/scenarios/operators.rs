//! The bounds of the SQL console: how many operators, how long a login. The bounds of silence and of a statement have their
//! tests beside `admin::console::serve`.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::console::operator;
use crate::harness::{RawClient, Rules, Scenario, until, within};

both_dialects! {
    the_thirty_third_operator_is_told_so,
    an_operator_who_does_not_log_in_is_sent_away,
}

const OPERATORS_MAX: usize = 32;

async fn the_thirty_third_operator_is_told_so(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut operators = Vec::new();
    for _ in 0..OPERATORS_MAX {
        operators.push(RawClient::login(stage.proxy.console(), &operator()).await.expect("there is room"));
    }
    for _ in 0..3 {
        let error = RawClient::greet(stage.proxy.console()).await.err().expect("refused");
        assert_eq!(error.code, 1040, "{error}");
    }
    stage.proxy.until_logged("operator refused: too many connections").await;
    for operator in &mut operators {
        assert_eq!(operator.value("SELECT 7").await.unwrap(), "7", "those who are in go on");
    }
    assert_eq!(stage.raw().await.value("SELECT 7").await.unwrap(), "7", "clients are not concerned");
    operators.pop();
    until("a place is free", || async { RawClient::login(stage.proxy.console(), &operator()).await.is_ok() })
        .await;
}

async fn an_operator_who_does_not_log_in_is_sent_away(scenario: Scenario) {
    let rules = Rules { limits: "{login_timeout: 2s}".into(), ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let mut silent = TcpStream::connect(stage.proxy.console()).await.expect("it listens");
    let mut heard = Vec::new();
    within("the end", silent.read_to_end(&mut heard)).await.expect("it is closed");
    assert_eq!(heard[4], 10, "a greeting");
    stage.proxy.until_logged("login to the console failed").await;
    let mut operator =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    assert_eq!(operator.value("SELECT 7").await.unwrap(), "7");
}
