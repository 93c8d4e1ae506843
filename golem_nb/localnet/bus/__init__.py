"""The service bus of the daemon: packets, FlexBuffers payloads and an asyncio client."""

from __future__ import annotations
