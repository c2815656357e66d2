"""Addresses of either family: IPv6 ones stand in brackets in a URL, and want sockets of another kind."""

import ipaddress
import socket


def in_url(host):
    """A host as a URL has it."""
    return f"[{host}]" if ":" in host else host


def family(host):
    """The kind of sockets that an address wants."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def facing(address):
    """The address of this machine from which it would talk to another."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing; only looks up the route
        return probe.getsockname()[0]


def block(host):
    """The range of a NetworkPolicy that has just this address."""
    return str(ipaddress.ip_network(host))
