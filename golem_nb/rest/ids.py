"""Names for the daemon's identifiers, so that a type checker sees when two are mixed up."""

from __future__ import annotations

from typing import NewType

__all__ = [
    "ActivityId",
    "AgreementId",
    "AllocationId",
    "BatchId",
    "DebitNoteId",
    "InvoiceId",
    "NetworkId",
    "NodeId",
    "PaymentId",
    "ProposalId",
    "SubscriptionId",
]

NodeId = NewType("NodeId", str)
"""An Ethereum address, ``0x`` and 40 hexadecimal digits: who somebody is on the network."""
SubscriptionId = NewType("SubscriptionId", str)
ProposalId = NewType("ProposalId", str)
AgreementId = NewType("AgreementId", str)
ActivityId = NewType("ActivityId", str)
BatchId = NewType("BatchId", str)
AllocationId = NewType("AllocationId", str)
InvoiceId = NewType("InvoiceId", str)
DebitNoteId = NewType("DebitNoteId", str)
PaymentId = NewType("PaymentId", str)
NetworkId = NewType("NetworkId", str)
