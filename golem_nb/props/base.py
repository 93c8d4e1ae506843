"""Models: dataclasses whose fields stand for properties and constraints."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from golem_nb.props.errors import ConstraintException, InvalidPropertiesError, shown
from golem_nb.props.grammar import check_key as check_constraint_key
from golem_nb.props.grammar import check_operator, clause, join_str_constraints
from golem_nb.props.values import Reader, Unreadable, check_key, encode, reader

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ConstraintException",
    "InvalidPropertiesError",
    "Model",
    "constraint",
    "constraint_model_serialize",
    "constraint_to_str",
    "join_str_constraints",
    "prop",
]

_KEY = "key"
_OPERATOR = "operator"


def prop(key: str, default: Any = dataclasses.MISSING, default_factory: Any = dataclasses.MISSING) -> Any:
    """Declare a field of a dataclass as the property `key`.

    Parameters
    ----------
    key
        Key of the property, e.g. ``golem.srv.app.myprop``.
    default, default_factory
        As in `dataclasses.field`. A field whose value is None is not sent.

    Examples
    --------
    >>> @dataclass
    ... class MyPayload(Payload):
    ...     myprop: str = prop("golem.srv.app.myprop", default="myvalue")
    """
    check_key(key)
    return dataclasses.field(default=default, default_factory=default_factory, metadata={_KEY: key})


def constraint(
    key: str,
    operator: str = "=",
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
) -> Any:
    """Declare a field of a dataclass as a constraint on the property `key` of the offers.

    Parameters
    ----------
    key
        Key of the property, e.g. ``golem.inf.mem.gib``.
    operator
        One of ``=``, ``>=``, ``<=``, ``>``, ``<``.
    default, default_factory
        As in `dataclasses.field`. A list means that the constraint must hold for each element; an empty list
        leaves it out.

    Examples
    --------
    >>> @dataclass
    ... class MyPayload(Payload):
    ...     min_mem_gib: float = constraint("golem.inf.mem.gib", operator=">=", default=16)
    """
    check_constraint_key(key)
    check_operator(key, operator)
    return dataclasses.field(
        default=default, default_factory=default_factory, metadata={_KEY: key, _OPERATOR: operator}
    )


class _PropertyReader(NamedTuple):
    name: str
    key: str
    required: bool
    read: Reader


class Model:
    """Base of dataclasses made of `prop` and `constraint` fields."""

    _readers: ClassVar[tuple[_PropertyReader, ...]]

    def __init__(self, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(
                f"{type(self).__name__} has no fields, but is given {', '.join(kwargs)}."
                " Is the decorator @dataclass missing on the class?"
            )

    @classmethod
    def from_properties(cls, props: Mapping[str, Any]) -> Self:
        """Read the model from the properties of an offer, a demand or an agreement.

        Parameters
        ----------
        props
            The properties.

        Raises
        ------
        InvalidPropertiesError
            A property without a default is missing, or one is not of the type of its field. The error names
            the key. (The properties of an offer are whatever its provider made up.)
        """
        values = {}
        if "_readers" not in vars(cls):
            cls._readers = _property_readers(cls)
        for field in cls._readers:
            if field.key in props:
                try:
                    values[field.name] = field.read(props[field.key])
                except Unreadable as error:
                    raise InvalidPropertiesError(
                        f"The property `{field.key}` should be {error}, but is {shown(props[field.key])}."
                    ) from None
            elif field.required:
                raise InvalidPropertiesError(f"The property `{field.key}` is missing.")
        return cls(**values)


def constraint_to_str(value: Any, f: dataclasses.Field[Any]) -> str:
    """Return the text of a constraint field with the given value; ``""`` for an empty list.

    Parameters
    ----------
    value
        The value.
    f
        The field, as `constraint` declared it.

    Raises
    ------
    ConstraintException
        `f` is not a constraint field, or the value cannot be expressed.
    """
    if _OPERATOR not in f.metadata:
        raise ConstraintException(
            f"The field `{f.name}` is not a constraint: declare it with constraint(...)."
        )
    return clause(f.metadata[_KEY], f.metadata[_OPERATOR], value)


def constraint_model_serialize(m: Model) -> list[str]:
    """Return the texts of all constraints of a model, in the order of its fields.

    Parameters
    ----------
    m
        The model.
    """
    texts = (
        constraint_to_str(getattr(m, field.name), field)
        for field in _fields(m)
        if _OPERATOR in field.metadata
    )
    return [text for text in texts if text]


def properties_of(m: Model) -> dict[str, Any]:
    """Return the properties of a model as JSON data, without those that are None."""
    return {
        field.metadata[_KEY]: encode(field.metadata[_KEY], value)
        for field in _fields(m)
        if _KEY in field.metadata
        and _OPERATOR not in field.metadata
        and (value := getattr(m, field.name)) is not None
    }


def _fields(m: Model) -> tuple[dataclasses.Field[Any], ...]:
    cls = type(m)
    for base in cls.__mro__:
        for name, value in vars(base).items():
            # The decorator puts the default in the place of the field.
            if isinstance(value, dataclasses.Field):
                raise TypeError(
                    f"{base.__name__}.{name} is a field, but the class lacks the decorator @dataclass."
                )
    return _dataclass_fields(cls)


def _dataclass_fields(cls: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def _property_readers(cls: type[Model]) -> tuple[_PropertyReader, ...]:
    return tuple(
        _PropertyReader(
            name=field.name,
            key=field.metadata[_KEY],
            required=field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            read=reader(_resolved(cls, field)),
        )
        for field in _dataclass_fields(cls)
        if _KEY in field.metadata and _OPERATOR not in field.metadata and field.init
    )


def _resolved(cls: type, field: dataclasses.Field[Any]) -> Any:
    """Return the type of a field; annotations are text under `from __future__ import annotations`."""
    if not isinstance(field.type, str):
        return field.type
    owners = (base for base in cls.__mro__ if field.name in vars(base).get("__annotations__", {}))
    owner = next(owners, cls)
    namespace = vars(sys.modules.get(owner.__module__, sys.modules[__name__]))
    try:
        # The annotation is code of the class's own module, as typing.get_type_hints would evaluate it; that
        # gives up on all fields when one names a class local to a function.
        return eval(field.type, dict(namespace), dict(vars(owner)))  # noqa: S307
    except (NameError, AttributeError, TypeError, SyntaxError):
        return Any
