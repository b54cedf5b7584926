"""The operator's console: control listeners, who may do what, and the commands."""
