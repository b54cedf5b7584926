"""Words that every layer shares: replies, addresses, envelopes, errors, registries, ids. No I/O, no gevent."""
