"""Telling what happens: log lines for people, JSON lines for programs."""
