//! Starting a server that cannot outlive us, and waiting for it.

use std::{
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    time::{Duration, Instant},
};

/// Ports below those that Linux gives to outgoing connections (32768 and up), which would take one between our look and
/// the server's start, and below a cluster's node ports.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// A TCP port on the loopback that is free, and that no other test is given while this process lives.
pub fn free_port() -> u16 {
    // We ask whether somebody listens, and never listen ourselves: a process that another thread starts at that moment
    // would inherit our socket, and listen on the port until it becomes its program.
    let free = |port: &u16| claim(*port) && TcpStream::connect(("127.0.0.1", *port)).is_err();
    std::iter::repeat_with(|| rand::random_range(PORTS)).take(1_000).find(free).expect("the loopback has a free port")
}

/// Takes a port for this process by a name that only one process can have at a time, as the tests in Python do
/// (`e2e/harness/process.py`).
fn claim(port: u16) -> bool {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = SocketAddr::from_abstract_name(format!("jobqueue-test-port-{port}")).expect("a short name");
    let Ok(claim) = UnixListener::bind_addr(&name) else { return false };
    CLAIMS.lock().expect("nobody panics here").push(claim);
    true
}

/// Polls `ready` until it holds; panics with `what` after `limit`.
pub fn until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command to start, and where to send the child.
type Request = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a process from a thread that never ends: the kernel ties the server's life to the *thread* that started it,
/// and threads of tests and of runtimes come and go.
fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in receiver {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::channel();
    spawner.send((command, answer)).expect("the spawning thread lives as long as the process");
    child.recv().expect("the spawning thread answers")
}

pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("`id` runs");
    output.stdout.starts_with(b"0\n")
}

/// A child process that is killed when it is dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    /// Starts `program` with its output in `log`; as root, under `account` if one is named.
    pub(crate) fn start(account: Option<&str>, program: &str, arguments: &[String], log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("the log can be created");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(account) = account.filter(|_| is_root()) {
            command.args(["--reuid", account, "--regid", account, "--clear-groups"]);
        }
        command.arg("--").arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log handle")).stderr(log);
        Self(spawn(command).unwrap_or_else(|error| panic!("{program} did not start: {error}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// True while the process runs.
    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends SIGKILL and waits.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Sends `signal` (a name such as `INT`) and waits for the end.
    pub(crate) fn stop(&mut self, signal: &str) {
        let _ = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a preparing command to its end; panics with its output if it fails.
pub(crate) fn run(account: Option<&str>, program: &str, arguments: &[String]) {
    let mut command = match account.filter(|_| is_root()) {
        None => Command::new(program),
        Some(account) => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", account, "--regid", account, "--clear-groups", "--", program]);
            command
        }
    };
    let output = command.args(arguments).output().unwrap_or_else(|error| panic!("{program} did not start: {error}"));
    assert!(
        output.status.success(),
        "{program} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Gives a directory to `account`, if we may.
pub(crate) fn hand_over(directory: &Path, account: &str) {
    if is_root() {
        run(None, "chown", &[account.to_owned(), directory.display().to_string()]);
    }
}
