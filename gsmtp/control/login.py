"""A login on the console's wire: the mechanisms and stores of SMTP's AUTH, in answers of the console's protocol.

``login MECHANISM [initial response]``; the server asks by ``MORE base64``, the client answers with a base64 line, ``*``
gives up. Source: reference/console-and-logs.md section 1; RFC 4422.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import gevent.event

from gsmtp.auth.edit import CONSOLE_REALM
from gsmtp.sasl.mechanism import Challenge, Mechanism, Outcome, Setting, load_mechanisms
from gsmtp.sasl.need import Answer, Need, Status
from gsmtp.sasl.scram import decode
from gsmtp.smtp.auth_options import AUTH_PARAMETERS

if TYPE_CHECKING:
    from gsmtp.auth.authenticator import Authenticator
    from gsmtp.config.view import View

SERVICE: Final = "gsmtp"
"""The name of the service in DIGEST-MD5's digest-uri."""

_BEST_FIRST: Final = ("SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN")

AskClient = Callable[[bytes], bytes]
"""Sends a challenge; the client's response. Raises ValueError when it gives up or is no base64."""


def usable(view: View) -> list[Mechanism]:
    """The mechanisms that have a store, the best first."""
    known = load_mechanisms()
    found = [
        one
        for one in known
        if one.option and not one.needs_binding and not one.needs_certificate and parameters_of(one, view)
    ]
    return sorted(found, key=lambda one: _BEST_FIRST.index(one.name) if one.name in _BEST_FIRST else len(_BEST_FIRST))


def parameters_of(mechanism: Mechanism, view: View) -> dict[str, str]:
    """Of a mechanism, keys in lower case."""
    option = AUTH_PARAMETERS.get(mechanism.option)
    return {} if option is None else {key.lower(): text for key, text in view[option].items()}


def log_in(
    authenticator: Authenticator, mechanism: Mechanism, view: View, hostname: str, initial: str, ask: AskClient
) -> Outcome:
    """One exchange. Blocks the green thread.

    Args:
        authenticator: asks the stores.
        mechanism: that the client chose.
        view: with its parameters.
        hostname: of the server.
        initial: the initial response in base64, ``=`` for an empty one, "" for none.
        ask: puts a challenge to the client.
    """
    parameters = parameters_of(mechanism, view)
    offered = frozenset(one.name for one in usable(view))
    setting = Setting(hostname, parameters.get("realm") or CONSOLE_REALM, SERVICE, offered=offered)
    run = mechanism.run(setting)
    given: bytes | Answer | None = None
    try:
        if initial:
            if not mechanism.is_client_first:
                return Outcome(Status.FAIL, reason="the mechanism takes no initial response")
            given = b"" if initial == "=" else decode(initial.encode())
        step = next(run)
        while True:
            if isinstance(step, Challenge):
                value: bytes | Answer = given if given is not None else ask(step.data)
                given = None
            else:
                value = _look_up(authenticator, parameters, mechanism.name, step)
            step = run.send(value)
    except StopIteration as stop:
        outcome: Outcome = stop.value
        return outcome
    except ValueError as error:
        return Outcome(Status.FAIL, reason=str(error))
    finally:
        run.close()


def _look_up(authenticator: Authenticator, parameters: dict[str, str], mechanism: str, need: Need) -> Answer:
    waiting: gevent.event.AsyncResult[Answer] = gevent.event.AsyncResult()
    answer = authenticator.ask(parameters, mechanism, need, waiting.set, CONSOLE_REALM)
    if answer is None:
        answer = waiting.get()
        assert answer is not None
    return answer


def encoded(data: bytes) -> str:
    """A challenge as it is sent."""
    return base64.b64encode(data).decode()


def response(line: str) -> bytes:
    """A client's response. Raises ValueError when it gives up or sends no base64."""
    if line == "*":
        raise ValueError("the client gave up")
    return decode(line.encode("utf-8", "replace"))
