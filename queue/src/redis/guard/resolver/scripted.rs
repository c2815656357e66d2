//! A name server that follows a script, over UDP and TCP, for tests.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// What is answered for one name and family.
pub(super) enum Reply {
    Silence,
    Error(ResponseCode),
    /// Addresses that hold for so many seconds; those of the other family are left out.
    Addresses(Vec<IpAddr>, u32),
    Alias(String),
}

pub(super) fn no_such_name() -> Reply {
    Reply::Error(ResponseCode::NXDomain)
}

pub(super) fn address(text: &str) -> Reply {
    Reply::Addresses(vec![text.parse().unwrap()], 30)
}

/// A running name server; it ends with the process.
pub(super) struct NameServer {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

type Script = dyn Fn(&str, RecordType) -> Reply + Send + Sync;

impl NameServer {
    /// Answers as `script` does, which is given each name without the dot at its end.
    pub(super) fn start(script: impl Fn(&str, RecordType) -> Reply + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The same port may be in use.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let (at, asked, script) = (udp.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default(), Arc::new(script));
        let answer = {
            let (asked, script) = (asked.clone(), script.clone());
            move |question: &[u8]| answer(question, &asked, &*script)
        };
        std::thread::spawn({
            let answer = answer.clone();
            move || datagrams(&udp, &answer)
        });
        std::thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                let answer = answer.clone();
                // It ends when its peer is gone.
                std::thread::spawn(move || streamed(stream, &answer));
            }
        });
        Self { at, asked }
    }

    /// How it is found.
    pub(super) fn config(&self) -> NameServerConfig {
        let mut config = NameServerConfig::udp_and_tcp(self.at.ip());
        let at = |mut connection: ConnectionConfig| {
            connection.port = self.at.port();
            connection
        };
        config.connections = config.connections.into_iter().map(at).collect();
        config
    }

    /// Each question so far, as `name type`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(question: &[u8], asked: &Mutex<Vec<String>>, script: &Script) -> Option<(Message, usize)> {
    let question = Message::from_vec(question).unwrap();
    let (query, payload) = (question.queries[0].clone(), usize::from(question.max_payload()));
    let name = query.name().to_ascii().trim_end_matches('.').to_owned();
    asked.lock().unwrap().push(format!("{name} {}", query.query_type()));
    let mut answer = question.into_response();
    let record = |data| Record::from_rdata(query.name().clone(), 30, data);
    match script(&name, query.query_type()) {
        Reply::Silence => return None,
        Reply::Error(code) => answer.metadata.response_code = code,
        Reply::Alias(other) => {
            answer.add_answer(record(RData::CNAME(CNAME(Name::from_ascii(other).unwrap()))));
        }
        Reply::Addresses(addresses, seconds) => {
            let asked_for_four = query.query_type() == RecordType::A;
            for address in addresses.into_iter().filter(|address| address.is_ipv4() == asked_for_four) {
                let mut record = record(RData::from(address));
                record.ttl = seconds;
                answer.add_answer(record);
            }
        }
    }
    Some((answer, payload))
}

fn datagrams(socket: &UdpSocket, answer: &impl Fn(&[u8]) -> Option<(Message, usize)>) {
    let mut question = [0; 2_048];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        let Some((message, payload)) = answer(&question[..length]) else { continue };
        let whole = message.to_vec().unwrap();
        let sent = if whole.len() <= payload { whole } else { message.truncate().to_vec().unwrap() };
        // Who asked may be gone.
        let _ = socket.send_to(&sent, from);
    }
}

fn streamed(mut stream: TcpStream, answer: &impl Fn(&[u8]) -> Option<(Message, usize)>) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question)?;
        let Some((message, _)) = answer(&question) else { continue };
        let whole = message.to_vec().unwrap();
        stream.write_all(&u16::try_from(whole.len()).unwrap().to_be_bytes())?;
        stream.write_all(&whole)?;
    }
}
