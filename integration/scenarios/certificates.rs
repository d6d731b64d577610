//! X.509 certificates of clients, judged by Tidegate, and Tidegate's own towards the servers.

use std::path::PathBuf;

use tidegate::wire::err::ErrPacket;

use crate::harness::{Login, Proxy, RawClient, Rules, Scenario, Stage};

both_dialects! {
    an_account_of_the_list_can_require_a_certificate,
    all_clients_can_be_required_to_show_one,
    a_certificate_of_a_stranger_ends_the_handshake,
    tidegates_own_certificate_satisfies_the_servers,
    passthrough_meets_no_requirement_for_its_clients,
}

/// Whom the client's certificate of the run names, and who has signed it; by `openssl x509 -nameopt compat`.
const SUBJECT: &str = "/CN=client";
const ISSUER: &str = "/CN=Tidegate test CA";

async fn enter(proxy: &Proxy, login: &Login) -> Result<RawClient, ErrPacket> {
    RawClient::login(proxy.address, login).await
}

fn client_ca(stage: &Stage, more: &str) -> String {
    format!("{{client_ca: \"{}\"{more}}}", stage.cluster.tls.ca.display())
}

/// A client on TLS that shows the run's certificate.
fn certified(stage: &Stage, user: &str) -> Login {
    let tls = &stage.cluster.tls;
    let certificate = Some((tls.client_cert.clone(), tls.client_key.clone()));
    Login { tls: true, certificate, ..Login::account(user, "pw") }
}

async fn an_account_of_the_list_can_require_a_certificate(scenario: Scenario) {
    let stage = scenario.stage().await;
    let user = |name: &str, require: &str| {
        format!(
            "  - {{name: {name}, password: pw, backend: {{user: app, password: app-pw}}, require: {require}}}\n"
        )
    };
    let users = [
        user("any", "x509"),
        user("tls", "tls"),
        user("subject", &format!("{{subject: {SUBJECT}}}")),
        user("both", &format!("{{subject: {SUBJECT}, issuer: {ISSUER}}}")),
        user("other", "{subject: /CN=other}"),
        user("other_issuer", &format!("{{subject: {SUBJECT}, issuer: /CN=other}}")),
    ];
    let rules = Rules {
        auth: format!("auth: users\nusers:\n{}", users.concat()),
        client_tls: client_ca(&stage, ""),
        ..Rules::default()
    };
    let proxy = Proxy::start(&stage.cluster, &rules).await;
    for (user, plain, tls, certificate) in [
        ("any", false, false, true),
        ("tls", false, true, true),
        ("subject", false, false, true),
        ("both", false, false, true),
        ("other", false, false, false),
        ("other_issuer", false, false, false),
    ] {
        let shown = certified(&stage, user);
        let hidden = Login { certificate: None, ..shown.clone() };
        for (login, expected) in
            [(Login { tls: false, ..hidden.clone() }, plain), (hidden, tls), (shown, certificate)]
        {
            let outcome = enter(&proxy, &login).await;
            assert_eq!(outcome.is_ok(), expected, "{login:?}: {:?}", outcome.err());
            match outcome {
                Ok(mut client) => assert_eq!(client.value("SELECT 7").await.unwrap(), "7"),
                Err(error) => assert_eq!(error.code, 1045, "{error}"),
            }
        }
    }
    // The certificate of the connection counts for another user as well.
    let mut client = enter(&proxy, &certified(&stage, "any")).await.expect("let in");
    for (user, let_in) in [("both", true), ("other", false)] {
        client.command(0x11, format!("{user}\0\0\0\x2d\0caching_sha2_password\0").as_bytes()).await;
        let outcome = client.prove(&certified(&stage, user), [0; 20]).await;
        assert_eq!(outcome.is_ok(), let_in, "{user}");
    }
    proxy.until_logged("not what `require` of this account asks for").await;
}

async fn all_clients_can_be_required_to_show_one(scenario: Scenario) {
    let stage = scenario.stage().await;
    let rules = Rules { client_tls: client_ca(&stage, ", require: x509"), ..Rules::default() };
    let proxy = Proxy::start(&stage.cluster, &rules).await;
    let shown = Login { password: "app-pw".into(), ..certified(&stage, "app") };
    let mut client = enter(&proxy, &shown).await.expect("let in");
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    let hidden = Login { certificate: None, ..shown.clone() };
    assert_eq!(enter(&proxy, &hidden).await.err().expect("refused").code, 1045);
    proxy.until_logged("no certificate").await;
    let plain = Login { tls: false, ..hidden };
    assert_eq!(enter(&proxy, &plain).await.err().expect("refused").code, 3159);
}

