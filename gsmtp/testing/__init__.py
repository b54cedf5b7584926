"""Testing policy without a server: a session is played through the engine, with everything but sockets and a disk.

    from gsmtp.testing import PolicyServer, play

What it is made of is what the server runs: the SMTP machine, the checks, the hooks, the phases; the spool is one in
memory, delays are noted instead of waited for. How to use it: docs/policy.md. `inbound_mail` makes a message for a
handler of mail: docs/transports.md.
"""

from gsmtp.testing.client import PolicyClient
from gsmtp.testing.dialogue import play
from gsmtp.testing.handlers import inbound_mail
from gsmtp.testing.server import AcceptedMessage, PolicyServer

__all__ = ["PolicyServer", "PolicyClient", "AcceptedMessage", "inbound_mail", "play"]
