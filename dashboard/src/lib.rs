//! A page for the browser: queues, their workers and their failed jobs, served from the person's own machine with the
//! person's own rights, or in a cluster for its accounts.
//!
//! [`Dashboard`] serves what a [`Source`] knows. On a person's machine it listens on the loopback only, and answers a browser
//! that was given the token of its address. In a cluster it answers whom the API server knows, and shows what they may see.

mod access;
mod pages;
mod plans;
mod prometheus;
mod routes;
mod simulation;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

// Found here by all modules.
use jobqueue_inspect::{samples, source, survey, text, workers};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::access::{Access, Cluster, Loopback, Visitor, Wanted};
use self::plans::Plans;
pub use self::prometheus::Prometheus;
use self::simulation::Simulator;
use self::source::{Backlog, ClusterSource, Problem, QueueKey, QueueView, Source};
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
    access: Arc<Access>,
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
        let access = Access::Loopback(Loopback::new(listener.local_addr()?.port()));
        Self::new(listener, settings, source, access)
    }

    /// Listens on an address of a pod, for accounts of the cluster that `source` shows. `proxy_secret` is known to a proxy
    /// that logs people in.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn bind_in_cluster(
        address: SocketAddr,
        settings: Settings,
        source: Arc<ClusterSource>,
        proxy_secret: Option<String>,
    ) -> io::Result<Self> {
        let access = Access::Cluster(Cluster::new(source.client(), proxy_secret));
        Self::new(jobqueue_listen::bind(address)?, settings, source, access)
    }

    fn new(listener: TcpListener, settings: Settings, source: Arc<dyn Source>, access: Access) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let changed = watch::Sender::new(0);
        let app = App {
            source,
            access: Arc::new(access),
            read_only: settings.read_only,
            prometheus: settings.prometheus,
            surveys: Surveys::new(changed.clone()),
            plans: Plans::default(),
            simulator: Simulator::default(),
            changed,
        };
        Ok(Self { listener, address, app: Arc::new(app) })
    }

    /// The address to open; on a person's machine with the token that lets in.
    pub fn url(&self) -> String {
        match &*self.app.access {
            Access::Loopback(loopback) => format!("http://{}/?token={}", self.address, loopback.token()),
            Access::Cluster(_) => format!("http://{}/", self.address),
        }
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// If no connection can be taken any more.
    pub async fn serve(self) -> io::Result<()> {
        axum::serve(self.listener, routes::router(self.app)).await
    }
}

impl App {
    /// A queue, for a visitor who may see it.
    async fn queue(&self, visitor: &Visitor, key: &QueueKey) -> Result<QueueView, Problem> {
        self.access.may(visitor, Wanted::See, key).await?;
        self.source.queue(key).await
    }

    /// Its Redis, for a visitor who may read its jobs.
    async fn backlog(&self, visitor: &Visitor, key: &QueueKey) -> Result<Backlog, Problem> {
        self.access.may(visitor, Wanted::ReadJobs, key).await?;
        self.source.backlog(key).await
    }
}
