//! information_schema and SHOW of a database with sharded tables: each is there once, as on one server; nothing of the shards shows.

use super::Split;
use crate::harness::Scenario;
use crate::harness::packets::Param;

both_dialects! {
    t57_prepared_statements_read_the_dictionary_anew,
    t57_rows_and_sizes_are_those_of_all_shards,
}

async fn t57_prepared_statements_read_the_dictionary_anew(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut client = split.stage.raw().await;
    let schema = split.stage.schema.clone();
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ? AND table_type = ?";
    let statement = client.prepare(sql).await.expect("it is prepared");
    assert_eq!((statement.parameters, statement.columns), (3, 1));
    let columns = client.prepare("SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = 'orders'").await;
    let columns = columns.expect("it is prepared");
    for (table, count) in [("orders", 1i64), ("plain", 1), ("missing", 0)] {
        let params =
            [Param::Text(schema.as_bytes()), Param::Text(table.as_bytes()), Param::Text(b"BASE TABLE")];
        let rows = client.execute(statement, &params).await.rows();
        assert_eq!(rows.rows[0], [&[0, 0][..], &count.to_le_bytes()].concat(), "{table}");
    }
    let own = [Param::Text(schema.as_bytes())];
    assert_eq!(client.execute(columns, &own).await.rows().rows.len(), 3);
    // A definition that has changed meanwhile.
    let main = &split.stage.cluster;
    main.run(0, &[&format!("ALTER TABLE {schema}_0.orders ADD note INT")]).await;
    assert_eq!(client.execute(columns, &own).await.rows().rows.len(), 4);
    let shown = client.prepare("SHOW TABLES LIKE 'o%'").await.expect("it is prepared");
    assert_eq!(client.execute(shown, &[]).await.rows().rows, [b"\0\0\x06orders".to_vec()]);
}

async fn t57_rows_and_sizes_are_those_of_all_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    super::fill(&split, &mut client, &mut direct).await;
    let schema = &split.stage.schema;
    for (cluster, place) in [(&split.stage.cluster, 0), (&split.second, 1)] {
        cluster.run(0, &[&format!("ANALYZE TABLE {schema}_{place}.customers")]).await;
    }
    let sql = "SELECT TABLE_ROWS, DATA_LENGTH, AVG_ROW_LENGTH, TABLE_ROWS * 2 FROM information_schema.TABLES WHERE TABLE_NAME = 'customers' AND \
               TABLE_SCHEMA = DATABASE()";
    let texts = client.select(sql).await.texts();
    assert_eq!(texts, [["8", "32768", "4096", "16"].map(|text| Some(text.to_owned())).to_vec()]);
    let status = client.select("SHOW TABLE STATUS LIKE 'customers'").await;
    let directly = direct.select("SHOW TABLE STATUS LIKE 'customers'").await;
    let names = |rows: &crate::harness::packets::ResultSet| {
        (0..rows.columns.len()).map(|column| rows.name(column)).collect::<Vec<_>>()
    };
    assert_eq!(names(&status), names(&directly));
    assert_eq!(status.texts()[0][4].as_deref(), Some("8"));
}
