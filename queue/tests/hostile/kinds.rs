//! Kinds of answers that nobody should give: each ends in time, and in one short line without a password.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jobqueue_queue::Guard;

use crate::server::Server;
use crate::{guarded, poll, resident};

const PASSWORD: &str = "correct-horse";

/// A server that answers `hostile` to commands that begin with `at`, and `+OK` to others.
fn server(at: &'static str, hostile: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Server {
    Server::answering(move |words, stream| {
        let command = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
        if command.starts_with(at) { hostile(stream) } else { stream.write_all(b"+OK\r\n") }
    })
}

fn url(server: &Server, scheme: &str) -> String {
    let path = match scheme {
        "redis+sentinel" => "/main/0",
        "redis+cluster" => "",
        _ => "/0",
    };
    format!("{scheme}://:{PASSWORD}@127.0.0.1:{}{path}", server.port)
}

/// The numbers of a queue as the script answers them.
fn numbers(now: &str, count: &str, worker: &str) -> Vec<u8> {
    let worker = format!("*10\r\n${}\r\n{worker}\r\n+9999-12-31T23:59:59Z\r\n+busy\r\n", worker.len());
    let worker =
        format!("{worker}+../../secrets\r\n+99999999999999999999\r\n+-1\r\n+NaN\r\n+4294967295\r\n{count}+1e308\r\n");
    let reports = "*1\r\n+-9223372036854775808 Denied x\r\n";
    format!(
        "*4\r\n{now}:0\r\n{count}*7\r\n{count}{count}{count}{count}+0001-01-01T00:00:00Z\r\n*1\r\n{worker}{reports}"
    )
    .into_bytes()
}

