"""Why a message was set aside: our reason, and hl7apy's complaints from a bounded child process.

The child gets the bytes on standard input and may use so much time and memory and no more; it says
no more than so many lines, and none of the message's values. A message that breaks it breaks
nothing else (site rule 24).
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading

_MOST_LINES = 50
_LONGEST_LINE = 500
# hl7apy quotes the value that is not in a table; nobody needs it to find the field.
_VALUE = re.compile(r"Value .* not in table")


def complaints(
    raw: bytes,
    charset: str | None = None,
    *,
    wall_s: float = 60.0,
    cpu_s: int = 20,
    memory: int = 1024 * 1024 * 1024,
) -> list[str]:
    """What hl7apy's validation says, a sentence each; one sentence where it cannot say anything.

    Args:
        raw: One message without its MLLP frame.
        charset: Python codec that overrules MSH-18.
        wall_s: Longest wait for the child.
        cpu_s: Seconds of processor time it may use.
        memory: Bytes of address space it may use; the interpreter and hl7apy need their part.
    """
    command = [sys.executable, "-m", "workers.explain", charset or "", str(cpu_s), str(memory)]
    try:
        done = subprocess.run(  # noqa: S603  our own interpreter and module
            command, input=raw, capture_output=True, timeout=wall_s, check=False
        )
    except subprocess.TimeoutExpired:
        return ["hl7apy did not come to an end"]
    if done.returncode == -signal.SIGXCPU:
        return ["hl7apy used its processor time up"]
    if done.returncode < 0:
        return [f"hl7apy was ended by signal {-done.returncode}"]
    reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    if reason == MemoryError.__name__:
        return ["hl7apy used its memory up"]
    found = done.stdout.decode("utf-8", "replace").splitlines()
    # After its report it raises the first complaint of it again.
    return found if found or done.returncode == 0 else [f"hl7apy cannot read it: {reason}"]


def _child(charset: str | None, cpu_s: int, memory: int) -> None:
    # A class, no text: an error may quote the message, at its whole length.
    sys.excepthook = lambda kind, *_: sys.stderr.write(f"{kind.__name__}\n")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    from mappings.hl7v2.validation import report  # noqa: PLC0415  bounded before it is read

    raw = sys.stdin.buffer.read()
    source, sink = os.pipe()
    teller = threading.Thread(target=_tell, args=(source,))
    teller.start()
    try:
        report(raw, charset, f"/dev/fd/{sink}")
    finally:
        os.close(sink)
        teller.join()


def _tell(source: int) -> None:
    """Pass the first lines on, however many there are."""
    count = 0
    with os.fdopen(source, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            count += 1
            if count <= _MOST_LINES:
                told = _VALUE.sub("value not in table", line.rstrip("\n"))
                sys.stdout.write(f"{told[:_LONGEST_LINE]}\n")
    if count > _MOST_LINES:
        sys.stdout.write(f"{count - _MOST_LINES} more\n")


if __name__ == "__main__":
    _child(sys.argv[1] or None, int(sys.argv[2]), int(sys.argv[3]))
