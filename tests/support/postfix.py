"""A Postfix instance of our own: own configuration, queue and log, nothing of the system's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import need_root, program
from tests.support.ports import free_port, wait_for_port

_MAIN = """\
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/lib
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/log/maillog
maillog_file_prefixes = {base}/log
myhostname = postfix.example.net
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_bind_address = 127.0.0.1
alias_maps =
alias_database =
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtputf8_enable = yes
smtputf8_autodetect_classes = all
local_header_rewrite_clients =
smtp_line_length_limit = 0
smtp_tls_security_level = none
message_size_limit = 104857600
queue_run_delay = 5s
minimal_backoff_time = 5s
maximal_backoff_time = 10s
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
bounce_queue_lifetime = 1d
{extra}
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - {processes} smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - {processes} smtp
relay     unix  - - n - {processes} smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """A running instance.

    Args:
        base: its folder; `port`: where its smtpd listens on the loopback address.
    """

    def __init__(self, base: Path, port: int) -> None:
        self.base = base
        self.port = port

    def _command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [words[0], "-c", str(self.base / "etc"), *words[1:]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self) -> None:
        """Start it and wait until it greets."""
        result = self._command(program("postfix", "postfix"), "start")
        assert result.returncode == 0, f"postfix start: {result.stderr}\n{self.log()}"
        wait_for_port(self.port)

    def stop(self) -> None:
        """Stop all its processes."""
        self._command(program("postfix", "postfix"), "abort")

    def log(self) -> str:
        """Its log so far."""
        file = self.base / "log" / "maillog"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def queued(self) -> int:
        """How many messages are in its queues."""
        names = ("maildrop", "incoming", "active", "deferred", "hold")
        return sum(1 for name in names for file in (self.base / "spool" / name).rglob("*") if file.is_file())

    def flush(self) -> None:
        """Try again at once what waits."""
        self._command(program("postqueue", "postfix"), "-f")

    def drop_all(self) -> None:
        """Delete every message from its queues."""
        self._command(program("postsuper", "postfix"), "-d", "ALL")

    def master_pid(self) -> int:
        """The process id of its master."""
        return int((self.base / "spool" / "pid" / "master.pid").read_text())


def _each_once(text: str) -> str:
    """A main.cf with the last entry of each name alone.

    All processes of Postfix warn of a repeated one when they start, its postlogd too: into its own socket, which blocks
    it, and with it all the others, for ever when ten lines wait there already.
    """
    entries: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith((" ", "\t")):
            name = line.partition("=")[0].strip()
            entries[name] = ""
        entries[name] += f"{line}\n"
    return "".join(entries.values())


@contextmanager
def postfix(
    base: Path, *, relayhost_port: int | None = None, extra: str = "", processes: int = 50
) -> Iterator[Postfix]:
    """Run a Postfix that relays everything to ``127.0.0.1:relayhost_port``, or keeps it when that is None.

    Args:
        base: an empty folder that the user postfix may enter (`peers.open_folder`).
        extra: more lines of main.cf.
        processes: smtpd and smtp processes at the most.
    """
    need_root("Postfix switches to users of its own")
    program("postfix", "postfix")
    port = free_port()
    transport = (
        f"default_transport = smtp:[127.0.0.1]:{relayhost_port}" if relayhost_port else "default_transport = smtp"
    )
    for name in ("etc", "spool", "lib", "log"):
        (base / name).mkdir()
    subprocess.run(["chown", "postfix", str(base / "lib")], check=True)
    (base / "etc" / "main.cf").write_text(_each_once(_MAIN.format(base=base, extra=f"{transport}\n{extra}")))
    (base / "etc" / "master.cf").write_text(_MASTER.format(port=port, processes=processes))
    server = Postfix(base, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
