"""gsmtp: an inbound ESMTP server configured like Momentum, scripted in Python.

This file imports nothing: `gsmtp/__main__.py` must be able to patch the standard library before anything else loads.
"""

__version__ = "0.1.0"
