"""What Listen says about its socket is read back from the live socket."""

from __future__ import annotations

import socket
import stat
import struct
from pathlib import Path

import pytest

from gsmtp.core.errors import ConfigError, SpoolUnhealthy
from tests.support.inprocess import BASE, Client, running
from tests.support.ports import free_port


def _most_backlog(raw: socket.socket) -> int:
    """``tcpi_sacked`` of a listening socket is the backlog it was given (tcp(7), TCP_INFO)."""
    info = raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("=I", info, 28)[0])


def test_backlog_is_500_by_default_and_as_written_else(tmp_path: Path) -> None:
    conf = 'ESMTP_Listener { Listen "127.0.0.1:0" { } Listen "127.0.0.2:0" { listen_backlog = 77 } }'
    with running(tmp_path, conf) as server:
        assert [_most_backlog(one.socket) for one in server.listeners] == [500, 77]


def test_buffer_sizes_are_set_before_listen_and_inherited(tmp_path: Path) -> None:
    conf = """ESMTP_Listener {
      Listen "127.0.0.1:0" { TCP_Recv_Buffer_Size = 4096  TCP_Send_Buffer_Size = 8192 }
    }"""
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        (connection,) = server.supervisor._service.connections
        for raw in (server.listeners[0].socket, connection._socket):
            # Linux books twice what was asked for (socket(7))
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 4096
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 8192
        client.close()


def test_sizes_of_zero_leave_the_kernel_to_tune(tmp_path: Path) -> None:
    plain = socket.socket()
    with running(tmp_path, 'ESMTP_Listener { Listen "127.0.0.1:0" { tcp_recv_buffer_size = 0 } }') as server:
        for number in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            ours = server.listeners[0].socket.getsockopt(socket.SOL_SOCKET, number)
            assert ours == plain.getsockopt(socket.SOL_SOCKET, number)
    plain.close()


@pytest.mark.parametrize(("text", "expected"), [("true", 1), ("false", 0)])
def test_nagle_is_disabled_on_accepted_sockets(tmp_path: Path, text: str, expected: int) -> None:
    conf = f'ESMTP_Listener {{ Listen "127.0.0.1:0" {{ Disable_Nagle_Algorithm = {text} }} }}'
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        (connection,) = server.supervisor._service.connections
        assert bool(connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) == bool(expected)
        client.close()


def test_a_unix_socket_has_its_mode_and_serves(tmp_path: Path) -> None:
    path = tmp_path / "inject.sock"
    with running(tmp_path, f'ESMTP_Listener {{ Listen "{path}" {{ file_mode = 0620 }} }}') as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        client.close()
    assert not path.exists()


def test_a_unix_socket_is_0660_by_default(tmp_path: Path) -> None:
    path = tmp_path / "inject.sock"
    with running(tmp_path, f'ESMTP_Listener {{ Listen "{path}" {{ }} }}'):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_stale_unix_socket_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "inject.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    conf = f'ESMTP_Listener {{ Listen "{path}" {{ }} }}'
    with running(tmp_path, conf) as server:
        server.client().greet().close()
    path.write_text("not a socket")
    with pytest.raises(ConfigError, match="a file that is not a socket is in the way"), running(tmp_path, conf):
        pass
    assert path.read_text() == "not a socket"


@pytest.mark.parametrize(
    ("endpoint", "bound"),
    [
        (":0", "0.0.0.0"),
        ("*:0", "0.0.0.0"),
        ("127.0.0.1:0", "127.0.0.1"),
        ("[*]:0", "::"),
        ("[::1]:0", "::1"),
    ],
)
def test_addresses_bind_as_documented(tmp_path: Path, endpoint: str, bound: str) -> None:
    with running(tmp_path, f'ESMTP_Listener {{ Listen "{endpoint}" {{ }} }}') as server:
        (listener,) = server.listeners
        assert listener.socket.getsockname()[0] == bound
        server.client().greet().close()


