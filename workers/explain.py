"""Why a message was set aside: our reason, and hl7apy's complaints from a bounded child process.

The child gets the bytes on standard input and may use so much time and memory and no more; a
message that breaks it breaks nothing else (site rule 24).
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys

_CPU_S = 20
_MEMORY = 1024 * 1024 * 1024
_MOST_LINES = 50
# hl7apy quotes the value that is not in a table; nobody needs it to find the field.
_VALUE = re.compile(r"Value .* not in table", re.DOTALL)


def complaints(raw: bytes, charset: str | None = None, *, wall_s: float = 60.0) -> list[str]:
    """What hl7apy's validation says, a sentence each; one sentence where it cannot say anything.

    Args:
        raw: One message without its MLLP frame.
        charset: Python codec that overrules MSH-18.
        wall_s: Longest wait for the child.
    """
    command = [sys.executable, "-m", "workers.explain", charset or ""]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            command, input=raw, capture_output=True, timeout=wall_s, check=False
        )
    except subprocess.TimeoutExpired:
        return ["hl7apy did not come to an end"]
    told = done.stdout.decode("utf-8", "replace").splitlines()
    found = [_VALUE.sub("value not in table", line) for line in told[:_MOST_LINES]]
    if len(told) > _MOST_LINES:
        found.append(f"{len(told) - _MOST_LINES} more")
    if found or done.returncode == 0:
        return found
    if done.returncode < 0:
        return ["hl7apy did not come to an end"]
    # The last line of a traceback; after the colon it may quote the message.
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return [f"hl7apy cannot read it: {last.partition(':')[0].rpartition('.')[2]}"]


def _child() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    from mappings.hl7v2.validation import report  # noqa: PLC0415  bounded before it is read

    report(sys.stdin.buffer.read(), sys.argv[1] or None, "/dev/stdout")


if __name__ == "__main__":
    _child()
