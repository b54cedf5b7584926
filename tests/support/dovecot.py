"""A Dovecot of our own that takes mail by LMTP into Maildirs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import need_root, program
from tests.support.ports import free_port, wait_for_port

_CONF = """\
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:~/Maildir
lmtp_add_received_header = no
lmtp_save_to_detail_mailbox = no
auth_username_format = %Lu
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={base}/mail/%Lu allow_all_users=yes
}}
service lmtp {{
  process_limit = 20
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class Dovecot:
    """A running instance: `port` is its LMTP port, mail to ``u@d`` lands in ``base/mail/u@d/Maildir/new``."""

    def __init__(self, base: Path, port: int) -> None:
        self.base = base
        self.port = port

    def messages(self) -> list[bytes]:
        """All messages in all mailboxes, as stored."""
        return [file.read_bytes() for file in sorted(self.base.glob("mail/*/Maildir/new/*"))]

    def count(self) -> int:
        """How many messages there are."""
        return sum(1 for _ in self.base.glob("mail/*/Maildir/new/*"))

    def log(self) -> str:
        """Its log so far."""
        file = self.base / "log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


@contextmanager
def dovecot(base: Path) -> Iterator[Dovecot]:
    """Run a Dovecot under `base`, an empty folder that its users may enter (`peers.open_folder`)."""
    need_root("Dovecot switches to users of its own")
    path = program("dovecot", "dovecot-core")
    program("lmtp", "dovecot-lmtpd")
    port = free_port()
    (base / "mail").mkdir()
    subprocess.run(["chown", "mail:mail", str(base / "mail")], check=True)
    conf = base / "dovecot.conf"
    conf.write_text(_CONF.format(base=base, port=port))
    server = Dovecot(base, port)
    process = subprocess.Popen([path, "-c", str(conf), "-F"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
