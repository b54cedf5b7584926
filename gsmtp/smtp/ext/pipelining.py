"""PIPELINING: several commands in one go (RFC 2920).

The machine answers in order whatever way the commands came, so saying so is all there is to do.
"""

from __future__ import annotations

from gsmtp.smtp.extension import Extension, register

PIPELINING = register(Extension("PIPELINING", is_always_offered=True), __name__)
