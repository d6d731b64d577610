use std::collections::BTreeMap;

use super::*;
use crate::topology::catalog::{Column, Index};

const RULES: &str = "version: 1
monitor: {user: m}
default_cluster: main
clusters: {main: {servers: [a]}, second: {servers: [b]}}
databases:
  shop:
    home: {cluster: main, schema: shop}
    keyspaces:
      customer:
        method: hash
        key_type: KEY
        slots: 4
        shards:
          s0: {cluster: main, schema: shop_0, slots: 0-1}
          s1: {cluster: second, schema: shop_1, slots: 2-3}
        tables: {orders: customer_id}
    reference_tables: [countries]
";

fn config(key: &str) -> Config {
    crate::config::load(&RULES.replace("KEY", key), "rules.yaml", &|_| None).unwrap()
}

fn column(name: &str, of_type: &str) -> Column {
    let (scale, collation) = (None, None);
    Column {
        name: name.into(),
        of_type: of_type.into(),
        collation,
        scale,
        is_nullable: false,
        default: None,
        extra: String::new(),
    }
}

fn index(is_unique: bool, columns: &[&str]) -> Index {
    Index { is_unique, columns: columns.iter().map(|&column| column.to_owned()).collect() }
}

fn orders() -> Definition {
    let columns = vec![column("id", "bigint"), column("customer_id", "int unsigned")];
    let indexes = [("PRIMARY".to_owned(), index(true, &["customer_id", "id"]))];
    Definition { columns, indexes: indexes.into() }
}

fn countries() -> Definition {
    let indexes = [("PRIMARY".to_owned(), index(true, &["code"]))];
    Definition { columns: vec![column("code", "char(2)")], indexes: indexes.into() }
}

type Catalogs = BTreeMap<ClusterId, Catalog>;

/// As it should be.
fn catalogs() -> Catalogs {
    let entry = |schema: &str, table: &str, definition| ((schema.to_owned(), table.to_owned()), definition);
    let shard = |schema: &str| [entry(schema, "orders", orders()), entry(schema, "countries", countries())];
    let mut main: Catalog = shard("shop_0").into();
    main.extend([entry("shop", "countries", countries())]);
    [(ClusterId(0), main), (ClusterId(1), shard("shop_1").into())].into()
}

fn found(key: &str, change: impl Fn(&mut Catalogs)) -> Vec<String> {
    let mut catalogs = catalogs();
    change(&mut catalogs);
    compare(&config(key), &catalogs).iter().map(ToString::to_string).collect()
}

fn table<'a>(catalogs: &'a mut Catalogs, cluster: u8, schema: &str, table: &str) -> &'a mut Definition {
    let catalog = catalogs.get_mut(&ClusterId(cluster)).unwrap();
    catalog.get_mut(&(schema.to_owned(), table.to_owned())).unwrap()
}

/// What is found, in one piece, begins so and goes on with all of this.
#[track_caller]
fn only(found: &[String], start: &str, parts: &[&str]) {
    let [one] = found else { panic!("{found:#?}") };
    assert!(one.starts_with(start) && parts.iter().all(|part| one.contains(part)), "{one}");
}

#[test]
fn what_is_asked_is_where_tables_must_or_may_be() {
    let wanted = wanted(&config("integer").rules);
    let names = |tables: &BTreeSet<String>| tables.iter().cloned().collect::<Vec<_>>().join(" ");
    let main: Vec<_> =
        wanted[&ClusterId(0)].iter().map(|(schema, tables)| (&**schema, names(tables))).collect();
    assert_eq!(main, [("shop", "countries orders".to_owned()), ("shop_0", "countries orders".to_owned())]);
    assert_eq!(wanted[&ClusterId(1)].keys().collect::<Vec<_>>(), ["shop_1"]);
}

