"""TCP keep-alive: a peer that a firewall forgot is noticed, not waited for (reliability.md F21)."""

from __future__ import annotations

import socket

_PROBES = {"TCP_KEEPIDLE": 120, "TCP_KEEPINTVL": 30, "TCP_KEEPCNT": 4}


def keep_alive(held: socket.socket) -> None:
    """Probe a silent connection; of a listening socket, each one that it accepts."""
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if (option := getattr(socket, name, None)) is not None:  # not on every system
            held.setsockopt(socket.IPPROTO_TCP, option, value)
