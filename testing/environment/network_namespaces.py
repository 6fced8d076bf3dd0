"""Several hosts on one machine: Linux network namespaces on one switch. Needs root and `ip` of iproute2."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

# RFC 2544 keeps these addresses for tests of networks. Each process takes eight of its own: two may run at once.
ADDRESSES = IPv4Network("198.18.0.0/15")
SUBNET_BITS = 29
DEVICE = "eth0"
SWITCH = "switch"


@dataclass(frozen=True)
class Host:
    """A namespace with an address on the switch."""

    namespace: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that is to run on this host."""
        return ("ip", "netns", "exec", self.namespace)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Its link is down in the block. Its address stays; the route to its neighbours comes back with the link."""
        _ip("-n", self.namespace, "link", "set", DEVICE, "down")
        try:
            yield
        finally:
            _ip("-n", self.namespace, "link", "set", DEVICE, "up")


@contextmanager
def hosts_on_one_switch(*names: str) -> Iterator[dict[str, Host]]:
    """At most five hosts that reach each other and this process; all of them are gone after the block.

    Whatever runs on them must have ended by then.
    """
    with ExitStack() as made:
        switch = made.enter_context(_namespace(SWITCH))
        _ip("-n", switch, "link", "add", SWITCH, "type", "bridge")
        _ip("-n", switch, "link", "set", SWITCH, "up")
        addresses = _subnet().hosts()
        _plug_in(switch, (), _own_name("here"), next(addresses))
        made.callback(_ip, "link", "del", _own_name("here"))  # at once: with its namespace it would go a little later
        hosts = {}
        for name in names:
            host = Host(made.enter_context(_namespace(name)), str(next(addresses)))
            hosts[name] = host
            _plug_in(switch, ("-n", host.namespace), DEVICE, IPv4Address(host.address))
        yield hosts


def can_make_hosts() -> bool:
    """Whether this process may, and this machine can."""
    try:
        with hosts_on_one_switch("probe"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def _namespace(name: str) -> Iterator[str]:
    namespace = _own_name(name)
    _ip("netns", "add", namespace)
    try:
        yield namespace
    finally:
        _ip("netns", "del", namespace)


def _plug_in(switch: str, where: tuple[str, ...], device: str, address: IPv4Address) -> None:
    """A cable from a device of that name to a port of the switch."""
    port = f"port{int(address) % 2 ** (32 - SUBNET_BITS)}"
    _ip(*where, "link", "add", device, "type", "veth", "peer", "name", port, "netns", switch)
    _ip("-n", switch, "link", "set", port, "master", SWITCH, "up")
    _ip(*where, "address", "add", f"{address}/{SUBNET_BITS}", "dev", device)
    _ip(*where, "link", "set", device, "up")


def _subnet() -> IPv4Network:
    first, size = int(ADDRESSES.network_address), 2 ** (32 - SUBNET_BITS)
    return IPv4Network((first + size * os.getpid() % ADDRESSES.num_addresses, SUBNET_BITS))


def _own_name(name: str) -> str:
    return f"qb{os.getpid()}-{name}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
