"""Fetches the servers that the comparison can run: Postfix from Debian, aiosmtpd from PyPI, Haraka from npm.

What isn't Debian's goes into folders of its own under var/compare/; nothing of it touches the product's environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from loadtest.contenders import AIOSMTPD_PYTHON, HARAKA, TOOLS
from loadtest.programs import ROOT, find

AIOSMTPD = "aiosmtpd==1.4.6"
HARAKA_PACKAGE = "Haraka@3.3.4"


class Failed(Exception):
    """An installer failed; with the end of what it said."""


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-600:]}")


def install(say: Callable[[str], None]) -> None:
    """Fetch what is missing and can be had. Raises Failed."""
    if find("smtp-source") and find("postfix"):
        say("Postfix is there")
    elif os.geteuid() == 0 and find("apt-get"):
        say("installing Postfix …")
        _run([str(ROOT / "scripts" / "install-test-packages")])
    else:
        say("Postfix can't be installed here: that needs root and apt-get")
    if AIOSMTPD_PYTHON.exists():
        say("aiosmtpd is there")
    else:
        say(f"installing {AIOSMTPD} …")
        _run([sys.executable, "-m", "venv", str(AIOSMTPD_PYTHON.parents[1])])
        _run([str(AIOSMTPD_PYTHON), "-m", "pip", "-q", "--disable-pip-version-check", "install", AIOSMTPD])
    if HARAKA.exists():
        say("Haraka is there")
    elif find("npm"):
        folder = TOOLS / "haraka"
        folder.mkdir(parents=True, exist_ok=True)
        say(f"installing {HARAKA_PACKAGE} …")
        _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder), HARAKA_PACKAGE])
    else:
        say("Haraka can't be installed here: that needs Node and npm")
