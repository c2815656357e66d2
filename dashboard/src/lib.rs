//! A page for the browser: queues, their workers and their failed jobs, served from the person's own machine with the
//! person's own rights.
//!
//! [`Dashboard`] serves what a [`Source`] knows. It listens on the loopback only, and answers a browser that was given the
//! token of its address.

mod access;
mod pages;
mod plans;
mod prometheus;
mod routes;
mod samples;
mod simulation;
mod source;
mod survey;
mod text;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use self::access::Access;
use self::plans::Plans;
pub use self::prometheus::Prometheus;
pub use self::samples::{Sample, Series};
use self::simulation::Simulator;
pub use self::source::{
    Backlog, ClusterSettings, ClusterSource, LocalQueue, LocalSource, Numbers, Overview, Pod, Problem, QueueKey,
    QueueView, Row, Source, Standing,
};
use self::survey::Surveys;

/// How it is served.
#[derive(Default)]
pub struct Settings {
    /// The port on the loopback; a free one for 0.
    pub port: u16,
    /// Whether every change is refused.
    pub read_only: bool,
    /// Where older samples come from.
    pub prometheus: Option<Prometheus>,
}

/// A dashboard that listens.
pub struct Dashboard {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

/// What the routes need.
struct App {
    source: Arc<dyn Source>,
    access: Access,
    read_only: bool,
    prometheus: Option<Prometheus>,
    surveys: Surveys,
    plans: Plans,
    simulator: Simulator,
    /// Of surveys and plans.
    changed: watch::Sender<u64>,
}

impl Dashboard {
    /// Listens on the loopback; nothing is answered yet.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn bind(settings: Settings, source: Arc<dyn Source>) -> io::Result<Self> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, settings.port)).await {
            Ok(listener) => listener,
            // A machine without IPv4.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                TcpListener::bind((Ipv6Addr::LOCALHOST, settings.port)).await?
            }
            Err(error) => return Err(error),
        };
        let address = listener.local_addr()?;
        let changed = watch::Sender::new(0);
        let app = App {
            source,
            access: Access::new(address.port()),
            read_only: settings.read_only,
            prometheus: settings.prometheus,
            surveys: Surveys::new(changed.clone()),
            plans: Plans::default(),
            simulator: Simulator::default(),
            changed,
        };
        Ok(Self { listener, address, app: Arc::new(app) })
    }

    /// The address to open, with the token that lets in.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.app.access.token())
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// If no connection can be taken any more.
    pub async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, routes::router(self.app)).await
    }
}
