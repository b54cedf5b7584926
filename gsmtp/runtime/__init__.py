"""Where gevent and the operating system are met: pools, deadlines, sockets, native threads, signals."""
