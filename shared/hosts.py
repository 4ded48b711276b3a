"""Hosts and network addresses."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address; of names, only localhost is."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """Return a host as URLs and addresses with a port write it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def address_of(host: str, port: int) -> str:
    """Return ``host:port``."""
    return f"{bracketed(host)}:{port}"
