"""Datasource stanzas: named, cached queries over SQLite, PostgreSQL and what else a driver file brings."""
