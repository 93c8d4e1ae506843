"""The demand that is being built: its properties and its constraints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from golem_nb.props.base import (
    Model,
    constraint_model_serialize,
    join_str_constraints,
    properties_of,
)
from golem_nb.props.grammar import check_constraint
from golem_nb.props.values import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AutodecoratingModel", "DemandBuilder", "DemandDecorator"]


class DemandBuilder:
    r"""A demand in the making.

    Parameters
    ----------
    properties
        Properties to begin with.
    constraints
        A constraint to begin with.

    Examples
    --------
    >>> builder = DemandBuilder()
    >>> await builder.decorate(MyPayload(myprop="othervalue", min_mem_gib=32))
    >>> builder.ensure("(golem.node.debug.subnet=public)")
    >>> builder.properties
    {'golem.srv.app.myprop': 'othervalue'}
    >>> builder.constraints
    '(&(golem.inf.mem.gib>=32)\n\t(golem.node.debug.subnet=public))'
    """

    def __init__(self, properties: Mapping[str, Any] | None = None, constraints: str | None = None) -> None:
        self._properties: dict[str, Any] = {}
        self._constraints: list[str] = []
        self.add_properties(properties or {})
        if constraints is not None:
            self.ensure(constraints)

    def __repr__(self) -> str:
        return repr({"properties": self._properties, "constraints": self._constraints})

    @property
    def properties(self) -> dict[str, Any]:
        """The properties, as JSON data."""
        return self._properties

    @property
    def constraints(self) -> str:
        """All constraints joined to one; ``(&)``, which every offer meets, if there are none."""
        return join_str_constraints(self._constraints)

    def ensure(self, constraint: str) -> None:
        """Add a constraint, written in the constraint language.

        Raises
        ------
        ConstraintException
            It is not a constraint. (The daemon would take it, and never find an offer.)
        """
        self._constraints.append(check_constraint(constraint))

    def add(self, m: Model) -> None:
        """Add the properties of a model. Those that are None are left out.

        Parameters
        ----------
        m
            The model.
        """
        self._properties.update(properties_of(m))

    def add_properties(self, props: Mapping[str, Any]) -> None:
        """Add properties by their keys. Those that are None are left out.

        Parameters
        ----------
        props
            The properties.

        Raises
        ------
        InvalidPropertiesError
            A value is of no type that the daemon knows.
        """
        self._properties.update(
            {key: encode(key, value) for key, value in props.items() if value is not None}
        )

    def copy(self) -> DemandBuilder:
        """Return a demand that can be changed without changing this one."""
        copied = DemandBuilder()
        copied._properties = dict(self._properties)
        copied._constraints = list(self._constraints)
        return copied

    async def decorate(self, *decorators: DemandDecorator) -> None:
        """Let each of the decorators, in turn, add what it wants."""
        for decorator in decorators:
            await decorator.decorate_demand(self)


class DemandDecorator(ABC):
    """Anything that has properties or constraints to add to a demand."""

    @abstractmethod
    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Add properties and constraints to `demand`."""


class AutodecoratingModel(Model, DemandDecorator):
    """A model that adds its own properties, and its constraints as one, to a demand."""

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        """Add all properties and constraints of the model to `demand`."""
        demand.add(self)
        constraints = constraint_model_serialize(self)
        if constraints:
            demand.ensure(join_str_constraints(constraints))
