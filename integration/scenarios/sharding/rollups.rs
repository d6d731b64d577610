//! GROUP BY … WITH ROLLUP over shards: groups and their sums are those of one server, in its order, a group of NULL beside the sum.

use super::prepared::Pair;
use super::{Scenario, Split, rules};
use crate::harness::packets::Param;
use crate::harness::{Cluster, RawClient};

both_dialects! {
    rollups_are_those_of_one_server,
    a_group_of_null_stands_beside_its_sum,
    prepared_rollups_are_those_of_one_server,
    what_a_sum_has_of_any_row_is_refused,
}

/// Rows with NULL in each column that may have it, texts in two cases, keys and none.
async fn with_groups(scenario: Scenario) -> (Split, RawClient, RawClient) {
    let tables = [
        "customers (id BIGINT PRIMARY KEY, name VARCHAR(20), score INT, kind INT NOT NULL, price DECIMAL(10, 2), made DATE, code CHAR(3) CHARACTER SET latin1, bits VARBINARY(4), weight DOUBLE, mask BIT(12), KEY (kind), KEY (made))",
        "orders (customer_id BIGINT, id INT, total INT, PRIMARY KEY (customer_id, id))",
        "countries (id INT PRIMARY KEY)",
        "tickets (customer_id BIGINT)",
    ];
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &tables, rules).await;
    let (mut client, mut direct) = split.both().await;
    for id in 1u64..=60 {
        let or_null =
            |nth: u64, value: String| if id % nth == 0 { "NULL".to_owned() } else { format!("'{value}'") };
        let name = ["ann", "bob ", "cid", "däniel"][id as usize % 4];
        let sql = format!(
            "INSERT INTO customers VALUES ({id}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
            or_null(5, name.to_owned()),
            or_null(3, (id % 7).to_string()),
            id % 4,
            or_null(7, format!("{}.{}", id % 3, id % 2)),
            or_null(4, format!("2026-0{}-01", 1 + id % 3)),
            or_null(6, ["a", "b", "c"][id as usize / 2 % 3].to_owned()),
            or_null(9, ["a", "a ", "A"][id as usize % 3].to_owned()),
            or_null(8, format!("{}.5", id % 3)),
            if id % 3 == 0 { "NULL".to_owned() } else { (id % 7 * 500).to_string() },
        );
        split.same(&mut client, &mut direct, &sql).await;
        if id % 3 > 0 {
            let sql = format!("INSERT INTO orders VALUES ({id}, 1, {})", id % 5);
            split.same(&mut client, &mut direct, &sql).await;
        }
    }
    split.stage.cluster.caught_up().await; // for sessions that have not written
    (split, client, direct)
}

