"""The `gsmtp` command and its subcommands, one file each."""
