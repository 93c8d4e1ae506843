"""What a provider of the local network is: its name, size, prices, and how it misbehaves in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from golem_nb.exceptions import GolemError

__all__ = [
    "Image",
    "ImageKind",
    "InvalidSpecError",
    "Misbehaviour",
    "MisbehaviourKind",
    "ProviderSpec",
]


class InvalidSpecError(GolemError, ValueError):
    """A provider, image or misbehaviour was described in a way that cannot work; the text names the field."""


class MisbehaviourKind(StrEnum):
    """The ways in which a provider can be told to misbehave, for tests of a requestor.

    All are done by the provider agent at the daemon's REST API and service bus while the real daemons
    run; the requestor's side is never touched.
    """

    #: Each proposal of a requestor is rejected ("No capacity available").
    REFUSE_PROPOSAL = "refuse-proposal"
    #: Proposals are taken and never answered.
    IGNORE_PROPOSAL = "ignore-proposal"
    #: Each agreement is rejected (`golem.provider.code: NoCapacity`).
    REFUSE_AGREEMENT = "refuse-agreement"
    #: Agreements are taken and never approved nor rejected.
    IGNORE_AGREEMENT = "ignore-agreement"
    #: Activities are never started: creating one runs into its time-out.
    NO_EXE_UNIT = "no-exe-unit"
    #: `deploy` fails: the image cannot be fetched.
    FAIL_DEPLOY = "fail-deploy"
    #: The exe-unit is killed `after` seconds of a `run` command (default 0.2); the agent goes on.
    DIE_IN_TASK = "die-in-task"
    #: Everything of the provider is cut `after` seconds of an agreement's approval (default 0): its bus
    #: connection, its sandboxes, its answers. Nobody is told, as when a machine loses its power.
    VANISH = "vanish"
    #: No state or usage is reported any more, from `after` seconds of an activity's start (default 0): the
    #: daemon calls the activity unresponsive after 5 s.
    GO_SILENT = "go-silent"
    #: Debit notes and invoices ask for `factor` times what usage and prices explain (default 10).
    OVERCHARGE = "overcharge"
    #: A debit note every `interval` seconds (default 0.2), whatever has been agreed.
    TOO_MANY_DEBIT_NOTES = "too-many-debit-notes"
    #: The prices in the answers to proposals are text instead of numbers.
    UNREADABLE_PRICE = "unreadable-price"
    #: No invoice is sent at the end.
    NO_INVOICE = "no-invoice"
    #: Commands never end: after `after` of them (default 0) a `run` starts and no more is heard of it.
    STALL = "stall"
    #: Name, messages and output are full of escape sequences, HTML, bidirectional marks and huge lines.
    HOSTILE_TEXT = "hostile-text"
    #: The agreement is terminated `after` seconds of its approval (default 1).
    TERMINATE_AGREEMENT = "terminate-agreement"
    #: Uploads end with a wrong checksum.
    CORRUPT_CHECKSUM = "corrupt-checksum"
    #: Uploads to the requestor miss their last byte (the checksum is that of the whole file).
    CORRUPT_SHORT = "corrupt-short"
    #: Uploads to the requestor carry `extra` bytes more than the file has (default 1 MiB).
    CORRUPT_LONG = "corrupt-long"


_DEFAULTS: Final[dict[MisbehaviourKind, dict[str, Any]]] = {
    MisbehaviourKind.DIE_IN_TASK: {"after": 0.2},
    MisbehaviourKind.VANISH: {"after": 0.0},
    MisbehaviourKind.GO_SILENT: {"after": 0.0},
    MisbehaviourKind.OVERCHARGE: {"factor": Decimal(10)},
    MisbehaviourKind.TOO_MANY_DEBIT_NOTES: {"interval": 0.2},
    MisbehaviourKind.STALL: {"after": 0.0},
    MisbehaviourKind.TERMINATE_AGREEMENT: {"after": 1.0},
    MisbehaviourKind.CORRUPT_LONG: {"extra": 1 << 20},
}


_T = TypeVar("_T", bound=attrs.AttrsInstance)


def _read(cls: type[_T], data: Mapping[str, Any]) -> _T:
    known = {field.name for field in attrs.fields(cls)}
    if unknown := sorted(set(data) - known):
        raise InvalidSpecError(f"unknown field(s) of {cls.__name__}: {', '.join(map(repr, unknown))}")
    try:
        return cls(**data)
    except TypeError as error:
        raise InvalidSpecError(f"{cls.__name__} cannot be made of {dict(data)}: {error}") from error


def _decimal(value: Any, what: str) -> Decimal:
    # a float would carry its binary rest into every price: 0.1 must stay 0.1
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise InvalidSpecError(f"{what} must be a number, not {value!r}") from error
    if not number.is_finite():
        raise InvalidSpecError(f"{what} must be a finite number, not {value!r}")
    return number


def _price(value: Any) -> Decimal:
    number = _decimal(value, "a price")
    if number < 0:
        raise InvalidSpecError(f"a price must not be negative, but is {value}")
    return number


def _factor(value: Any) -> Decimal | None:
    return None if value is None else _decimal(value, "factor")


def _kind(value: str) -> MisbehaviourKind:
    try:
        return MisbehaviourKind(value)
    except ValueError as error:
        known = ", ".join(sorted(MisbehaviourKind))
        raise InvalidSpecError(f"unknown misbehaviour {value!r}; there are: {known}") from error


def _image_kind(value: str) -> ImageKind:
    try:
        return ImageKind(value)
    except ValueError as error:
        raise InvalidSpecError(
            f"unknown kind of image {value!r}; there are: {', '.join(ImageKind)}"
        ) from error


@attrs.frozen(kw_only=True)
class Misbehaviour:
    """One way in which a provider misbehaves.

    Parameters
    ----------
    kind
        What is done; see `MisbehaviourKind`.
    times
        How often it is done before the provider behaves again; None: always. It counts what the kind is
        about: proposals, agreements, activities, commands, transfers, notes.
    after
        Seconds (`STALL`: commands) before it begins, where the kind says so.
    factor
        `OVERCHARGE`: what the amount is multiplied with.
    interval
        `TOO_MANY_DEBIT_NOTES`: seconds between two notes.
    extra
        `CORRUPT_LONG`: bytes too many.

    Raises
    ------
    InvalidSpecError
        An unknown kind, or a parameter that the kind does not have.

    Examples
    --------
    >>> Misbehaviour(kind="overcharge", factor=2).factor
    Decimal('2')
    """

    kind: MisbehaviourKind = attrs.field(converter=_kind)
    times: int | None = None
    after: float | None = None
    factor: Decimal | None = attrs.field(default=None, converter=_factor)
    interval: float | None = None
    extra: int | None = None

    def __attrs_post_init__(self) -> None:
        kind = self.kind
        defaults = _DEFAULTS.get(kind, {})
        for name in ("after", "factor", "interval", "extra"):
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, defaults.get(name))
            elif name not in defaults:
                raise InvalidSpecError(f"the misbehaviour {kind.value} has no parameter {name!r}")
            elif value < 0 or (name == "interval" and value == 0):
                raise InvalidSpecError(f"{name} of the misbehaviour {kind.value} must be positive: {value}")
        if self.times is not None and self.times < 1:
            raise InvalidSpecError(f"times of the misbehaviour {kind.value} must be at least 1: {self.times}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        data: dict[str, Any] = {"kind": self.kind.value}
        for name in ("times", "after", "factor", "interval", "extra"):
            value = getattr(self, name)
            if value is not None:
                data[name] = str(value) if isinstance(value, Decimal) else value
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Misbehaviour:
        """Read what `to_json` wrote.

        Parameters
        ----------
        data
            A JSON object.

        Raises
        ------
        InvalidSpecError
            A field is unknown or has an impossible value.
        """
        return _read(cls, data)


def _misbehaviours(values: Iterable[Misbehaviour | MisbehaviourKind | str]) -> tuple[Misbehaviour, ...]:
    if isinstance(values, str | Misbehaviour):
        values = (values,)
    return tuple(v if isinstance(v, Misbehaviour) else Misbehaviour(kind=v) for v in values)


@attrs.frozen(kw_only=True)
class ProviderSpec:
    """A provider of the local network.

    Parameters
    ----------
    name
        Its node name, as requestors see it.
    cpu_threads, cpu_cores
        Offered size of its processor.
    mem_gib, storage_gib
        Offered memory and disk in GiB; they are limits too: an activity that needs more is ended.
    start_price
        GLM for an activity's start.
    price_per_second, price_per_cpu_second
        GLM for a second of an activity's life, and for a second of processor time.
    runtime, runtime_version
        Offered runtime.
    max_activities
        Activities at once; more than one agreement may share them.
    max_agreements
        Agreements at once; further proposals are rejected ("No capacity available").
    max_activity_seconds
        An activity that lives longer is ended; None: no limit but the agreement's.
    debit_note_interval, payment_timeout, debit_note_accept_timeout
        Seconds, the provider's side of the negotiation on debit notes and payments in mid-agreement.
    no_activity_timeout
        Seconds an agreement may live without any activity before it is terminated.
    misbehaviours
        How it misbehaves, for tests.

    Raises
    ------
    InvalidSpecError
        A value is impossible; the text names it.

    Examples
    --------
    >>> spec = ProviderSpec(name="small", mem_gib=1, price_per_second="0.0002")
    >>> ProviderSpec.from_json(spec.to_json()) == spec
    True
    """

    name: str
    cpu_threads: int = 4
    cpu_cores: int = 2
    mem_gib: float = 4.0
    storage_gib: float = 20.0
    start_price: Decimal = attrs.field(default=Decimal(0), converter=_price)
    price_per_second: Decimal = attrs.field(default=Decimal("0.0001"), converter=_price)
    price_per_cpu_second: Decimal = attrs.field(default=Decimal("0.00005"), converter=_price)
    runtime: str = "vm"
    runtime_version: str = "0.5.3"
    max_activities: int = 32
    max_agreements: int = 32
    max_activity_seconds: float | None = None
    debit_note_interval: float = 120
    payment_timeout: float = 120
    debit_note_accept_timeout: float = 240
    no_activity_timeout: float = 90
    misbehaviours: tuple[Misbehaviour, ...] = attrs.field(default=(), converter=_misbehaviours)

    def __attrs_post_init__(self) -> None:
        if not self.name or len(self.name) > 200:
            raise InvalidSpecError("a provider needs a name of 1 to 200 characters")
        for name in (
            "cpu_threads",
            "cpu_cores",
            "mem_gib",
            "storage_gib",
            "max_activities",
            "max_agreements",
            "debit_note_interval",
            "payment_timeout",
            "debit_note_accept_timeout",
            "no_activity_timeout",
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                raise InvalidSpecError(
                    f"{name} of provider {self.name!r} must be a positive number: {value!r}"
                )
        if self.max_activity_seconds is not None and self.max_activity_seconds <= 0:
            raise InvalidSpecError(
                f"max_activity_seconds of {self.name!r} must be positive: {self.max_activity_seconds}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads; prices are strings, so that none is rounded."""
        data: dict[str, Any] = {}
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            data[field.name] = str(value) if isinstance(value, Decimal) else value
        data["misbehaviours"] = [m.to_json() for m in self.misbehaviours]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ProviderSpec:
        """Read what `to_json` wrote; fields that are missing have their defaults.

        Parameters
        ----------
        data
            A JSON object.

        Raises
        ------
        InvalidSpecError
            A field is unknown or has an impossible value.
        """
        data = dict(data)
        data["misbehaviours"] = [Misbehaviour.from_json(m) for m in data.get("misbehaviours", ())]
        return _read(cls, data)


