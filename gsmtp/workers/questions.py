"""What a worker answers to its parent: functions by kind. docs/workers.md lists them.

Each gets the running server (`Operations`: sessions, spool, delivery, pools) and the question, runs in a green thread
of its own, and returns JSON or raises GsmtpError. ``start``, ``stop``, ``reload`` and ``reopen`` are the worker's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict

import gevent

from gsmtp.control import across, statistics, trace_workers
from gsmtp.control.operations import Operations
from gsmtp.core.errors import GsmtpError
from gsmtp.runtime.channel import Json, Question

Answerer = Callable[[Operations, Question], Json]
QUESTIONS: dict[str, Answerer] = {}


def question(kind: str) -> Callable[[Answerer], Answerer]:
    """Register a function for a kind of question."""

    def register(function: Answerer) -> Answerer:
        assert kind not in QUESTIONS, kind
        QUESTIONS[kind] = function
        return function

    return register


@question("counters")
def counters(operations: Operations, _question: Question) -> Json:
    """What has been counted since this process began, and what is going on: numbers that can be added up."""
    service, delivery = operations.service, operations.delivery
    return {
        "pid": os.getpid(),
        "sessions": len(service.connections),
        "service": asdict(service.totals),
        "delivery": asdict(delivery.stats()),
        "spool": asdict(operations.spool.counters),
    }


@question(across.QUESTION)
def command(operations: Operations, asked: Question) -> Json:
    """A command of the console: this worker's part of it goes onto the descriptor that came along."""
    if len(asked.fds) != 1:
        raise GsmtpError("one descriptor is expected")
    gevent.spawn(across.answer, operations, asked.body, asked.fds[0])


@question(trace_workers.QUESTION)
def traces(operations: Operations, asked: Question) -> Json:
    """Which traces of the console are written."""
    trace_workers.follow(operations, asked.body)


@question(statistics.QUESTION)
def counted(operations: Operations, _question: Question) -> Json:
    """What `summary` counts, since its last reset."""
    return statistics.own(operations)
