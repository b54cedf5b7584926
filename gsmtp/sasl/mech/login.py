"""LOGIN: user name and password by two prompts, as old clients want it (draft-murchison-sasl-login)."""

from __future__ import annotations

from gsmtp.sasl.mechanism import Exchange, Outcome, Setting, ask, challenge, mechanism
from gsmtp.sasl.need import CheckPassword, Status
from gsmtp.sasl.prep import user_name


@mechanism("LOGIN", option="AuthLoginParameters", is_cleartext=True)
def login(setting: Setting) -> Exchange:
    """Prompt for both; an initial response is the user name (reference/esmtp-listener.md section 11.4)."""
    name = yield from challenge(b"Username:")
    password = yield from challenge(b"Password:")
    try:
        user = user_name(name)
    except ValueError as error:
        return Outcome(Status.FAIL, reason=f"user name: {error}")
    answer = yield from ask(CheckPassword(user, password, "LOGIN"))
    return Outcome(answer.status, user, answer.reason)
