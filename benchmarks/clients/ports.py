"""Ports of the server that is asked through the proxies."""

HTTP, SOCKET = 8000, 7000
