"""The command `signs` on a device; each subcommand imports what it needs when it runs."""
