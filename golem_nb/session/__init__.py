"""The notebook's face of golem_nb: a session whose engine runs in a thread of its own."""

from __future__ import annotations

from golem_nb.session.batch import Batch
from golem_nb.session.bill import Bill
from golem_nb.session.clusters import ClusterHandle
from golem_nb.session.estimate import Estimate
from golem_nb.session.handle import Handle, Progress
from golem_nb.session.item import Item
from golem_nb.session.nested import allow_asyncio_run
from golem_nb.session.networks import SessionNetwork
from golem_nb.session.proxies import ClusterProxy
from golem_nb.session.session import Session
from golem_nb.session.tasks import TasksJob

__all__ = [
    "Batch",
    "Bill",
    "ClusterHandle",
    "ClusterProxy",
    "Estimate",
    "Handle",
    "Item",
    "Progress",
    "Session",
    "SessionNetwork",
    "TasksJob",
    "allow_asyncio_run",
]
