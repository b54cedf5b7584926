"""gsmtp: an inbound ESMTP server configured like Momentum, scripted in Python.

This file imports next to nothing: `gsmtp/__main__.py` must be able to patch the standard library before anything else
loads. What it does is to put the compiled modules, where there are any, in front of their sources.
"""

from gsmtp import compiled

__version__ = "0.1.0"

compiled.use()
