"""What Security says holds for the process that serves, and for the files it makes."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tests.support.server import Server, serving
from tests.support.sink import Sink

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

CONF = """
spoolbase = "{folder}/spool"
spool_reserve = 0
suspend_delivery = true
relay_domains = ( "example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } Listen "{folder}/in.sock" { } }
"""


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that another user may enter."""
    for one in (tmp_path, *tmp_path.parents[:3]):
        one.chmod(0o755)
    return tmp_path


def test_user_group_and_capabilities_are_taken_after_the_bind(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    conf = CONF + 'Security { user = nobody  group = nogroup  capabilities = "cap_net_bind_service+ep" }'
    conf = conf.replace('Listen "127.0.0.1:{port}"', 'Listen "127.0.0.1:{port}" { } Listen "127.0.0.1:587"')
    with serving(folder, conf) as server:
        status = _status(server.pid)
        assert status["Uid"] == [str(nobody.pw_uid)] * 4
        assert status["Gid"] == [str(nobody.pw_gid)] * 4
        assert status.get("Groups", []) == []
        assert int(status["CapEff"][0], 16) == 1 << 10, "cap_net_bind_service alone (linux/capability.h)"
        with server.client() as client:
            client.sendmail("a@example.net", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n")
        files = [one for one in server.spool.rglob("*") if one.is_file()]
        assert files
        assert {one.stat().st_uid for one in files} == {nobody.pw_uid}


def test_in_a_chroot_mail_is_taken_and_handed_on(folder: Path) -> None:
    """Whatever is imported when first needed must have been imported before: a chroot holds no Python."""
    jail = folder / "jail"
    jail.mkdir()
    with Sink() as sink:
        conf = CONF.replace("{folder}/spool", "/gsmtp-spool").replace("suspend_delivery = true", "")
        conf += f'Domain "example.com" {{ gateway = "{sink.gateway}" }} Security {{ user = nobody  chroot = "{jail}" }}'
        with serving(folder, conf) as server:
            with server.client() as client:
                client.sendmail("a@example.net", ["b@example.com"], b"Subject: x\r\n\r\nx\r\n")
                code, _ = client.docmd("MAIL FROM:<\x01>")
                assert code == 501, "what can't be shown in the log takes a codec of its own"
            (message,) = sink.wait_for(1)
            assert message.body.endswith(b"\r\nx\r\n")
            assert "Traceback" not in server.log()
    assert (jail / "gsmtp-spool").is_dir()
    assert not Path("/gsmtp-spool").exists(), "the spool's folder is made where it is used"


def test_without_security_the_process_stays_who_it_was(folder: Path) -> None:
    with serving(folder, CONF) as server:
        assert _status(server.pid)["Uid"] == ["0"] * 4


@pytest.mark.parametrize(
    ("security", "column", "says"),
    [
        ("user = nosuchuser", 10, "this machine has no user 'nosuchuser'"),
        ("user = nobody  group = nosuchgroup", 26, "this machine has no group 'nosuchgroup'"),
        ('supplemental_groups = ( "nosuchgroup" )', 25, "this machine has no group 'nosuchgroup'"),
    ],
)
def test_an_unknown_user_or_group_ends_the_start_with_its_line(
    folder: Path, security: str, column: int, says: str
) -> None:
    server = Server(folder, f"{CONF}Security {{\n  {security}\n}}\n")
    server.launch()
    assert server.wait() == 1
    assert f"{server.conf}:8:{column}: error: {says}\n" in server.log()