#[test]
fn tables_as_the_rules_want_them_have_no_finding() {
    assert_eq!(found("integer", |_| {}), Vec::<String>::new());
    assert_eq!(
        found("integer", |catalogs| catalogs.clear()),
        Vec::<String>::new(),
        "who was not asked is not judged"
    );
}

#[test]
fn a_table_that_is_missing_is_an_error() {
    let key = ("shop_1".to_owned(), "orders".to_owned());
    let orders = found("integer", |catalogs| drop(catalogs.get_mut(&ClusterId(1)).unwrap().remove(&key)));
    only(
        &orders,
        "error[shop.orders]: shard s1 (schema shop_1 of cluster second) has no table `orders`",
        &[],
    );
    let key = ("shop".to_owned(), "countries".to_owned());
    let countries = found("integer", |catalogs| drop(catalogs.get_mut(&ClusterId(0)).unwrap().remove(&key)));
    only(&countries, "error[shop.countries]: home (schema shop of cluster main) has no table", &[]);
}

#[test]
fn t58_definitions_that_differ_are_an_error() {
    let differ = |change: &dyn Fn(&mut Definition)| {
        found("integer", |catalogs| change(table(catalogs, 1, "shop_1", "orders")))
    };
    only(
        &differ(&|orders| orders.columns[0].of_type = "int".into()),
        "error[shop.orders]: shard s0",
        &["types bigint and int"],
    );
    only(&differ(&|orders| orders.columns[0].is_nullable = true), "error[shop.orders]", &["NOT NULL on one"]);
    only(
        &differ(&|orders| orders.columns.swap(0, 1)),
        "error[shop.orders]",
        &["column `id`, the other has `customer_id`"],
    );
    only(
        &differ(&|orders| orders.columns.push(column("note", "text"))),
        "error[shop.orders]",
        &["only one of them has column `note`"],
    );
    only(
        &differ(&|orders| orders.columns[0].default = Some("7".into())),
        "error[shop.orders]",
        &["defaults none and '7'"],
    );
    let indexed = differ(&|orders| {
        orders.indexes.insert("u".into(), index(true, &["customer_id"]));
    });
    only(&indexed, "error[shop.orders]", &["unique index on (customer_id)"]);
    let reference = found("integer", |catalogs| {
        table(catalogs, 0, "shop", "countries").columns[0].of_type = "char(3)".into()
    });
    assert_eq!(reference.len(), 2, "each shard's differs from that at home: {reference:#?}");
}