fn slots(ranges: impl Iterator<Item = (i64, i64, String)>) -> Vec<u8> {
    let rows: Vec<_> = ranges
        .map(|(first, last, host)| format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n${}\r\n{host}\r\n:1\r\n", host.len()))
        .collect();
    format!("*{}\r\n{}", rows.len(), rows.concat()).into_bytes()
}

/// Name, scheme, the command that is answered so, and the answer.
fn answers() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let megabyte = "x".repeat(1_000_000);
    let local = || "127.0.0.1".to_owned();
    vec![
        ("password in an error", "redis", "EVAL", format!("-ERR you sent AUTH {PASSWORD}\r\n").into_bytes()),
        ("password at the login", "redis", "AUTH", format!("-WRONGPASS not {PASSWORD}\r\n").into_bytes()),
        ("password in a script's error", "redis", "EVAL", format!("-NOPERM {PASSWORD}\r\n").into_bytes()),
        ("commands for a terminal", "redis", "EVAL", b"-ERR \x1b[2J\x1b]0;owned\x07 \xe2\x80\xae\r\n".to_vec()),
        ("bytes that are no text", "redis", "EVAL", b"-ERR \xff\xfe\xc3\r\n".to_vec()),
        ("a megabyte of error", "redis", "EVAL", format!("-ERR {megabyte}\r\n").into_bytes()),
        ("a megabyte of error at the login", "redis", "AUTH", format!("-ERR {megabyte}\r\n").into_bytes()),
        ("a megabyte of code", "redis", "EVAL", format!("-{megabyte}\r\n").into_bytes()),
        ("an error with a length", "redis", "EVAL", format!("!{}\r\n{megabyte}\r\n", megabyte.len()).into_bytes()),
        ("negative lengths", "redis", "EVAL", b"*-7\r\n$-9\r\n".to_vec()),
        ("a length that is none", "redis", "EVAL", b"$1-0x\r\n".to_vec()),
        ("a stream of RESP3", "redis", "EVAL", b"$?\r\n;4\r\nabcd\r\n;0\r\n".to_vec()),
        ("a map of maps", "redis", "EVAL", b"%2\r\n%0\r\n~0\r\n*0\r\n_\r\n".to_vec()),
        ("not a number", "redis", "EVAL", b"*3\r\n,nan\r\n,-inf\r\n(9999999999999999999999999999999999\r\n".to_vec()),
        ("scripts unknown for ever", "redis", "EVAL", b"-NOSCRIPT no\r\n".to_vec()),
        ("a slot elsewhere", "redis", "EVAL", b"-MOVED 1 127.0.0.1:1\r\n".to_vec()),
        ("a web server", "redis", "AUTH", b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\r\n".to_vec()),
        ("a text for OK", "redis", "AUTH", b"$3\r\nyes\r\n".to_vec()),
        ("an hour in the far future", "redis", "EVAL", numbers(":8210266876799\r\n", ":9223372036854775807\r\n", "w")),
        ("an hour that is none", "redis", "EVAL", numbers(":9223372036854775807\r\n", ":0\r\n", "../../../w")),
        ("negative counts", "redis", "EVAL", numbers(":1700000000\r\n", ":-1\r\n", "w")),
        ("a Sentinel that names itself", "redis+sentinel", "SENTINEL", Vec::new()),
        (
            "a Sentinel with a long name",
            "redis+sentinel",
            "SENTINEL",
            format!("*2\r\n$1000000\r\n{megabyte}\r\n$1\r\n1\r\n").into_bytes(),
        ),
        (
            "a Sentinel with ten thousand",
            "redis+sentinel",
            "SENTINEL",
            b"*10000\r\n".iter().copied().chain(b"$1\r\nx\r\n".repeat(10_000)).collect(),
        ),
        ("ranges of one slot", "redis+cluster", "CLUSTER", slots((0..16_384).map(|slot| (slot, slot, local())))),
        ("ranges in disorder", "redis+cluster", "CLUSTER", slots([(9, 5, local()), (-4, 99_999, local())].into_iter())),
        ("ranges of nobody", "redis+cluster", "CLUSTER", slots(std::iter::empty())),
        (
            "ranges with long names",
            "redis+cluster",
            "CLUSTER",
            slots((0..7).map(|slot| (slot, slot, format!("{slot}{megabyte}")))),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_ends_in_a_short_line_without_the_password() {
    let _alone = crate::LARGE_ANSWERS.lock().await;
    for (kind, scheme, command, answer) in answers() {
        let server = server(command, move |stream| {
            let itself = format!("*2\r\n$9\r\n127.0.0.1\r\n$5\r\n{:05}\r\n", stream.local_addr()?.port());
            stream.write_all(if answer.is_empty() { itself.as_bytes() } else { &answer })
        });
        let connection = guarded(&url(&server, scheme), Guard::default());
        for _ in 0..2 {
            let began = Instant::now();
            let outcome = poll(&connection).await;
            assert!(began.elapsed() < Duration::from_secs(8), "{kind}: {:?}", began.elapsed());
            let said = match outcome {
                Ok(stats) => {
                    assert!(stats.waiting <= 1 << 53, "{kind}: {}", stats.waiting);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            println!("{kind}, {:?}: {said}", began.elapsed());
            assert!(!said.contains(PASSWORD), "{kind}: {said}");
            assert!(said.len() < 800, "{kind}: {} bytes", said.len());
            assert!(!said.contains(|c: char| c.is_control() || c == '\u{202e}'), "{kind}: {said:?}");
        }
    }
}

/// Many servers, with megabytes of words each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_large_is_kept_of_what_servers_say() {
    let _alone = crate::LARGE_ANSWERS.lock().await;
    let megabyte = Arc::new("x".repeat(1_000_000));
    let error = {
        let megabyte = megabyte.clone();
        server("HELLO", move |stream| write!(stream, "-WRONGPASS {megabyte}\r\n"))
    };
    let long = slots((0..7).map(|slot| (slot, slot, format!("{slot}{megabyte}"))));
    let cluster = server("CLUSTER", move |stream| stream.write_all(&long));
    let urls = [format!("{}?protocol=3", url(&error, "redis")), url(&cluster, "redis+cluster")];
    let (before, mut kept) = (resident(), Vec::new());
    for number in 0..80 {
        let connection = guarded(&urls[number % 2], Guard::default());
        _ = poll(&connection).await;
        kept.push(connection);
    }
    let more = resident().saturating_sub(before);
    println!("{more} MiB more with {} servers", kept.len());
    assert!(more < 60, "{more} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_lets_us_in_and_breaks_is_dialled_less_and_less_often() {
    let server = server("EVAL", |stream| stream.shutdown(std::net::Shutdown::Both));
    let connection = guarded(&url(&server, "redis"), Guard::default());
    let (began, polls) = (Instant::now(), AtomicUsize::new(0));
    while began.elapsed() < Duration::from_secs(6) {
        poll(&connection).await.unwrap_err();
        polls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Ten times each 200 ms, then after 0.4, 0.8, 1.6 s.
    assert!((8..=14).contains(&server.connections()), "{} of {polls:?} polls", server.connections());
}

/// What a server for TLS does once it is dialled.
type Handshake = fn(&mut TcpStream) -> std::io::Result<()>;

const HANDSHAKES: [(&str, Handshake); 3] = [
    ("silence", |_| {
        std::thread::sleep(Duration::from_secs(30));
        Ok(())
    }),
    // A handshake message of 16 MiB, in records that may be as long as that.
    ("a certificate without end", |stream| {
        stream.write_all(&[22, 3, 3, 0x40, 0, 11, 255, 255, 255])?;
        stream.write_all(&[0; (1 << 14) - 4])?;
        loop {
            stream.write_all(&[22, 3, 3, 0x40, 0])?;
            stream.write_all(&[0; 1 << 14])?;
        }
    }),
    ("records without content", |stream| {
        loop {
            stream.write_all(&[22, 3, 3, 0, 0].repeat(1_000))?;
        }
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_handshakes_that_do_not_end_are_given_up() {
    let _alone = crate::LARGE_ANSWERS.lock().await;
    for (kind, handshake) in HANDSHAKES {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rediss://127.0.0.1:{}/0", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || handshake(&mut stream));
            }
        });
        let (began, before) = (Instant::now(), resident());
        let connections: Vec<_> = (0..100).map(|_| guarded(&url, Guard::default())).collect();
        let polls = futures::future::join_all(connections.iter().map(poll)).await;
        let said = polls[0].as_ref().unwrap_err();
        let (took, more) = (began.elapsed(), resident().saturating_sub(before));
        println!("{kind}, {took:?}, {more} MiB: {said}");
        // The authorities are read once, not for each server: that took 26 ms, in which nobody else was served.
        let longest = if kind == "silence" { 6 } else { 2 };
        assert!(took < Duration::from_secs(longest) && more < 30, "{kind}: {took:?}, {more} MiB");
    }
}
