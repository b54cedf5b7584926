"""From sockets to sessions: listeners, connections, limits."""
