"""Several processes that serve the same sockets: the parent, its workers, and what they tell each other."""