def test_any_ipv4_and_any_ipv6_share_a_port(tmp_path: Path) -> None:
    free = socket.create_server(("0.0.0.0", 0))
    port = free.getsockname()[1]
    free.close()
    conf = f'ESMTP_Listener {{ Listen "*:{port}" {{ }} Listen "[*]:{port}" {{ }} }}'
    with running(tmp_path, conf) as server:
        assert [one.socket.getsockname()[1] for one in server.listeners] == [port, port]
        assert server.listeners[1].socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_socket_that_cannot_be_bound_ends_the_start_and_names_its_stanza(tmp_path: Path) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    conf = f'ESMTP_Listener {{\n  Listen "127.0.0.1:0" {{ }}\n  Listen "127.0.0.1:{port}" {{ }}\n}}'
    with pytest.raises(ConfigError) as raised, running(tmp_path, conf, base='spoolbase = "{spool}"\n'):
        pass
    text = str(raised.value)
    assert f"{tmp_path}/ecelerity.conf:4:3" in text
    assert f'Listen "127.0.0.1:{port}"' in text
    assert "Address already in use" in text
    taken.close()


def test_a_disabled_listen_is_not_opened(tmp_path: Path) -> None:
    conf = 'ESMTP_Listener { Listen "127.0.0.1:0" { } Listen "127.0.0.2:0" { Enable = "false" } }'
    with running(tmp_path, conf) as server:
        assert [one.stanza.name for one in server.listeners] == ["127.0.0.1:0"]


def test_a_reload_changes_the_options_of_a_socket_that_stays_and_closes_a_disabled_one(tmp_path: Path) -> None:
    conf = 'ESMTP_Listener { Listen "127.0.0.1:0" { listen_backlog = 77 } Listen "127.0.0.2:0" { } }'
    with running(tmp_path, conf) as server:
        stays, goes = server.listeners
        old_address = server.address(1)
        client = server.client().greet()
        text = server.path.read_text(encoding="utf-8")
        text = text.replace("listen_backlog = 77", "listen_backlog = 99  tcp_recv_buffer_size = 8192")
        server.path.write_text(text.replace('"127.0.0.2:0" { }', '"127.0.0.2:0" { enable = false }'), encoding="utf-8")
        server.supervisor.reload()
        assert server.listeners == [stays]
        assert _most_backlog(stays.socket) == 99
        assert stays.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 8192
        assert goes.closed
        with pytest.raises(ConnectionRefusedError):
            Client(old_address)
        assert client.transaction().startswith(b"250 ")
        client.close()


def test_a_start_that_fails_after_the_bind_leaves_no_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "inject.sock"
    with running(tmp_path, 'ESMTP_Listener { Listen "127.0.0.1:0" { } }'):
        conf = f'ESMTP_Listener {{ Listen "{path}" {{ }} }}'
        with pytest.raises(SpoolUnhealthy, match="is in use by process"), running(tmp_path, conf):
            pass
    assert not path.exists()


def test_one_address_and_all_addresses_share_a_port(tmp_path: Path) -> None:
    port = free_port()
    every = f'Listen "*:{port}" {{ banner_hostname = all.example.com }}'
    one = f'Listen "127.0.0.5:{port}" {{ banner_hostname = one.example.com }}'

    def banner(address: str) -> bytes:
        client = Client((address, port))
        word = client.reply().split()[1]
        client.close()
        return word

    with running(tmp_path, f"ESMTP_Listener {{ {every} {one} }}") as server:
        for _ in range(20):
            assert banner("127.0.0.5") == b"one.example.com"
            assert banner("127.0.0.6") == b"all.example.com"
        base = BASE.format(spool=tmp_path / "spool")
        for listens in (every, f"{one} {every}", one, f"{every} {one}"):
            server.reconfigure(f"{base} ESMTP_Listener {{ {listens} }}")
            assert banner("127.0.0.5") == (b"one.example.com" if one in listens else b"all.example.com")
            if every in listens:
                assert banner("127.0.0.6") == b"all.example.com"
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.7", port))
