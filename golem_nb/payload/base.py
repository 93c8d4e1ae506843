"""The base of all payloads."""

from __future__ import annotations

from golem_nb.props.builder import AutodecoratingModel


class Payload(AutodecoratingModel):
    r"""What a provider has to run: the properties and constraints of a demand that describe it.

    Subclasses are dataclasses whose fields are declared with `golem_nb.props.base.prop` and
    `golem_nb.props.base.constraint`.

    Examples
    --------
    >>> @dataclass
    ... class MyPayload(Payload):
    ...     myprop: str = prop("golem.srv.app.myprop", default="myvalue")
    ...     runtime: str = constraint("golem.runtime.name", default="my-runtime")
    ...     min_mem_gib: float = constraint("golem.inf.mem.gib", operator=">=", default=16)
    >>> builder = DemandBuilder()
    >>> await builder.decorate(MyPayload(myprop="othervalue", min_mem_gib=32))
    >>> builder
    {'properties': {'golem.srv.app.myprop': 'othervalue'},
     'constraints': ['(&(golem.runtime.name=my-runtime)\n\t(golem.inf.mem.gib>=32))']}
    """
