"""SASL mechanisms as machines without I/O: responses in, challenges and needs out (RFC 4422)."""
