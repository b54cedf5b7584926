"""A mechanism to copy: NAME.py, with what its option is called. A leading underscore keeps this one from loading."""

from __future__ import annotations

from gsmtp.sasl.mechanism import Exchange, Outcome, Setting, ask, challenge, mechanism
from gsmtp.sasl.need import CheckPassword, Status
from gsmtp.sasl.prep import user_name


@mechanism("X-SKELETON", option="AuthPlainParameters", is_cleartext=True)
def skeleton(setting: Setting) -> Exchange:
    """Ask for ``user password`` in one line. Options for parameters are declared in `gsmtp.smtp.auth_options`."""
    response = yield from challenge(b"")
    name, _, password = response.partition(b" ")
    try:
        user = user_name(name)
    except ValueError as error:
        return Outcome(Status.FAIL, reason=f"user name: {error}")
    answer = yield from ask(CheckPassword(user, password, "X-SKELETON"))
    return Outcome(answer.status, user, answer.reason)
