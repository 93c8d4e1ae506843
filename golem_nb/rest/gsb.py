"""Services on the daemon's bus, which other nodes can call: how files get to providers and back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from golem_nb.rest import fields
from golem_nb.rest.client import RestClient, acknowledge_at_once
from golem_nb.rest.errors import ConnectionDroppedError, MalformedAnswerError, NotFoundError
from golem_nb.rest.flexbuffers import MalformedBuffer, decode, encode

__all__ = ["MAX_REPLY", "Gsb", "GsbRequest", "GsbService"]

logger = logging.getLogger(__name__)

_PROTOCOL = "gsb+flexbuffers"

MAX_REPLY = 65_536
"""Bytes of a reply, envelope included: of a larger message the daemon (yagna 0.17.6) closes the channel."""


@attrs.frozen(eq=False)
class GsbRequest:
    """A call of a service."""

    id: str
    component: str
    """Which of the service's functions."""
    payload: Any
    """Its argument; runs of bytes are `bytes`."""


def _services_id(value: Any) -> str:
    return fields.identifier(fields.as_mapping(value).get("servicesId"))


class Gsb:
    """The service bus, over a websocket.

    Parameters
    ----------
    client : RestClient
        From `Configuration.gsb`.
    """

    def __init__(self, client: RestClient) -> None:
        self._client = client

    @asynccontextmanager
    async def bind(self, address: str, components: Sequence[str]) -> AsyncIterator[GsbService]:
        """Offer a service; it ends with the block.

        Parameters
        ----------
        address : str
            Where on the bus; what begins with ``/public/`` can be called by other nodes.
        components : sequence of str
            The service's functions, such as ``GetMetadata`` and ``GetChunk``.

        Raises
        ------
        BadRequestError
            There is a service at this address already.

        Examples
        --------
        >>> async def serve(gsb):
        ...     async with gsb.bind("/public/gftp/abc", ["GetMetadata"]) as service:
        ...         async for request in service.requests():
        ...             await service.reply(request, {"fileSize": 10})
        """
        services_id = await self.create_service(address, components)
        try:
            websocket = await self._client.websocket(
                self._path(services_id), f"Opening the channel of service {address}", protocols=(_PROTOCOL,)
            )
            try:
                yield GsbService(address, websocket)
            finally:
                await websocket.close()
        finally:
            await self.delete_service(services_id)

    @staticmethod
    def _path(services_id: str) -> str:
        return f"/services/{fields.segment(services_id)}"

    async def create_service(self, address: str, components: Sequence[str]) -> str:
        """Register a service and give its number; `bind` does this and what follows.

        Parameters
        ----------
        address
            Its address on the bus.
        components
            The messages that it answers.
        """
        return await self._client.post(
            "/services",
            f"Offering the service {address}",
            _services_id,
            {"listen": {"on": address, "components": list(components)}},
        )

    async def delete_service(self, services_id: str) -> None:
        """End a service; one that is gone already is fine.

        Parameters
        ----------
        services_id
            Its number.
        """
        try:
            await self._client.delete(self._path(services_id), f"Ending the service {services_id}")
        except NotFoundError:
            return


class GsbService:
    """A service that is being offered; comes from `Gsb.bind`."""

    def __init__(self, address: str, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.address = address
        self._websocket = websocket

    async def requests(self) -> AsyncGenerator[GsbRequest, None]:
        """Give the calls as they come; each wants a `reply` or `reply_error`, in any order.

        Raises
        ------
        ConnectionDroppedError
            The daemon closed the channel.
        MalformedAnswerError
            What came is no call.
        """
        # the daemon's first message would wait 40 ms for it; later ones find it in our answers
        acknowledge_at_once(self._websocket.get_extra_info("socket"))
        while True:
            message = await self._websocket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                yield self._request(message.data)
            elif message.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionDroppedError(
                    f"Serving {self.address}",
                    f"the daemon closed the channel (code {self._websocket.close_code})",
                    remedy="See whether the daemon still runs.",
                )

    def _request(self, data: bytes) -> GsbRequest:
        try:
            source = fields.as_mapping(decode(data))
            return GsbRequest(
                fields.text(source, "id"), fields.text(source, "component"), source.get("payload")
            )
        except (MalformedBuffer, fields.MalformedField) as error:
            problem = str(error)
        raise MalformedAnswerError(f"Serving {self.address}", f"a call makes no sense: {problem}")

    async def reply(self, request: GsbRequest, payload: Mapping[str, Any] | None) -> None:
        """Answer a call; one that asks for too much gets an error.

        Parameters
        ----------
        request : GsbRequest
            The call.
        payload : mapping, optional
            The result; runs of bytes as `bytes` or `memoryview`, altogether a little less than `MAX_REPLY`.

        Raises
        ------
        ConnectionDroppedError
            The daemon closed the channel.
        """
        message = encode({"id": request.id, "payload": payload})
        if len(message) > MAX_REPLY:
            logger.warning(
                "%s of %s asks for too much: %d bytes", request.component, self.address, len(message)
            )
            await self.reply_error(
                request, f"an answer has {MAX_REPLY} bytes at most: ask for less at a time"
            )
            return
        await self._send(message)

    async def reply_error(self, request: GsbRequest, message: str) -> None:
        """Answer a call with an error.

        Raises
        ------
        ConnectionDroppedError
            The daemon closed the channel.
        """
        await self._send(encode({"id": request.id, "error": {"ReadError": message}}))

    async def _send(self, message: bytes) -> None:
        try:
            await self._websocket.send_bytes(message)
            return
        except (aiohttp.ClientError, OSError) as error:
            problem = type(error).__name__
        raise ConnectionDroppedError(
            f"Serving {self.address}", f"the channel to the daemon is closed ({problem})"
        )
