"""Builds everything from a configuration, starts, reloads and stops it."""
