"""The programs that are measured; each prints one line of JSON."""
