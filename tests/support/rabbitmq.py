"""RabbitMQ nodes of our own on loopback: own names, ports, cookie, folders and epmd; never the system's service.

A node is one Erlang process that the test started and kills by its process id. Several nodes find each other by their
configuration (classic_config) and make a cluster; its quorum queues have their leader where they were declared.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest

from tests.support.certificates import Authority
from tests.support.peers import open_folder
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_BIN = Path("/usr/lib/rabbitmq/bin")
START_S = 60.0
CONFIGURATION = """\
listeners.tcp.default = 127.0.0.1:{port}
vm_memory_high_watermark.relative = 0.8
disk_free_limit.absolute = 50MB
log.console = false
log.file.level = warning
cluster_partition_handling = ignore
"""
Channel = Any


class Node:
    """One node.

    Args:
        cluster: that it belongs to.
        name: without the host.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = f"{name}@localhost"
        self.port = free_port()
        self.folder = cluster.folder / name
        self.folder.mkdir()
        self.settings = ""
        self.tls_port = 0
        self.authority = ""
        self._distribution_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, user: str = "guest", password: str = "guest", vhost: str = "%2F") -> str:
        """For clients."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/{vhost}"

    def use_tls(self) -> None:
        """Have it take TLS too, at `tls_port`, as ``localhost``; whose certificate `authority`, a file, has signed."""
        self.tls_port = free_port()
        authority = Authority("broker")
        self.authority = str(self.folder / "ca.pem")
        Path(self.authority).write_bytes(authority.certificate)
        authority.issue("localhost").write(self.folder / "certificate.pem", self.folder / "key.pem")
        self.settings += (
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self.authority}\n"
            f"ssl_options.certfile = {self.folder}/certificate.pem\n"
            f"ssl_options.keyfile = {self.folder}/key.pem\n"
        )

    def start(self) -> Node:
        """Start it; `wait_ready` waits until it answers."""
        (self.folder / "rabbitmq.conf").write_text(
            CONFIGURATION.format(port=self.port) + self.cluster.settings + self.settings
        )
        (self.folder / "enabled_plugins").write_text("[].\n")
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [str(_BIN / "rabbitmq-server")],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                start_new_session=True,
            )
        return self

    def environment(self) -> dict[str, str]:
        """Of the node and of what talks to it."""
        return {
            **self.cluster.environment(),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the Erlang process instead of waiting for it
        }

    def wait_ready(self) -> Node:
        """Wait until it takes connections."""
        wait_until(self._answers, f"{self.name} takes connections", START_S, every_s=0.1)
        return self

    def _answers(self) -> bool:
        assert self.is_running, (self.folder / "out").read_text()
        if not _is_listening(self.port):
            return False
        try:
            self.connect().close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def connect(self) -> pika.BlockingConnection:
        """A client of it."""
        parameters = pika.URLParameters(self.url())
        parameters.socket_timeout = parameters.stack_timeout = 5.0
        return pika.BlockingConnection(parameters)

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """A channel on a connection of its own."""
        connection = self.connect()
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)

    def freeze(self) -> None:
        """Let it do nothing any more, its connections open."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def control(self, *words: str) -> str:
        """What rabbitmqctl says; takes seconds."""
        done = subprocess.run(
            [str(_BIN / "rabbitmqctl"), "-n", self.name, "-q", *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout


class Cluster:
    """Nodes that know of each other.

    Args:
        folder: of all they keep.
        size: how many.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.settings = ""
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self.nodes = [Node(self, f"rabbit{number}") for number in range(1, size + 1)]
        if size > 1:
            self.settings = "cluster_formation.peer_discovery_backend = classic_config\n" + "".join(
                f"cluster_formation.classic_config.nodes.{number} = {node.name}\n"
                for number, node in enumerate(self.nodes, 1)
            )
        home = folder / "home"
        home.mkdir()
        cookie = home / ".erlang.cookie"
        cookie.write_text("GSMTPTESTCOOKIE")
        cookie.chmod(0o400)

    def environment(self) -> dict[str, str]:
        """What all of its processes share."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        """Start all, and wait until each takes connections."""
        self._epmd = subprocess.Popen(
            ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: _is_listening(self._epmd_port), "epmd answers", 20.0, every_s=0.02)
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def urls(self) -> list[str]:
        """Of all nodes."""
        return [node.url() for node in self.nodes]

    def wait_formed(self) -> None:
        """Wait until all nodes are one cluster."""
        script = 'io:format("~p", [length(rabbit_nodes:all_running())]).'
        wait_until(
            lambda: self.nodes[0].control("eval", script).startswith(str(len(self.nodes))), "one cluster", START_S
        )

    def stop(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(20)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def log_of(nodes: Sequence[Node]) -> str:
    """What the nodes logged, for messages of failed tests."""
    return "\n".join(path.read_text(errors="replace") for node in nodes for path in (node.folder / "log").glob("*.log"))


@contextmanager
def rabbitmq(size: int = 1, *, tls: bool = False) -> Iterator[Cluster]:
    """A running cluster; skips the test, naming the package, when RabbitMQ is not installed."""
    if not (_BIN / "rabbitmq-server").exists() or shutil.which("epmd") is None:
        pytest.skip("rabbitmq-server is not installed (Debian package rabbitmq-server)")
    with open_folder("rabbitmq") as folder:
        cluster = Cluster(folder, size)
        for node in cluster.nodes if tls else ():
            node.use_tls()
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
