"""Services: programs that go on running on providers, and clusters of them."""

from __future__ import annotations

from golem_nb.services.cluster import Cluster
from golem_nb.services.errors import ServiceLostError, ServiceResumeError
from golem_nb.services.runner import ServiceRunner
from golem_nb.services.service import Service, ServiceSerialization, ServiceType
from golem_nb.services.signal import ServiceSignal
from golem_nb.services.state import ServiceState

__all__ = [
    "Cluster",
    "Service",
    "ServiceLostError",
    "ServiceResumeError",
    "ServiceRunner",
    "ServiceSerialization",
    "ServiceSignal",
    "ServiceState",
    "ServiceType",
]
