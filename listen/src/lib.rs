//! Opens the port of health and metrics, for operator and worker: `[::]` takes IPv4 and IPv6, and is `0.0.0.0` where the
//! machine has no IPv6.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on an address; port 0 means a free one. `[::]` takes IPv4 too, whatever `net.ipv6.bindv6only` says.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(bind_with(address, open)?)
}

/// Falls back to IPv4 where `[::]` is asked for and the kernel has no IPv6.
fn bind_with<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    open(address).or_else(|error| {
        if is_any && lacks_ipv6(&error) { open((Ipv4Addr::UNSPECIFIED, address.port()).into()) } else { Err(error) }
    })
}

/// `EAFNOSUPPORT` of a kernel without the protocol, `EADDRNOTAVAIL` of one in which it is switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == ErrorKind::AddrNotAvailable
}

fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A port that is in TIME_WAIT is free.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpStream};

    use super::*;

    const ANY: &str = "[::]:9090";

    fn has_ipv6() -> bool {
        std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
    }

    #[tokio::test]
    async fn any_address_takes_both_families() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if has_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[tokio::test]
    async fn one_address_is_one_family() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.is_ipv4());
        assert_eq!(bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_machine_without_ipv6_listens_on_ipv4() {
        for code in [97, 99] {
            let without = |address: SocketAddr| {
                if address.is_ipv6() { Err(io::Error::from_raw_os_error(code)) } else { Ok(address.to_string()) }
            };
            assert_eq!(bind_with(ANY.parse().unwrap(), without).unwrap(), "0.0.0.0:9090");
            assert!(bind_with("[::1]:9090".parse().unwrap(), without).is_err(), "asked for by name");
        }
        let taken = |_: SocketAddr| Err::<(), _>(io::Error::from_raw_os_error(98));
        assert_eq!(bind_with(ANY.parse().unwrap(), taken).unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
