"""A message on its way to a broker: what a publisher keeps of it until its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gsmtp.delivery.amqp.message import BrokerMessage

Done = Callable[[str], object]


class Pending:
    """A message that has no confirm yet.

    Args:
        message: what is published.
        done: gets the reply; None when it has.
        deadline: of the monotonic clock.
        is_patient: whether it waits for a broker that can't be reached just now.

    Attributes:
        returned: why the broker gave it back, "" when it didn't.
    """

    __slots__ = ("deadline", "done", "is_patient", "message", "returned")

    def __init__(self, message: BrokerMessage, done: Done, deadline: float, is_patient: bool) -> None:
        self.message = message
        self.done: Done | None = done
        self.deadline = deadline
        self.is_patient = is_patient
        self.returned = ""


def tags_up_to(tag: int, on_the_way: Iterable[int]) -> list[int]:
    """The delivery tags that a confirm for many means.

    Args:
        tag: the last one; 0 for all there are (AMQP 0-9-1, basic.ack).
        on_the_way: tags in their order.
    """
    tags: list[int] = []
    for one in on_the_way:
        if tag and one > tag:
            break
        tags.append(one)
    return tags