/// A certificate that no authority has signed, in files.
fn stranger(scenario: Scenario) -> (PathBuf, PathBuf) {
    let pair = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["client".into()]).expect("parameters");
    let certificate = certificate.self_signed(&pair).expect("a certificate");
    let (process, dialect) = (std::process::id(), scenario.dialect);
    let name =
        |kind: &str| std::env::temp_dir().join(format!("tg-stranger-{process}-{dialect:?}-{kind}.pem"));
    std::fs::write(name("cert"), certificate.pem()).expect("written");
    std::fs::write(name("key"), pair.serialize_pem()).expect("written");
    (name("cert"), name("key"))
}

async fn a_certificate_of_a_stranger_ends_the_handshake(scenario: Scenario) {
    let stage = scenario.stage().await;
    let rules = Rules { client_tls: client_ca(&stage, ""), ..Rules::default() };
    let proxy = Proxy::start(&stage.cluster, &rules).await;
    let (certificate, key) = stranger(scenario);
    let login =
        Login { tls: true, certificate: Some((certificate.clone(), key.clone())), ..Login::default() };
    let client = RawClient::greet(proxy.address).await.expect("greeted");
    client.try_encrypt(&login).await;
    proxy.until_metric("tidegate_logins_failed_total", &["kind=\"tls\""], |count| count == 1).await;
    std::fs::remove_file(certificate).expect("ours");
    std::fs::remove_file(key).expect("ours");
}

async fn accounts(stage: &Stage, scenario: Scenario) -> [(String, String); 3] {
    let requirements = [
        "X509".to_owned(),
        format!("SUBJECT '{SUBJECT}'"),
        format!("SUBJECT '{SUBJECT}' AND ISSUER '{ISSUER}'"),
    ];
    let mut accounts = [const { (String::new(), String::new()) }; 3];
    for (number, (account, require)) in accounts.iter_mut().zip(requirements).enumerate() {
        let name = format!("x_{number}_{}", &scenario.name[..4]);
        stage
            .given(&[
                &format!("DROP USER IF EXISTS {name}"),
                &format!("CREATE USER {name} IDENTIFIED BY 'pw' REQUIRE {require}"),
                &format!("GRANT SELECT ON *.* TO {name}"),
            ])
            .await;
        *account = (name, require);
    }
    accounts
}

fn own_certificate(stage: &Stage) -> String {
    let tls = &stage.cluster.tls;
    format!(
        "{{mode: required, certificate: \"{}\", key: \"{}\"}}",
        tls.client_cert.display(),
        tls.client_key.display()
    )
}

async fn tidegates_own_certificate_satisfies_the_servers(scenario: Scenario) {
    let stage = scenario.stage().await;
    for (name, require) in accounts(&stage, scenario).await {
        let auth = format!("auth: users\nusers: [{{name: {name}, password: pw}}]");
        let with = Rules { auth, server_tls: own_certificate(&stage), ..Rules::default() };
        let without = Rules { server_tls: "{mode: required}".into(), ..with.clone() };
        let login = Login::account(&name, "pw");
        let proxy = Proxy::start(&stage.cluster, &with).await;
        let mut client = enter(&proxy, &login).await.expect("its requirement is about the servers' side");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7", "{require}");
        let proxy = Proxy::start(&stage.cluster, &without).await;
        let mut client = enter(&proxy, &login).await.expect("no server was asked yet");
        assert_eq!(client.error("SELECT 7").await.code, 1045, "{require}");
        stage.given(&[&format!("DROP USER {name}")]).await;
    }
}

async fn passthrough_meets_no_requirement_for_its_clients(scenario: Scenario) {
    let stage = scenario.stage().await;
    let rules =
        Rules { client_tls: client_ca(&stage, ""), server_tls: own_certificate(&stage), ..Rules::default() };
    let proxy = Proxy::start(&stage.cluster, &rules).await;
    for (name, require) in accounts(&stage, scenario).await {
        // Neither Tidegate's certificate nor the client's own, which the server cannot see, is good for it.
        for login in [Login::account(&name, "pw"), certified(&stage, &name)] {
            let error = enter(&proxy, &login).await.err().expect("refused");
            assert_eq!(error.code, 1045, "{require}: {error}");
        }
        stage.given(&[&format!("DROP USER {name}")]).await;
    }
    let shown = Login { password: "app-pw".into(), ..certified(&stage, "app") };
    let mut client = enter(&proxy, &shown).await.expect("no requirement");
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
}
