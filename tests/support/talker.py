"""A line-wise SMTP client as a program: a job as JSON on standard input, the replies as JSON on standard output.

Runs inside other network name spaces (`tests/support/netspace.py`), so it uses the standard library alone. The job:

    target   [host, port] or the path of a Unix socket
    lines    commands in order; after ``DATA`` the next item is the message text, its final dot included by us
    source   address to come from
    tls      whether TLS begins with the first byte; ``STARTTLS`` begins it in any case
    cert     PEM file with the client's certificate and key
    banner   false: nothing is read before the first line
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from typing import Any


def _context(job: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if job.get("cert"):
        context.load_cert_chain(job["cert"])
    return context


def _connect(job: dict[str, Any]) -> socket.socket:
    target = job["target"]
    if isinstance(target, str):
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(10)
        found.connect(target)
        return found
    source = (job["source"], 0) if job.get("source") else None
    return socket.create_connection((target[0], target[1]), 10, source)


def _reply(file: Any) -> str:
    lines = []
    while line := file.readline():
        lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        if line[3:4] != b"-":
            break
    return "\n".join(lines)


def main() -> None:
    """Do one job."""
    job = json.load(sys.stdin)
    stream = _connect(job)
    if job.get("tls"):
        stream = _context(job).wrap_socket(stream)
    file = stream.makefile("rb")
    replies = [_reply(file)] if job.get("banner", True) else []
    is_text = False
    for line in job["lines"]:
        if is_text:
            text = line.replace("\n", "\r\n")
            stream.sendall(text.encode() + b"\r\n.\r\n")
            is_text = False
        else:
            stream.sendall(line.encode() + b"\r\n")
        replies.append(_reply(file))
        is_text = line.upper() == "DATA" and replies[-1].startswith("354")
        if line.upper() == "STARTTLS" and replies[-1].startswith("220"):
            stream = _context(job).wrap_socket(stream)
            file = stream.makefile("rb")
    json.dump(replies, sys.stdout)


if __name__ == "__main__":
    main()
