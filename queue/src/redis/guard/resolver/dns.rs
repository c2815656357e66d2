//! Asks name servers as the C library does in a pod: with `/etc/hosts`, and with the search domains and `ndots` of
//! `/etc/resolv.conf`.

use std::net::IpAddr;
use std::time::Duration;

use futures::future::{Either, select};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver, system_conf};

use super::{Answer, Failure, Found};

/// How long one name server may take before the next is asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How often each name server is asked.
const ROUNDS: usize = 2;

/// How long the addresses of one family wait for those of the other.
const OTHER_FAMILY: Duration = Duration::from_millis(200);

/// Addresses of each family that are kept of an answer: it may have thousands.
const KEPT: usize = 8;

/// The name servers, and what is known without them.
pub(super) struct Dns {
    servers: Vec<TokioResolver>,
    hosts: Hosts,
    search: Vec<Name>,
    /// A name with fewer dots is looked up in the search domains first.
    ndots: usize,
    /// Why there are no servers.
    missing: Option<String>,
}

/// Addresses of one family.
struct Family {
    addresses: Vec<IpAddr>,
    seconds: u32,
}

impl Dns {
    /// As the system says. Without a list of name servers, what is in `/etc/hosts` is known.
    pub(super) fn system() -> Self {
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "the system's file of hosts cannot be read");
            Hosts::default()
        });
        match system_conf::read_system_conf() {
            Ok((config, options)) => Self::new(config.name_servers(), config.search(), options.ndots, hosts),
            Err(error) => {
                tracing::warn!(%error, "the system's list of name servers cannot be read");
                let missing =
                    format!("the host name is not in the file of hosts, and there are no name servers: {error}");
                Self { missing: Some(missing), ..Self::new(&[], &[], 1, hosts) }
            }
        }
    }

    pub(super) fn new(servers: &[NameServerConfig], search: &[Name], ndots: usize, hosts: Hosts) -> Self {
        let mut missing = None;
        let resolver = |server: &NameServerConfig| match resolver(server) {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                missing = Some(format!("the name servers cannot be asked: {error}"));
                None
            }
        };
        let servers = servers.iter().filter_map(resolver).collect();
        Self { servers, hosts, search: search.to_vec(), ndots, missing }
    }

    /// Addresses of `host`.
    pub(super) async fn addresses(&self, host: &str) -> Answer {
        if let Some(address) = number(host) {
            return Ok(found(vec![address], u32::MAX));
        }
        let name = Name::from_str_relaxed(host).map_err(|_| Failure::Other("this is not a host name".into()))?;
        if let Some(known) = self.in_hosts(&name) {
            return Ok(known);
        }
        let mut failure = Failure::NoAddress;
        for candidate in self.candidates(&name) {
            match self.both_families(&candidate).await {
                Err(Failure::NoAddress) => {}
                // The name servers were asked several times.
                Err(Failure::NoAnswer) => return Err(Failure::NoAnswer),
                Err(other) => failure = other,
                found => return found,
            }
        }
        Err(failure)
    }

    fn in_hosts(&self, name: &Name) -> Option<Found> {
        let known = |family| self.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let records: Vec<_> = [RecordType::AAAA, RecordType::A].into_iter().filter_map(known).collect();
        let addresses = records.iter().flat_map(Lookup::answers).filter_map(|record| record.data.ip_addr());
        let addresses: Vec<_> = addresses.take(2 * KEPT).collect();
        (!addresses.is_empty()).then(|| found(addresses, u32::MAX))
    }

    /// The full names that `name` may stand for, in the order in which they are looked up.
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut full = name.clone();
        full.set_fqdn(true);
        if name.is_fqdn() || name.is_localhost() {
            return vec![full];
        }
        let searched = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        let mut names: Vec<Name> = searched.collect();
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, full);
        names
    }

    /// What is there of IPv4 and IPv6. The one family does not wait long for the other.
    async fn both_families(&self, name: &Name) -> Answer {
        let six = Box::pin(self.family(name, RecordType::AAAA));
        let four = Box::pin(self.family(name, RecordType::A));
        let (first, other) = match select(six, four).await {
            Either::Left((first, other)) => (first, Either::Left(other)),
            Either::Right((first, other)) => (first, Either::Right(other)),
        };
        let second = match &first {
            Ok(_) => tokio::time::timeout(OTHER_FAMILY, other).await.unwrap_or(Err(Failure::NoAnswer)),
            Err(_) => other.await,
        };
        match (first, second) {
            (Ok(first), Ok(second)) => {
                let mut mixed = Vec::new();
                for i in 0..KEPT {
                    mixed.extend(first.addresses.get(i).into_iter().chain(second.addresses.get(i)));
                }
                Ok(found(mixed, first.seconds.min(second.seconds)))
            }
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(found(only.addresses, only.seconds)),
            (Err(Failure::NoAddress), Err(failure)) | (Err(failure), Err(_)) => Err(failure),
        }
    }

    /// Addresses of one family, from the first name server that answers.
    async fn family(&self, name: &Name, family: RecordType) -> Result<Family, Failure> {
        let mut failure = self.missing.clone().map_or(Failure::NoAnswer, Failure::Other);
        for server in std::iter::repeat_n(&self.servers, ROUNDS).flatten() {
            let asked = tokio::time::timeout(PATIENCE, server.lookup(name.clone(), family)).await;
            match asked.unwrap_or(Err(NetError::Timeout)) {
                Ok(answer) => return kept(answer.answers()),
                Err(error) => failure = self::failure(&error),
            }
            if failure == Failure::NoAddress {
                break;
            }
        }
        Err(failure)
    }
}

/// One name server: which is asked next is decided here, and nothing is remembered but what was asked for.
fn resolver(server: &NameServerConfig) -> Result<TokioResolver, NetError> {
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server.clone()]);
    let mut options = ResolverOpts::default();
    options.timeout = PATIENCE;
    options.attempts = 0;
    options.cache_size = 0;
    options.preserve_intermediates = false;
    options.use_hosts_file = ResolveHosts::Never;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

/// An address that is written as a number, in one of the ways of `inet_aton`.
fn number(host: &str) -> Option<IpAddr> {
    match url::Host::parse(host).ok()? {
        url::Host::Ipv4(address) => Some(address.into()),
        _ => None,
    }
}

fn kept(records: &[Record]) -> Result<Family, Failure> {
    let mut family = Family { addresses: Vec::new(), seconds: u32::MAX };
    for record in records {
        let Some(address) = record.data.ip_addr() else { continue };
        family.seconds = family.seconds.min(record.ttl);
        if family.addresses.len() < KEPT && !family.addresses.contains(&address) {
            family.addresses.push(address);
        }
    }
    if family.addresses.is_empty() { Err(Failure::NoAddress) } else { Ok(family) }
}

fn found(addresses: Vec<IpAddr>, seconds: u32) -> Found {
    Found { addresses: addresses.into(), lifetime: Duration::from_secs(seconds.into()) }
}

/// What a person is told. It names no server and no search domain: those belong to the cluster, not to the tenant.
fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain | ResponseCode::NoError => Failure::NoAddress,
            code => refused(code),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => refused(*code),
        NetError::Timeout => Failure::NoAnswer,
        _ => {
            tracing::debug!(%error, "a look-up failed");
            Failure::Other("the host name could not be looked up".into())
        }
    }
}

fn refused(code: ResponseCode) -> Failure {
    Failure::Other(format!("the name servers could not look the host name up: {}", code.to_str()))
}
