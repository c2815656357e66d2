//! Databases that take no writes for a while: nobody's fault, said clearly, and over by itself.

use jobqueue_ingest::{DatabaseKind, SinkError, SinkOptions, connect, run_script};
use serde_json::json;

use crate::{counts, fixture, fresh, jobs, open, refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_read_only_is_waited_for() {
    let server = jobqueue_testkit::postgres();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    run_script(&url.parse().unwrap(), &fixture::schema(DatabaseKind::Postgres)).await.unwrap();
    open(&url).await.ensure_ledger().await.unwrap();
    let recipe = fixture::companies(&json!({}));
    let units = jobs(&recipe, "j", 10);
    server.sql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));

    let plain = open(&url).await;
    plain.ensure_ledger().await.unwrap();
    let words = refusal(&*plain, &recipe, &units).await;
    assert!(words.contains("takes no writes: it is read-only (cannot execute INSERT"), "{words}");
    assert!(matches!(plain.probe().await, Err(SinkError::Unwritable { .. })));
    let demanding = format!("{url}?target_session_attrs=read-write");
    let Err(error) = connect(&demanding.parse().unwrap(), SinkOptions::default()).await else { panic!("accepted") };
    assert!(error.to_string().contains("it is read-only (default_transaction_read_only)"), "{error}");

    server.sql("postgres", &format!("ALTER DATABASE {name} RESET default_transaction_read_only"));
    // Sessions keep the default they began with.
    assert!(fresh(&plain.write(&recipe, &units).await.unwrap()));
    assert_eq!(counts(&*plain).await, [10, 20, 10]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mariadb_that_is_read_only_is_waited_for_or_passed_over() {
    let (first, second) = (jobqueue_testkit::MariaDb::start(), jobqueue_testkit::mariadb());
    let url = first.database();
    let name = url.rsplit('/').next().unwrap();
    second.sql("", &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
    for server in [&first, second] {
        let there = server.url(name);
        run_script(&there.parse().unwrap(), &fixture::schema(DatabaseKind::Mysql)).await.unwrap();
        open(&there).await.ensure_ledger().await.unwrap();
        // An account that may do everything may also write to what is read-only.
        server.sql("", &format!("CREATE USER {name}@'%' IDENTIFIED BY 's3cret'; GRANT ALL ON {name}.* TO {name}@'%'"));
    }
    let both = format!("mysql://{name}:s3cret@127.0.0.1:{},127.0.0.1:{}/{name}", first.port(), second.port());
    let alone = both.replace(&format!(",127.0.0.1:{}", second.port()), "");
    // So that it is the first that is chosen, however long it takes to answer.
    second.sql("", "SET GLOBAL read_only = 1");
    let (alone, both) = (open(&alone).await, open(&both).await);
    let recipe = fixture::companies(&json!({}));
    let units = jobs(&recipe, "j", 10);

    assert!(fresh(&both.write(&recipe, &jobs(&recipe, "before", 10)).await.unwrap()));
    first.sql("", "SET GLOBAL read_only = 1");
    second.sql("", "SET GLOBAL read_only = 0");
    let words = refusal(&*alone, &recipe, &units).await;
    assert!(words.contains("takes no writes: it is read-only (") && words.contains("--read-only"), "{words}");
    refusal(&*both, &recipe, &units).await;
    assert!(fresh(&both.write(&recipe, &units).await.unwrap()), "the other server takes them");
    assert_eq!(counts(&*both).await, [10, 20, 10]);

    second.sql("", "SET GLOBAL read_only = 1");
    let more = jobs(&recipe, "more", 10);
    refusal(&*both, &recipe, &more).await;
    let words = both.ping().await.unwrap_err().to_string();
    second.sql("", "SET GLOBAL read_only = 0");
    for server in [&first, second] {
        assert!(words.contains(&format!("127.0.0.1:{}: it is read-only", server.port())), "{words}");
    }
    assert!(!words.contains("s3cret"), "{words}");
    first.sql("", "SET GLOBAL read_only = 0");
    assert!(fresh(&alone.write(&recipe, &units).await.unwrap()));
    assert_eq!(counts(&*alone).await, [20, 40, 20]);
}
