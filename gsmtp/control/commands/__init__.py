"""One file a group of commands, registered with ``@command("show inbound", …)``; a leading underscore hides one."""
