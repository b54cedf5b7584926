"""Handing on what was accepted: routes, queue, workers, retries, transports."""
