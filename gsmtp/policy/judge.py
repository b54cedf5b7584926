"""What a hook's verdicts mean in a phase: one Decision, or nothing.

Source: reference/policy-and-context.md section 1 (which phase may say what), 3.1 and 6.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gsmtp.core.reply import Reply
from gsmtp.policy.decision import Decision, Phase
from gsmtp.policy.verdict import Accept, Discard, Disconnect, Reject, Tarpit, TempFail, Verdict

log = logging.getLogger("gsmtp.policy")

_NOTHING_TO_REFUSE = frozenset((Phase.RCPT_LIST, Phase.SET_BINDING, Phase.CLOSE))
_MAY_DISCARD = frozenset((Phase.RCPT, Phase.DATA, Phase.DATA_SPOOL, Phase.EACH_RCPT, Phase.FINAL))
_VERDICTS = (Accept, Reject, TempFail, Disconnect, Discard, Tarpit)
_LONGEST_LINE = 512
"""Octets of a reply line with its CR LF (RFC 5321 section 4.5.3.1.5)."""


def decide(name: str, phase: Phase, noted: Sequence[Verdict], returned: object) -> Decision | None:
    """The decision that a call's verdicts make; None when there is none. What a phase doesn't know is logged.

    Args:
        name: of the hook, for the log.
        phase: in which it was called.
        noted: verdicts by `Ctx` methods, in their order.
        returned: what the hook returned.
    """
    verdicts = list(noted)
    if isinstance(returned, _VERDICTS):
        if not any(returned is one for one in noted):
            verdicts.append(returned)
    elif returned is not None:
        log.error("hook %s returned %.100r in phase %s, which is no verdict: ignored", name, returned, phase.value)
        returned = None
    verdicts = [one for one in verdicts if _is_known(name, phase, one)]
    if not verdicts:
        return None
    delay_s = sum(one.seconds for one in verdicts if isinstance(one, Tarpit))
    first = next((one for one in verdicts if not isinstance(one, Tarpit)), None)
    ends = any(isinstance(one, Accept) for one in verdicts)
    ends = ends or (returned is not None and not isinstance(returned, Tarpit) and returned in verdicts)
    if first is None or isinstance(first, Accept):
        return Decision(None, check=name, delay_s=delay_s, goes_on=not ends)
    if isinstance(first, Discard):
        code, _, text = first.reason.partition(" ")
        return Decision(make_reply(int(code), text), "discarded", name, delay_s, is_discard=True, goes_on=not ends)
    reply = make_reply(first.code, first.text)
    if isinstance(first, Disconnect):
        reply = reply.closing()
    return Decision(reply, first.reason, name, delay_s, goes_on=not ends)


def _is_known(name: str, phase: Phase, verdict: Verdict) -> bool:
    if isinstance(verdict, Accept):
        return True
    if phase in _NOTHING_TO_REFUSE:
        log.error("hook %s says %r in phase %s, where there is nothing to refuse: ignored", name, verdict, phase.value)
        return False
    if isinstance(verdict, Discard) and phase not in _MAY_DISCARD:
        log.error("hook %s says %r in phase %s, where there is nothing to discard: ignored", name, verdict, phase.value)
        return False
    return True


def make_reply(code: int, text: str) -> Reply:
    r"""A reply of one line or several; the enhanced code of the first goes onto all of them. 421 closes.

    >>> make_reply(550, "5.7.1 no\n5.7.1 never").lines
    ('no', 'never')
    """
    lines = text.strip("\n").split("\n")
    first, _, rest = lines[0].partition(" ")
    parts = first.split(".")
    enhanced = ""
    if rest and len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        enhanced = first if first[0] == str(code)[0] else ""
        lines = [line.removeprefix(f"{first} ") for line in lines]
    room = _LONGEST_LINE - len(f"{code} \r\n") - (len(enhanced) + 1 if enhanced else 0)
    return Reply(code, enhanced, tuple(_cut(line, room) for line in lines), code == 421)


def _cut(line: str, room: int) -> str:
    data = line.encode("utf-8", "surrogateescape")
    if len(data) <= room:
        return line
    return data[:room].decode("utf-8", "ignore")
