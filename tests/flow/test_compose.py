"""compose.yaml is one that docker-compose understands, and its ports stay on loopback."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.peer("docker-compose")
def test_compose_is_understood_and_publishes_on_loopback_only():
    """No daemon is asked."""
    needed = set(re.findall(r"\$\{(\w+):\?\}", (ROOT / "compose.yaml").read_text("utf-8")))
    done = subprocess.run(
        ["docker-compose", "-f", "compose.yaml", "config"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **dict.fromkeys(needed, "x")},
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    published = re.findall(r"host_ip: (\S+)|- (\d[\d.]*):\d+:\d+", done.stdout)
    assert {"127.0.0.1"} >= {a or b for a, b in published}


@pytest.mark.peer("docker-compose")
def test_compose_refuses_to_start_without_its_secrets():
    """No default password (A13)."""
    done = subprocess.run(
        ["docker-compose", "-f", "compose.yaml", "config", "-q"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    assert 0 != done.returncode
