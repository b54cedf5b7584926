"""The server side of SMTP as a machine without I/O: bytes in, events out, replies in, bytes out (RFC 5321)."""
