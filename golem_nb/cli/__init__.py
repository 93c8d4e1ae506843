"""What the `golem-nb` command does, a module a command."""