class ImageKind(StrEnum):
    """What stands in for a virtual machine's image."""

    #: The programs of this machine (/usr, /bin, /lib… read-only), nothing else of it.
    USERLAND = "userland"
    #: The same, and a Python interpreter with its site-packages, read-only.
    PYTHON = "python"
    #: The top-level folders of a directory tree, read-only.
    ROOTFS = "rootfs"


@attrs.frozen(kw_only=True)
class Image:
    """An image of the local network: what a package hash means to its providers.

    Parameters
    ----------
    sha3
        The hash of the package (`hash:sha3:<sha3>:<url>`), lower-case hexadecimal.
    kind
        What stands in for it.
    tag
        The name under which the registry knows it; None: it has none.
    rootfs
        The directory tree of a `ROOTFS` image.
    python
        The interpreter of a `PYTHON` image; None: that of the provider agent.

    Raises
    ------
    InvalidSpecError
        A value is missing or impossible.
    """

    sha3: str
    kind: ImageKind = attrs.field(default=ImageKind.USERLAND, converter=_image_kind)
    tag: str | None = None
    rootfs: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))
    python: Path | None = attrs.field(default=None, converter=attrs.converters.optional(Path))

    def __attrs_post_init__(self) -> None:
        if not self.sha3 or set(self.sha3) - set("0123456789abcdef"):
            raise InvalidSpecError(f"an image's sha3 must be lower-case hexadecimal: {self.sha3!r}")
        if self.kind is ImageKind.ROOTFS:
            if self.rootfs is None or not self.rootfs.is_absolute():
                raise InvalidSpecError(f"image {self.tag or self.sha3}: rootfs must be an absolute path")
            if not self.rootfs.is_dir():
                raise InvalidSpecError(f"image {self.tag or self.sha3}: there is no folder {self.rootfs}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that `from_json` reads."""
        return {
            "sha3": self.sha3,
            "kind": self.kind.value,
            "tag": self.tag,
            "rootfs": None if self.rootfs is None else str(self.rootfs),
            "python": None if self.python is None else str(self.python),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Image:
        """Read what `to_json` wrote.

        Raises
        ------
        InvalidSpecError
            A field is unknown or has an impossible value.
        """
        return _read(cls, data)