#[test]
fn a_key_that_is_absent_or_of_another_type_is_an_error() {
    let change = |of_type: &'static str, collation: Option<&'static str>, scale| {
        move |catalogs: &mut Catalogs| {
            for (cluster, schema) in [(0, "shop_0"), (1, "shop_1")] {
                let key = &mut table(catalogs, cluster, schema, "orders").columns[1];
                (key.of_type, key.collation, key.scale) =
                    (of_type.into(), collation.map(str::to_owned), scale);
            }
        }
    };
    for (key, of_type, collation, scale) in [
        ("integer", "mediumint unsigned", None, Some(0)),
        ("string", "varchar(20)", Some("utf8mb4_0900_ai_ci"), None),
        ("string, collation: utf8mb4_bin", "char(20)", Some("latin1_bin"), None),
        ("bytes", "varbinary(20)", None, None),
        ("uuid", "binary(16)", None, None),
        ("date", "date", None, None),
        ("datetime, scale: 3", "datetime(3)", None, Some(3)),
        ("decimal, scale: 2", "decimal(10,1)", None, Some(1)),
    ] {
        let rule = key.replace(", ", "\n        ");
        assert_eq!(found(&rule, change(of_type, collation, scale)), Vec::<String>::new(), "{key}: {of_type}");
    }
    for (key, of_type, collation, scale, why) in [
        ("integer", "decimal(10,0)", None, Some(0), "not an integer"),
        ("integer", "varchar(20)", Some("utf8mb4_bin"), None, "not an integer"),
        ("string", "varchar(20)", Some("utf8mb4_turkish_ci"), None, "which no rule knows"),
        (
            "string, collation: utf8mb4_bin",
            "char(20)",
            Some("latin1_swedish_ci"),
            None,
            "more texts for equal",
        ),
        ("string", "varbinary(20)", None, None, "not CHAR or VARCHAR"),
        ("uuid", "binary(20)", None, None, "not a UUID"),
        ("datetime, scale: 3", "datetime(6)", None, Some(6), "3 digits behind the point"),
        ("datetime, scale: 3", "timestamp(3)", None, Some(3), "not DATETIME"),
        ("decimal, scale: 2", "decimal(10,3)", None, Some(3), "2 digits behind the point"),
    ] {
        let rule = key.replace(", ", "\n        ");
        let found = found(&rule, change(of_type, collation, scale));
        assert_eq!(found.len(), 2, "{key}: {of_type}: {found:#?}");
        assert!(
            found.iter().all(|found| found.starts_with("error[shop.orders]") && found.contains(why)),
            "{found:#?}"
        );
    }
    let absent = found("integer", |catalogs| {
        for (cluster, schema) in [(0, "shop_0"), (1, "shop_1")] {
            table(catalogs, cluster, schema, "orders").columns[1].name = "customer".into();
        }
    });
    assert!(
        absent.iter().all(|found| found.contains("has no column `customer_id`")) && absent.len() == 2,
        "{absent:#?}"
    );
    let computed = found("integer", |catalogs| {
        for (cluster, schema) in [(0, "shop_0"), (1, "shop_1")] {
            table(catalogs, cluster, schema, "orders").columns[1].extra = "STORED GENERATED".into();
        }
    });
    assert!(computed.iter().all(|found| found.contains("computes")) && computed.len() == 2, "{computed:#?}");
}

