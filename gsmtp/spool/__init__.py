"""Acceptance to disk: 250 means that the spool's commit returned."""
