"""Peers of the tests: found, started when first asked for, stopped at the end, and counted.

`@pytest.mark.peer("postgresql")` marks a test that needs a real peer. Without the peer it is
skipped, with REQUIRE_PEERS=1 it fails, and the closing summary says which peers were missing.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
# The tests' folders are named as the packages they test: the packages must be found first.
sys.path[:0] = [str(_TESTS.parent), *(str(_TESTS),) * (str(_TESTS) not in sys.path)]
for _name in ("mappings", "inference", "interop", "workers"):
    __import__(_name)

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings  # noqa: E402
from peers import found  # noqa: E402  needs the path above

pytest_plugins = ["peers.fixtures", "whole_line"]
_skipped: Counter[str] = Counter()
# A deadline would measure the machine, not the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
# `pytest --hypothesis-profile soak`: property tests for hours instead of seconds.
settings.register_profile(
    "soak",
    max_examples=2000,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long to try."""
    parser.addoption(
        "--kill-cycles", type=int, default=25, help="how often the service is killed under load"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A soak of many cycles may take as long as its cycles need."""
    allowed_s = 120 + 10 * int(config.getoption("--kill-cycles"))
    for item in items:
        if "kill_cycles" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(allowed_s))


@pytest.fixture
def kill_cycles(request: pytest.FixtureRequest) -> int:
    """How often the service is killed under load."""
    return int(request.config.getoption("--kill-cycles"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, what needs a peer that is not here."""
    for mark in item.iter_markers("peer"):
        missing = found.missing(mark.args[0])
        if missing and os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(f"peer {mark.args[0]} is required: {missing}", pytrace=False)
        if missing:
            pytest.skip(f"peer {mark.args[0]}: {missing}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what was skipped for want of a peer."""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.startswith("peer "):
            _skipped[reason] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which peers were missing and how many tests that cost."""
    terminalreporter.section("real peers")
    for name in found.PEERS:
        missing = found.missing(name)
        cost = sum(n for reason, n in _skipped.items() if reason.startswith(f"peer {name}:"))
        terminalreporter.line(
            f"{name}: {'here' if not missing else f'MISSING, {missing}; {cost} tests skipped'}"
        )
