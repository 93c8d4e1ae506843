"""The life cycle of an instance, without any provider."""

from __future__ import annotations

import pytest
from statemachine.exceptions import TransitionNotAllowed

from golem_nb.services import ServiceState

STATES = ["pending", "starting", "running", "stopping", "terminated", "suspended", "unresponsive"]


def at(value: str) -> ServiceState:
    return ServiceState(start_value=value)


@pytest.mark.contract("S06")
def test_the_way_from_pending_to_terminated() -> None:
    machine = ServiceState()
    seen = [machine.now.value]
    for _ in range(4):
        machine.lifecycle()
        seen.append(machine.now.value)
    assert seen == ["pending", "starting", "running", "stopping", "terminated"]


@pytest.mark.contract("S06")
@pytest.mark.parametrize(
    ("transition", "sources", "target"),
    [
        ("start", {"pending"}, "starting"),
        ("ready", {"starting"}, "running"),
        ("stop", {"running"}, "stopping"),
        ("terminate", set(STATES) - {"suspended"}, "terminated"),
        ("suspend", {"starting", "running", "stopping"}, "suspended"),
        ("lose", {"starting", "running", "stopping"}, "unresponsive"),
        ("restart", set(STATES) - {"suspended"}, "pending"),
    ],
)
def test_transitions(transition: str, sources: set[str], target: str) -> None:
    for value in STATES:
        machine = at(value)
        if value in sources:
            getattr(machine, transition)()
            assert machine.now.value == target
        else:
            with pytest.raises(TransitionNotAllowed):
                getattr(machine, transition)()


@pytest.mark.contract("S07", "S17")
def test_states_compare_and_name_themselves() -> None:
    machine = at("running")
    assert machine.now == ServiceState.running
    assert machine.now != ServiceState.starting
    assert (ServiceState.running.value, ServiceState.running.name) == ("running", "running")
    assert ServiceState.pending.initial
    assert ServiceState.suspended.final
    assert [state.value for state in ServiceState.states] == STATES


@pytest.mark.contract("S07", "S17")
def test_available_states() -> None:
    assert (ServiceState.starting, ServiceState.running, ServiceState.stopping) == ServiceState.AVAILABLE
    assert [at(value).now in ServiceState.AVAILABLE for value in STATES] == [
        False, True, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.contract("S17")
def test_a_model_holds_the_state() -> None:
    class Model:
        phase: str

    model = Model()
    machine = ServiceState(model=model, state_field="phase", start_value="starting")
    machine.ready()
    assert model.phase == "running"
