"""Who may send what: phases, the chain of hooks and the built-in checks. Decisions are values."""
