"""Clusters of instances that a dead kernel has left running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from golem_nb.rest.ids import AgreementId
from golem_nb.session.clusters import ClusterHandle
from golem_nb.session.errors import SessionError
from golem_nb.session.networks import SessionNetwork

if TYPE_CHECKING:
    from golem_nb.services import Cluster, ServiceSerialization
    from golem_nb.session.core import Core

__all__ = ["AdoptedCluster", "left_running"]


def left_running(core: Core) -> list[str]:
    """Return the classes of services that dead kernels have left running at a session's daemon.

    Parameters
    ----------
    core
        Of the session.
    """
    left = core.ledger.left(core.node_id)
    return sorted({service.class_name for leftover in left for service in leftover.services})


class AdoptedCluster(ClusterHandle):
    """A cluster whose first instances are taken over as they run: what `Session.adopt` returns."""

    async def _launch(self) -> Cluster[Any]:
        core, name = self._core, self._service_class.__name__
        handles = await _adopt(core, name)
        if not handles:
            raise SessionError(
                f"No instance of {name} runs any more: session.recover() settles what was left"
            )
        self._wanted = len(handles)
        serialized = next((handle["network"] for handle in handles if handle["network"] is not None), None)
        network = None
        if serialized is not None:
            network = await core.golem.resume_network(serialized)
            self._network = SessionNetwork(core, network)
        payload = None if self._payload is None else await core.resolve(self._payload)
        cluster = await core.on_network(
            core.golem.resume_service(
                self._service_class, handles, payload, network=network, instance_params=self._params
            )
        )
        for handle in handles:
            core.meter.know(cluster._job.id, AgreementId(handle["agreement_id"]))
        self._finished += cluster.instances
        return cluster


async def _adopt(core: Core, class_name: str) -> list[ServiceSerialization]:
    """Make the services of a class that dead kernels have left running those of a session."""
    found: list[ServiceSerialization] = []
    for leftover in await asyncio.to_thread(core.ledger.left, core.node_id):
        if any(service.class_name == class_name for service in leftover.services):
            beside = found[0] if found else None
            found += await core.ledger.adopt(leftover, core.book, core.daemon.api_config, class_name, beside)
    await asyncio.to_thread(core.look_for_leftovers)
    return found
