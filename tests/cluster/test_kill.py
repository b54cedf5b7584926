"""A three-node RabbitMQ behind a server while mail flows: the queue's leader is killed, and later a follower.

Every message for which a client heard 250 has to be in the quorum queue, once or more. How often "more", and how long
publishing paused, is printed (``pytest -s``); what is asserted are the losses.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.flow import Flow, body_of
from tests.support.rabbitmq import Cluster, Node, log_of, rabbitmq
from tests.support.server import Server, serving
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.durability, pytest.mark.timeout(240)]
_ABOUT_MAIL = re.compile(r" (received|delivered|rejected) id=")
CONF = """
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
retry_interval = 1
drain_time = 5
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
amqp "mail" {
  domain = "example.com"
  url = ( URLS )
  exchange = "mail"
  mode = "MODE"
}
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes."""
    with rabbitmq(3) as nodes:
        nodes.wait_formed()
        yield nodes


def declare(node: Node, queue: str) -> None:
    """A quorum queue with its leader on the node, behind the exchange."""
    arguments = {"x-queue-type": "quorum", "x-queue-leader-locator": "client-local"}
    with node.channel() as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)
        channel.queue_bind(queue, "mail")


def connected_node(cluster: Cluster, server: Server) -> Node:
    """The node that the server is connected to."""
    port = re.findall(r"connected to 127\.0\.0\.1:(\d+)", server.log())[-1]
    return next(node for node in cluster.nodes if node.port == int(port))


def configuration(cluster: Cluster, mode: str) -> str:
    urls = " ".join(f'"{url}"' for url in cluster.urls())
    return CONF.replace("URLS", urls).replace("MODE", mode)


def leader_of(cluster: Cluster, queue: str) -> Node:
    """Where the leader of a queue is."""
    some = next(node for node in cluster.nodes if node.is_running)
    for line in some.control("list_queues", "name", "leader").splitlines():
        name, _, leader = line.partition("\t")
        if name == queue:
            return next(node for node in cluster.nodes if node.name == leader)
    raise AssertionError(f"no queue {queue}")


def is_whole(cluster: Cluster, queue: str) -> bool:
    """Whether the queue has three members that are there."""
    lines = cluster.nodes[0].control("list_queues", "name", "online").splitlines()
    return any(line.startswith(f"{queue}\t") and line.count("@") == len(cluster.nodes) for line in lines)


def drained(node: Node, queue: str) -> tuple[Counter[str], Counter[str], dict[str, int]]:
    """Takes all out of a queue: how often each ``gsmtp-id``, each ``message_id``, and the number in each text."""
    ids: Counter[str] = Counter()
    unique: Counter[str] = Counter()
    numbers: dict[str, int] = {}
    with node.channel() as channel:
        channel.basic_qos(prefetch_count=1000)
        last = 0
        for method, properties, body in channel.consume(queue, inactivity_timeout=1.0):
            if method is None:
                if last:
                    channel.basic_ack(last, multiple=True)
                    last = 0
                elif not channel.queue_declare(queue, passive=True).method.message_count:
                    break
                continue
            last = method.delivery_tag
            ids[properties.headers["gsmtp-id"]] += 1
            unique[properties.message_id] += 1
            found = re.search(rb"^Subject: number (\d+)\r$", body[:1000], re.MULTILINE)
            assert found is not None
            assert len(body) == properties.headers["size"]
            numbers[properties.headers["gsmtp-id"]] = int(found[1])
            if last % 500 == 0:
                channel.basic_ack(last, multiple=True)
                last = 0
        channel.cancel()
    return ids, unique, numbers


def flow_through_kills(cluster: Cluster, server: Server, queue: str, flow: Flow) -> list[str]:
    """Send; kill the leader at a quarter, have it come back, and kill a follower. Says what happened.

    The server is connected to the first of them, and mostly to the second.
    """
    told: list[str] = []
    began = time.monotonic()
    flow.start()
    flow.wait_accepted(flow.total // 4)
    leader = leader_of(cluster, queue)
    assert leader is connected_node(cluster, server)
    told.append(killed(leader, "leader", flow))
    leader.start()
    flow.hold_at(flow.total // 2)  # with two of three nodes down nothing could be confirmed
    leader.wait_ready()
    wait_until(lambda: is_whole(cluster, queue), "three members again", 60.0, every_s=0.2)
    flow.hold_at(flow.total)
    flow.wait_accepted(flow.total // 2 + 100)
    connected, leader = connected_node(cluster, server), leader_of(cluster, queue)
    follower = next(node for node in (connected, *cluster.nodes) if node is not leader)
    told.append(killed(follower, "follower", flow))
    flow.wait(120.0)
    told.append(f"{flow.total} accepted in {time.monotonic() - began:.1f} s, the restart of a node included")
    told.append(f"refused for now {dict(flow.refused)}, connections lost {flow.broken}")
    return told


def killed(victim: Node, what: str, flow: Flow) -> str:
    """Kill a node and wait until mail is accepted again."""
    before = time.monotonic()
    victim.kill()
    flow.wait_accepted(min(len(flow.ids) + 200, flow.total))
    pause_s = flow.longest_gap_s(before, time.monotonic())
    return f"{what} {victim.name} killed, longest pause {pause_s:.2f} s"


@pytest.mark.parametrize(
    ("mode", "total"), [("confirm", 20_000), pytest.param("spool", 20_000, marks=pytest.mark.cluster)]
)
def test_every_250_is_in_the_queue_though_its_leader_and_a_follower_are_killed(
    cluster: Cluster, tmp_path: Path, mode: str, total: int
) -> None:
    queue = f"mail-{mode}"
    with cluster.nodes[0].channel() as channel:
        channel.exchange_declare("mail", "fanout", durable=True)
    with serving(tmp_path, configuration(cluster, mode)) as server:
        wait_until(lambda: "connected to" in server.log(), "a connection to the broker")
        declare(connected_node(cluster, server), queue)
        flow = Flow(server.port, total, body_of(1_000))
        try:
            told = flow_through_kills(cluster, server, queue, flow)
        except AssertionError as error:
            own = [line for line in server.log().splitlines() if not _ABOUT_MAIL.search(line)]
            raise AssertionError("\n".join((str(error), *own[-50:], log_of(cluster.nodes)))) from error
        if mode == "spool":
            count = f"{total} published and more"
            wait_until(lambda: server.log().count(" delivered ") >= total, count, 60.0, every_s=0.5)
        ids, unique, numbers = drained(leader_of(cluster, queue), queue)
    lost = [number for number, message_id in flow.ids.items() if message_id not in ids]
    wrong = [number for number, message_id in flow.ids.items() if numbers.get(message_id, number) != number]
    told.append(f"lost {len(lost)}, published again {sum(unique.values()) - len(unique)} (same message_id)")
    told.append(f"in the queue without a 250: {len(set(ids) - set(flow.ids.values()))}")
    print(f"\n{mode}: " + "; ".join(told))
    assert not lost, log_of(cluster.nodes)
    assert not wrong
