"""The names that published scripts import although the reference does not list them."""

from __future__ import annotations

import importlib
import inspect

import pytest


def _module(value: str) -> str:
    """Name a case by its module; the names in it are too many."""
    return value if value.startswith("golem_nb") else "names"


def check(module: str, names: str) -> None:
    found = importlib.import_module(module)
    missing = [name for name in names.split() if not hasattr(found, name)]
    assert missing == [], f"{module} lacks {', '.join(missing)}"


@pytest.mark.contract("I01")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "golem_nb",
            "Golem Task WorkContext NoPaymentAccountError __version__ get_version windows_event_loop_fix vm",
        ),
        ("golem_nb.config", "ApiConfig MissingConfiguration"),
        ("golem_nb.ctx", "WorkContext ActivityUsage"),
    ],
    ids=_module,
)
def test_top(module: str, names: str) -> None:
    check(module, names)


@pytest.mark.contract("L05")
def test_version_and_event_loop_fix() -> None:
    import golem_nb

    assert golem_nb.get_version() == golem_nb.__version__
    golem_nb.windows_event_loop_fix()  # does nothing here, and must not fail


@pytest.mark.contract("I02")
def test_log() -> None:
    check(
        "golem_nb.log",
        "enable_default_logger SummaryLogger log_summary log_event log_event_repr pluralize get_logger",
    )


@pytest.mark.contract("I03")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("golem_nb.props", "Activity NodeInfo InvalidPropertiesError ConstraintException com inf"),
        (
            "golem_nb.props.com",
            "Com ComLinear Counter BillingScheme PriceModel SCHEME PRICE_MODEL LINEAR_COEFFS DEFINED_USAGES",
        ),
        (
            "golem_nb.props.inf",
            "InfBase INF_CORES INF_MEM INF_STORAGE INF_THREADS INF_RUNTIME_NAME RUNTIME_VM TRANSFER_CAPS "
            "ExeUnitRequest ExeUnitManifestRequest VmRequest VmPackageFormat",
        ),
        (
            "golem_nb.props.base",
            "prop constraint constraint_to_str constraint_model_serialize join_str_constraints Model",
        ),
        ("golem_nb.props.builder", "DemandBuilder DemandDecorator AutodecoratingModel"),
    ],
    ids=_module,
)
def test_props(module: str, names: str) -> None:
    check(module, names)


@pytest.mark.contract("I04")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("golem_nb.payload", "Payload vm"),
        ("golem_nb.payload.package", "Package PackageException"),
        ("golem_nb.payload.vm", "repo manifest VM_CAPS_VPN VM_CAPS_MANIFEST_SUPPORT DEFAULT_REPOSITORY_URL"),
        (
            "golem_nb.payload.manifest",
            "Manifest ManifestMetadata ManifestPayload CompManifest CompManifestNet CompManifestNetInet "
            "CompManifestNetInetOut CompManifestScript",
        ),
    ],
    ids=_module,
)
def test_payload(module: str, names: str) -> None:
    check(module, names)


@pytest.mark.contract("I05")
def test_strategy() -> None:
    check(
        "golem_nb.strategy",
        "MarketStrategy BaseMarketStrategy WrappingMarketStrategy LeastExpensiveLinearPayuMS DummyMS "
        "DecreaseScoreForUnconfirmedAgreement PropValueRange SCORE_NEUTRAL SCORE_REJECTED SCORE_TRUSTED "
        "PROP_DEBIT_NOTE_INTERVAL_SEC PROP_PAYMENT_TIMEOUT_SEC PROP_DEBIT_NOTE_ACCEPTANCE_TIMEOUT "
        "DEBIT_NOTE_INTERVAL_GRACE_PERIOD",
    )
    check("golem_nb.contrib.strategy", "ProviderFilter")


@pytest.mark.contract("I06", "L06")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("golem_nb.rest", "Configuration Market Activity Payment Net"),
        ("golem_nb.rest.market", "OfferProposal Agreement AgreementDetails Subscription"),
        ("golem_nb.rest.payment", "Allocation DebitNote Invoice"),
        ("golem_nb.rest.activity", "Activity BatchError BatchTimeoutError CommandExecutionError"),
    ],
    ids=_module,
)
def test_rest(module: str, names: str) -> None:
    check(module, names)


@pytest.mark.contract("I07")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "golem_nb.script.command",
            "Command Deploy Start Terminate Run UploadBytes UploadFile UploadJson DownloadBytes DownloadFile "
            "DownloadJson DownloadFromUrl",
        ),
        ("golem_nb.script.capture", "CaptureContext"),
        ("golem_nb.executor", "Executor Task"),
        ("golem_nb.engine", "Job"),
    ],
    ids=_module,
)
def test_script_and_engine(module: str, names: str) -> None:
    check(module, names)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("golem_nb.network", "Network NetworkError NetworkState Node"),
        ("golem_nb.services", "Service Cluster ServiceState ServiceRunner ServiceSignal"),
        ("golem_nb.contrib.service.chunk", "chunks"),
    ],
    ids=_module,
)
def test_services(module: str, names: str) -> None:
    check(module, names)


def test_execute_tasks_is_the_executors_submit() -> None:
    """The reference says that execute_tasks calls submit with the worker and the sequence of tasks."""
    from golem_nb.executor import Executor

    names = list(inspect.signature(Executor.submit).parameters.values())
    assert [p.name for p in names[1:3]] == ["worker", "data"]
    assert all(p.default is not p.empty for p in names[3:])


def test_raw_state_and_usage_have_the_documented_types() -> None:
    from golem_nb.ctx import WorkContext
    from golem_nb.rest.activity import ActivityState

    # types are kept as text until they are asked for
    assert "ActivityState" in inspect.get_annotations(WorkContext.get_raw_state)["return"]
    assert "ActivityUsage" in inspect.get_annotations(WorkContext.get_raw_usage)["return"]
    assert isinstance(inspect.getattr_static(ActivityState, "state"), property) or "state" in (
        inspect.get_annotations(ActivityState)
    )