#[test]
fn a_column_that_cannot_have_what_tidegate_makes_is_an_error() {
    let found = |by: &str, of_type: &'static str, scale: Option<u64>, extra: &'static str| {
        let rules = RULES
            .replace("KEY", "integer")
            .replace("orders: customer_id", &format!("orders: {{key: customer_id, generate: {{id: {by}}}}}"));
        let config = crate::config::load(&rules, "rules.yaml", &|_| None).unwrap();
        let mut catalogs = catalogs();
        for (cluster, schema) in [(0, "shop_0"), (1, "shop_1")] {
            let id = &mut table(&mut catalogs, cluster, schema, "orders").columns[0];
            (id.of_type, id.scale, id.extra) = (of_type.into(), scale, extra.into());
        }
        compare(&config, &catalogs).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (by, of_type, scale) in [
        ("snowflake", "bigint", Some(0)),
        ("snowflake", "bigint unsigned", Some(0)),
        ("snowflake", "decimal(20,0)", Some(0)),
        ("segment", "int unsigned", Some(0)),
        ("segment", "decimal(9,0)", Some(0)),
        ("uuid_v7", "char(36)", None),
        ("uuid_v7", "varchar(40)", None),
        ("uuid_v7", "uuid", None),
        ("uuid_v7_binary", "binary(16)", None),
        ("uuid_v7_binary", "varbinary(16)", None),
    ] {
        assert_eq!(found(by, of_type, scale, ""), Vec::<String>::new(), "{by}: {of_type}");
    }
    for (by, of_type, scale, why) in [
        ("snowflake", "int", Some(0), "they have 63 bits"),
        ("snowflake", "decimal(18,0)", Some(0), "they have 63 bits"),
        ("segment", "varchar(20)", None, "not an integer"),
        ("segment", "decimal(9,2)", Some(2), "not an integer"),
        ("uuid_v7", "varchar(35)", None, "not a text of 36 characters"),
        ("uuid_v7", "binary(16)", None, "not a text of 36 characters"),
        ("uuid_v7_binary", "binary(36)", None, "not 16 bytes"),
        ("uuid_v7_binary", "varbinary(15)", None, "not 16 bytes"),
    ] {
        let found = found(by, of_type, scale, "");
        let is_right =
            |found: &String| found.starts_with("error[shop.orders]: `id` on shard s") && found.contains(why);
        assert!(found.len() == 2 && found.iter().all(is_right), "{by} {of_type}: {found:#?}");
    }
    let small = found("segment", "smallint", Some(0), "");
    assert!(small.len() == 2 && small.iter().all(|found| found.starts_with("warning")), "{small:#?}");
    let counted = found("segment", "bigint", Some(0), "auto_increment");
    let is_told =
        |found: &String| found.starts_with("warning") && found.contains("is AUTO_INCREMENT, though");
    assert!(counted.len() == 2 && counted.iter().all(is_told), "{counted:#?}");
    let computed = found("segment", "bigint", Some(0), "STORED GENERATED");
    assert!(computed.len() == 2 && computed.iter().all(|found| found.contains("computes")), "{computed:#?}");
    let absent = {
        let rules = RULES
            .replace("KEY", "integer")
            .replace("orders: customer_id", "orders: {key: customer_id, generate: {number: segment}}")
            .replace("[countries]", "[{name: countries, generate: {code: segment}}]");
        let config = crate::config::load(&rules, "rules.yaml", &|_| None).unwrap();
        compare(&config, &catalogs()).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = |what: &str| absent.iter().filter(|found| found.contains(what)).count();
    assert_eq!((told("has no column `number`"), told("char(2), and not an integer")), (2, 3), "{absent:#?}");
}

#[test]
fn what_the_monitor_lacks_is_an_error() {
    let granted = |by: &str| {
        let rules = RULES
            .replace("KEY", "integer")
            .replace("orders: customer_id", &format!("orders: {{key: customer_id, generate: {{id: {by}}}}}"));
        granting(&crate::config::load(&rules, "rules.yaml", &|_| None).unwrap().rules)
    };
    assert_eq!(granted("snowflake"), ["id_nodes", "id_home"]);
    assert_eq!(granted("segment"), ["id_segments"]);
    assert_eq!(granted("uuid_v7"), [""; 0]);
    assert_eq!(lacking("m", "main", &[]), None);
    let said = lacking("m", "main", &["INSERT", "UPDATE"]).unwrap();
    assert!(
        said.starts_with("error: cluster main: the account `m` of `monitor` lacks INSERT, UPDATE on"),
        "{said}"
    );
}

#[test]
fn what_is_kept_in_each_shard_only_is_a_warning() {
    let both = |change: &dyn Fn(&mut Definition)| {
        found("integer", |catalogs| {
            change(table(catalogs, 0, "shop_0", "orders"));
            change(table(catalogs, 1, "shop_1", "orders"));
        })
    };
    let apart = both(&|orders| {
        orders.indexes = [
            ("PRIMARY".to_owned(), index(true, &["id"])),
            ("customer".to_owned(), index(false, &["customer_id"])),
        ]
        .into();
    });
    only(&apart, "warning[shop.orders]: PRIMARY (id) is unique in each shard", &["the key (customer_id)"]);
    let counted = both(&|orders| orders.columns[0].extra = "auto_increment".into());
    only(&counted, "warning[shop.orders]: `id` counts in each shard for itself", &[]);
    let slow = both(&|orders| orders.indexes = [("i".to_owned(), index(false, &["id"]))].into());
    assert!(slow.len() == 2 && slow.iter().all(|found| found.contains("no index on shard")), "{slow:#?}");
    let left = found("integer", |catalogs| {
        let key = ("shop".to_owned(), "orders".to_owned());
        catalogs.get_mut(&ClusterId(0)).unwrap().insert(key, orders());
    });
    only(&left, "warning[shop.orders]: home (schema shop of cluster main) has a table `orders`, too", &[]);
}
