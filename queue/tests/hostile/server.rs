//! A server that speaks RESP and follows a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What follows the answers to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    EndlessArray,
    EndlessSmallArrays,
    HugeText,
    EndlessLine,
    MegabyteTexts,
    DeepNesting,
    ManyWorkers,
    JustBelowTheLimits,
    SlowDrip,
    Silence,
}

pub(crate) const ATTACKS: [Attack; 10] = [
    Attack::EndlessArray,
    Attack::EndlessSmallArrays,
    Attack::HugeText,
    Attack::EndlessLine,
    Attack::MegabyteTexts,
    Attack::DeepNesting,
    Attack::ManyWorkers,
    Attack::JustBelowTheLimits,
    Attack::SlowDrip,
    Attack::Silence,
];

/// A running server; it ends with the process.
pub(crate) struct Server {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// One that answers every script with `attack`.
    pub(crate) fn attacking(attack: Attack) -> Self {
        Self::answering(move |words, stream| match words[0].to_ascii_uppercase().as_slice() {
            b"EVALSHA" | b"EVAL" => run(attack, stream),
            b"HELLO" => stream.write_all(b"-ERR unknown command\r\n"),
            _ => stream.write_all(b"+OK\r\n"),
        })
    }

    /// One that answers each command as `answer` does.
    pub(crate) fn answering<F>(answer: F) -> Self
    where
        F: Fn(&[Vec<u8>], &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, connections) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let counted = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                // It ends when its peer is gone.
                std::thread::spawn(move || serve(stream, &*answer));
            }
        });
        Self { port, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Connections that were made to it so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(
    mut stream: TcpStream,
    answer: impl Fn(&[Vec<u8>], &mut TcpStream) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    loop {
        let mut words = Vec::new();
        for _ in 0..number(&mut requests)? {
            let length = number(&mut requests)?;
            let mut word = vec![0; length + 2];
            requests.read_exact(&mut word)?;
            word.truncate(length);
            words.push(word);
        }
        answer(&words, &mut stream)?;
    }
}

fn number(requests: &mut impl BufRead) -> std::io::Result<usize> {
    let mut line = String::new();
    requests.read_line(&mut line)?;
    line.get(1..).and_then(|digits| digits.trim().parse().ok()).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

fn run(attack: Attack, stream: &mut TcpStream) -> std::io::Result<()> {
    match attack {
        Attack::EndlessArray => {
            stream.write_all(b"*2000000000\r\n")?;
            forever(stream, &b":0\r\n".repeat(16_384))
        }
        Attack::EndlessSmallArrays => {
            stream.write_all(b"*150000\r\n")?;
            forever(stream, &b"*2\r\n:1\r\n:1\r\n".repeat(16_384))
        }
        Attack::HugeText => {
            stream.write_all(b"$2000000000\r\n")?;
            forever(stream, &[b'x'; 1 << 14])
        }
        Attack::EndlessLine => {
            stream.write_all(b"+")?;
            forever(stream, &[b'x'; 1 << 14])
        }
        Attack::MegabyteTexts => {
            stream.write_all(b"*100\r\n")?;
            let mut text = b"$1000000\r\n".to_vec();
            text.resize(text.len() + 1_000_000, b'x');
            text.extend(b"\r\n");
            forever(stream, &text)
        }
        Attack::DeepNesting => forever(stream, &b"*1\r\n".repeat(16_384)),
        Attack::ManyWorkers => {
            stream.write_all(b"*4\r\n:1\r\n:1\r\n:0\r\n*7\r\n:0\r\n:0\r\n:0\r\n:0\r\n+\r\n*100000\r\n")?;
            let worker = b"*10\r\n+w\r\n+1\r\n+busy\r\n+h\r\n+0\r\n+0\r\n+0\r\n+1\r\n:1\r\n+\r\n";
            forever(stream, &worker.repeat(1_000))
        }
        Attack::JustBelowTheLimits => {
            stream.write_all(b"*190000\r\n")?;
            stream.write_all(&b":0\r\n".repeat(189_999))?;
            silence();
            Ok(())
        }
        Attack::SlowDrip => {
            stream.write_all(b"*1000\r\n")?;
            loop {
                stream.write_all(b":1\r\n")?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Attack::Silence => {
            silence();
            Ok(())
        }
    }
}

fn forever(stream: &mut TcpStream, piece: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
    }
}

fn silence() {
    std::thread::sleep(Duration::from_secs(60));
}
