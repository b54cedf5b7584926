"""What a serving process does around its server, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import serving

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
"""

POLICY_AFTER = """
import os
from gsmtp.app.process import settle_threads
os.sched_setscheduler(0, os.{before}, os.sched_param(0))
settle_threads()
print(os.sched_getscheduler(0))
"""


def test_every_thread_of_the_server_lets_others_end_their_turn(tmp_path: Path) -> None:
    with serving(tmp_path, CONF) as server:
        assert server.process is not None
        threads = [int(name) for name in os.listdir(f"/proc/{server.process.pid}/task")]
        assert len(threads) > 1
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}


@pytest.mark.parametrize(("before", "after"), [("SCHED_OTHER", os.SCHED_BATCH), ("SCHED_IDLE", os.SCHED_IDLE)])
def test_a_policy_that_the_operator_chose_stays(before: str, after: int) -> None:
    program = POLICY_AFTER.replace("{before}", before)
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert int(found.stdout) == after
