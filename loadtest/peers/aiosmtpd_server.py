"""aiosmtpd as the comparison runs it: keeps nothing, or writes a Maildir with fsync. Not part of the product.

Usage: ``python aiosmtpd_server.py PORT [--maildir DIR] [--certificate PEM]``, by a Python that has aiosmtpd.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import ssl
from typing import Any

from aiosmtpd.smtp import SMTP  # type: ignore[import-not-found,unused-ignore]

SERIAL = itertools.count()


def write(folder: str, content: bytes) -> None:
    """One message into a Maildir, durable: file and directory are synced (blocks)."""
    name = f"{os.getpid()}.{next(SERIAL)}"
    temporary, final = f"{folder}/tmp/{name}", f"{folder}/new/{name}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, final)
    directory = os.open(f"{folder}/new", os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Handler:
    """Takes everything.

    Args:
        folder: of the Maildir, "" to keep nothing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """The end of a message."""
        if self._folder:
            await asyncio.to_thread(write, self._folder, envelope.content)
        return "250 OK"


async def serve(options: argparse.Namespace) -> None:
    """Listen until killed."""
    tls = None
    if options.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate)
    handler = Handler(options.maildir)
    if options.maildir:
        for name in ("tmp", "new", "cur"):
            os.makedirs(f"{options.maildir}/{name}", exist_ok=True)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, hostname="bench.example.com", tls_context=tls), "127.0.0.1", options.port, backlog=5000
    )
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--maildir", default="")
    parser.add_argument("--certificate", default="")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
