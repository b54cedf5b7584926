"""How many messages a second a server hands to a RabbitMQ cluster of its own, on loopback: published or confirmed.

Server, nodes and client share the machine; what is measured is all of them together.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.cluster.flow import Flow, body_of
from tests.support.rabbitmq import rabbitmq
from tests.support.server import serving
from tests.support.waiting import wait_until

CONF = """
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
amqp "mail" { domain = "example.com" url = ( URLS ) routing_key = "mail" mode = "MODE" }
"""


def main() -> None:
    """Run once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=("confirm", "spool"), default="confirm")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a message")
    parser.add_argument("--sessions", type=int, default=20)
    asked = parser.parse_args()
    with rabbitmq(asked.nodes) as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.wait_formed()
        with cluster.nodes[0].channel() as channel:
            channel.queue_declare("mail", durable=True, arguments={"x-queue-type": "quorum"})
        urls = " ".join(f'"{url}"' for url in cluster.urls())
        with serving(Path(folder), CONF.replace("URLS", urls).replace("MODE", asked.mode)) as server:
            wait_until(lambda: "connected to" in server.log(), "a connection to the broker")
            flow = Flow(server.port, asked.messages, body_of(asked.size), asked.sessions)
            began, cpu = time.monotonic(), server.cpu_seconds()
            flow.start()
            flow.wait(600.0)
            accepted_s = time.monotonic() - began
            wait_until(lambda: server.log().count(" delivered ") >= asked.messages, "all published", 600.0, every_s=0.2)
            published_s = time.monotonic() - began
            cpu = server.cpu_seconds() - cpu
    print(
        f"{asked.mode}, {asked.nodes} nodes, {asked.sessions} sessions, {asked.size} bytes: "
        f"{asked.messages / accepted_s:.0f}/s accepted, {asked.messages / published_s:.0f}/s published, "
        f"{cpu / asked.messages * 1e6:.0f} us of the server's processor time a message, refused {dict(flow.refused)}"
    )


if __name__ == "__main__":
    main()