async fn rollups_are_those_of_one_server(scenario: Scenario) {
    let (split, mut client, mut direct) = with_groups(scenario).await;
    for column in ["id", "name", "score", "kind", "price", "made", "code", "bits", "weight"] {
        for filter in ["", "WHERE id < 30", "WHERE id > 1000", "WHERE score = 2", "WHERE kind = 1"] {
            for shown in ["COUNT(*)", "SUM(score), AVG(price), MIN(name), MAX(made), COUNT(DISTINCT id)"] {
                let sql =
                    format!("SELECT {column}, {shown} FROM customers {filter} GROUP BY {column} WITH ROLLUP");
                split.same(&mut client, &mut direct, &sql).await;
            }
        }
    }
    for sql in [
        "SELECT COUNT(*) FROM customers GROUP BY name WITH ROLLUP",
        "SELECT name, score, COUNT(*) FROM customers GROUP BY name, score WITH ROLLUP",
        "SELECT COUNT(*), score, made, name, SUM(id) FROM customers GROUP BY name, made, score WITH ROLLUP",
        "SELECT kind, made, COUNT(*) FROM customers GROUP BY 2, kind WITH ROLLUP",
        "SELECT name AS n, kind AS k, COUNT(*) FROM customers GROUP BY n, k WITH ROLLUP",
        "SELECT customers.kind, COUNT(*) FROM customers GROUP BY customers.kind WITH ROLLUP",
        "SELECT c.kind, o.total, SUM(o.total), COUNT(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.kind, o.total WITH ROLLUP",
        "SELECT score, COUNT(*) FROM customers GROUP BY score WITH ROLLUP LIMIT 3",
        "SELECT score, COUNT(*) FROM customers GROUP BY score WITH ROLLUP LIMIT 4, 100",
        "SELECT score, COUNT(*) FROM customers GROUP BY score WITH ROLLUP LIMIT 0",
        "SELECT kind, SUM(score) FROM customers GROUP BY kind WITH ROLLUP HAVING SUM(score) > 30",
        "SELECT kind, score, COUNT(*) FROM customers GROUP BY kind, score WITH ROLLUP HAVING COUNT(*) > 2 LIMIT 2, 4",
        "SELECT score, COUNT(*) FROM customers GROUP BY score WITH ROLLUP HAVING score IS NULL",
        "SELECT kind, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP HAVING kind IS NOT NULL",
        "SELECT kind, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP HAVING kind > 1",
        "SELECT kind, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP HAVING kind > 2 OR COUNT(*) > 20",
        "SELECT score, CONCAT(score, 'x'), score + 1, IFNULL(score, 'all'), score IS NULL, CASE WHEN score IS NULL THEN 'sum' ELSE score END, COUNT(*) FROM customers GROUP BY score WITH ROLLUP",
        "SELECT kind, IF(kind > 1, 'a', 'b'), kind IN (1, 2), SUM(score) / COUNT(*), ROUND(AVG(price), 1) FROM customers GROUP BY kind WITH ROLLUP",
        "SELECT IFNULL(kind, 'all'), COALESCE(score, name, 'all'), COUNT(*) FROM customers GROUP BY kind, score, name WITH ROLLUP",
        "SELECT kind, kind IS NULL, IF(kind IS NULL, 'all', kind), ISNULL(kind) FROM customers GROUP BY kind WITH ROLLUP",
        "SELECT ISNULL(kind), kind, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
        "SELECT kind * 2, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
        // An error on MariaDB.
        "SELECT score, COUNT(*) FROM customers GROUP BY score WITH ROLLUP ORDER BY score DESC, COUNT(*)",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn a_group_of_null_stands_beside_its_sum(scenario: Scenario) {
    let (split, mut client, mut direct) = with_groups(scenario).await;
    for sql in [
        // Nothing but NULL: a group and its sum have the same values, on one shard, on both, and in the levels between.
        "SELECT score, COUNT(*), SUM(id) FROM customers WHERE score IS NULL GROUP BY score WITH ROLLUP",
        "SELECT score, COUNT(*), SUM(id) FROM customers WHERE score IS NULL AND id % 2 = 1 GROUP BY score WITH ROLLUP",
        "SELECT score, name, COUNT(*) FROM customers WHERE score IS NULL GROUP BY score, name WITH ROLLUP",
        "SELECT name, score, COUNT(*) FROM customers WHERE score IS NULL GROUP BY name, score WITH ROLLUP",
        "SELECT name, score, COUNT(*) FROM customers WHERE score IS NULL AND name IS NULL GROUP BY name, score WITH ROLLUP",
        "SELECT name, score, kind, COUNT(*) FROM customers WHERE id % 15 = 0 GROUP BY name, score, kind WITH ROLLUP",
        "SELECT name, COUNT(*) FROM customers WHERE id IN (15, 30, 60) GROUP BY name WITH ROLLUP",
        "SELECT code, COUNT(code), COUNT(*) FROM customers GROUP BY code WITH ROLLUP",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn prepared_rollups_are_those_of_one_server(scenario: Scenario) {
    let (split, ..) = with_groups(scenario).await;
    let mut pair = Pair::of(&split).await;
    for column in ["name", "score", "kind", "price", "made", "weight"] {
        let sql = format!(
            "SELECT {column}, SUM(price), COUNT(*) FROM customers WHERE id < ? GROUP BY {column} WITH ROLLUP HAVING COUNT(*) > 2"
        );
        pair.all(&sql, &[&[Param::Int(100)], &[Param::Int(20)]]).await;
    }
    // MariaDB would show NULL in place of what the shards' groups are by.
    pair.all(
        "SELECT score, score IS NULL, IF(score IS NULL, 'all', score), CASE WHEN score IS NULL THEN ? ELSE score END FROM customers GROUP BY score WITH ROLLUP",
        &[&[Param::Int(7)], &[Param::Int(8)]],
    )
    .await;
    pair.all(
        "SELECT name, score, COUNT(*) FROM customers GROUP BY name, score WITH ROLLUP LIMIT ?",
        &[&[Param::Int(3)], &[Param::Int(100)]],
    )
    .await;
}

async fn what_a_sum_has_of_any_row_is_refused(scenario: Scenario) {
    let (split, mut client, mut direct) = with_groups(scenario).await;
    client.ok("SET sql_mode = ''").await;
    direct.ok("SET sql_mode = ''").await;
    let mut refused = vec![
        "SELECT score + 1, COUNT(*) FROM customers GROUP BY score + 1 WITH ROLLUP",
        "SELECT kind, COUNT(DISTINCT score) FROM customers GROUP BY kind WITH ROLLUP",
        "SELECT kind, COUNT(*) FROM customers GROUP BY kind, kind WITH ROLLUP",
        "SELECT DISTINCT kind FROM customers GROUP BY kind WITH ROLLUP",
    ];
    if !scenario.is_mysql() {
        // MariaDB gives the last row's value where MySQL gives NULL.
        refused.extend([
            "SELECT kind, kind AS again, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
            "SELECT kind, name, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
            "SELECT kind, kind = 1 OR kind = 2, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
            "SELECT kind, (SELECT kind), COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
            // What these are depends on whether the column is selected behind.
            "SELECT kind IS NULL, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
            "SELECT IF(ISNULL(kind), 'sum', kind), COUNT(*) FROM customers GROUP BY kind WITH ROLLUP",
            // The last row's value, here too.
            "SELECT mask, COUNT(*) FROM customers GROUP BY mask WITH ROLLUP",
            "SELECT COUNT(*) FROM customers WHERE mask IS NOT NULL GROUP BY mask WITH ROLLUP",
            // Each shard's sum would be rounded.
            "SELECT kind, SUM(score / 7) FROM customers GROUP BY kind WITH ROLLUP",
            // NULL in a sum, of a column that cannot be: HAVING does not know.
            "SELECT kind, COUNT(*) FROM customers GROUP BY kind WITH ROLLUP HAVING kind IS NULL OR COUNT(*) > 90",
        ]);
    }
    for sql in refused {
        assert_eq!(client.error(sql).await.code, 1235, "{sql}");
    }
    split.same(&mut client, &mut direct, "SELECT COUNT(*) FROM customers").await;
}
