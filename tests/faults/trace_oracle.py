"""The durable-before-ack oracle: reads a trace of system calls and finds early acknowledgements.

A kill loop cannot see a missing fsync, since the page cache survives a dead process; the order of
system calls can. Source: reliability.md 0.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "read,recvfrom,recvmsg,readv,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync,"
    "rename,renameat,renameat2"
)
_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<call>\w+)\((?P<rest>.*)$")
_RESUMED = re.compile(r"^(?P<pid>\d+)\s+<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
_WRITES = {"write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev"}
_READS = {"read", "recvfrom", "recvmsg", "readv"}


@dataclass(frozen=True, slots=True)
class Call:
    """One system call at the moment that counts: writes when begun, reads and syncs when done."""

    name: str
    text: str


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Calls of a trace in order."""
    begun: dict[str, str] = {}
    for line in lines:
        if (found := _RESUMED.match(line)) is not None:
            text = begun.pop(found["pid"], "") + found["rest"]
            if found["call"] not in _WRITES:
                yield Call(found["call"], text)
        elif (found := _LINE.match(line)) is not None:
            unfinished = found["rest"].endswith("<unfinished ...>")
            if unfinished:
                begun[found["pid"]] = found["rest"]
            if not unfinished or found["call"] in _WRITES:
                yield Call(found["call"], found["rest"])


@dataclass(slots=True)
class Verdict:
    """What the oracle saw.

    Attributes:
        acks: Acknowledgements sent.
        unsynced: Of these, sent while a file of the store had bytes that no sync had covered.
        without_sync: Of these, sent with no sync of the store since the message came in.
    """

    acks: int = 0
    unsynced: list[str] = field(default_factory=list)
    without_sync: int = 0


def judge(found: Iterable[Call], *, store: str, message: str, ack: str, strict: bool) -> Verdict:
    """Judge a trace.

    Args:
        found: The calls.
        store: Pattern of the paths that must be durable.
        message: Pattern of a read that brings a message.
        ack: Pattern of a write that acknowledges one.
        strict: Count every unsynced write to the store, not only a missing sync.
    """
    verdict, dirty, synced = Verdict(), set[str](), False
    in_store, comes, goes = re.compile(store), re.compile(message), re.compile(ack)
    for call in found:
        path = _path(call.text)
        if call.name in _READS and comes.search(call.text):
            synced = False
        elif call.name in _WRITES and in_store.search(path):
            dirty.add(path)
        elif call.name in ("fsync", "fdatasync") and in_store.search(path):
            dirty.discard(path)
            synced = True
        elif call.name in _WRITES and goes.search(call.text):
            verdict.acks += 1
            verdict.without_sync += not synced
            if strict and dirty:
                verdict.unsynced.append(min(dirty))
    return verdict


def read(path: Path) -> list[Call]:
    """Calls of a trace file."""
    return list(calls(path.read_text("utf-8", "replace").splitlines()))


def _path(text: str) -> str:
    """Path of the first descriptor (strace -y)."""
    found = re.match(r"\d+<([^>]*)>", text)
    return found[1] if found else ""
