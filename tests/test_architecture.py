"""The shape of the package: layers that import one way, and the public names."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import gennostr
from gennostr import testing

PACKAGE = Path(gennostr.__file__).parent
LAYERS = {
    "values": set[str](),
    "exceptions": {"values"},
    "otp": {"values", "exceptions", "otp"},
    "telemetry": {"otp"},
    "nostr": {"values", "exceptions", "nostr"},
    "client": {"values", "exceptions", "otp", "nostr", "client"},
    "cluster": {"values", "exceptions", "otp", "nostr", "client", "cluster"},
    "store": {"values", "exceptions", "otp", "nostr", "client", "store"},
    "guide": set[str](),
    "testing": {"values", "exceptions", "otp", "nostr", "client", "testing"},
    "cli": {"exceptions", "otp", "nostr", "client", "store", "guide", "cli", ""},
    "__init__": {"exceptions", "otp", "client"},
}

PINNED = """
    GenNostr Relay Options REMOVE_RELAY GenServer Supervisor DynamicSupervisor Registry ChildSpec via Ok
    Reply NoReply Stop IGNORE NORMAL SHUTDOWN KILLED NOPROC TIMEOUT Exit Down whereis reply link unlink
    monitor demonitor send_after cancel_timer CallExit CallTimeout NoProcess CallingSelf StartError
    AlreadyStarted KILL Shutdown BadReturnValue Overflow RelayNotFound call cast send stop
    FailedToStartChild AlreadyPresent ChildRunning ChildRestarting ChildNotFound MaxChildren
    AlreadyRegistered is_clean run
""".split()  # noqa: SIM905 - reads better

BESIDE = """
    call_async
    CallError Close ConnectTimeout ConnectionFault ConnectionLost CrashReport GenNostrError HandshakeError
    MessageError Node PendingReply Pid PingTimeout ProtocolError Registered RelayUrlError SupervisorError
    Unregistered abandoned as_completed get_state get_status replace_state resume send_request statistics
    suspend telemetry tree
    AuthenticationError Count CountDone CountRequest Fetch FetchIncomplete FetchProgress
    Publication PublicationDone PublishOutcome RequestTooLarge
    ClientStatistics RelayRefused RelayStatistics fetch relay_information
    CallOutcome CallbackOutcome ChildCounts ChildInfo DynamicSupervisorPid GenNostrPid InitOutcome MonitorRef
    RegistryPid RelayOptions RelayOutcome Request Statistics Status SupervisorFlags SupervisorPid Timer Via
    reply_error monotonic_time system_time ActorError wait_for StoreError NOCONNECTION
""".split()  # noqa: SIM905 - reads better


def imports(path: Path) -> Iterator[str]:
    """The layers that a module imports: "" is the package's own top level."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "gennostr":
                yield rest.partition(".")[0]


def test_imports_go_one_way() -> None:
    for path in PACKAGE.rglob("*.py"):
        layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for imported in imports(path):
            assert imported in LAYERS[layer], f"{path.relative_to(PACKAGE)} imports {imported!r}"


def modules() -> dict[str, set[str]]:
    """The modules of the package, each with those that it imports, for type checkers alone too."""
    paths = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    found = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph: dict[str, set[str]] = {}
    for name, path in found.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & found.keys()
            elif isinstance(node, ast.ImportFrom) and node.module in found:
                inner = {f"{node.module}.{alias.name}" for alias in node.names} & found.keys()
                # A package is imported for its own names, or is only the way to its modules.
                graph[name] |= inner if len(inner) == len(node.names) else inner | {node.module}
    return graph


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        tuple(TopologicalSorter(modules()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


# The relay session and what it is made of: values in, values out.
CORE = {
    f"gennostr.client.{name}"
    for name in (
        "attempt",
        "attempt_queue",
        "authentication",
        "dialects",
        "effects",
        "relay_limits",
        "relay_session",
        "subscriptions",
    )
}
IMPURE = """
    _socket _thread asyncio concurrent logging multiprocessing os pykka queue select selectors signal socket ssl
    subprocess sys threading time websocket
""".split()  # noqa: SIM905 - reads better


def source(name: str) -> Path:
    return PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py")


def all_imports(name: str) -> set[str]:
    """The modules that a module of the package imports: of the package by their whole names, of others the top."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source(name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {each for each in names if source(each).exists()} or {node.module}
    return {each if each.startswith("gennostr.") else each.partition(".")[0] for each in found}


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_imports_nothing_that_acts(name: str) -> None:
    """Of the client it imports itself, and `options`, whose `Relay` is a value, though its check of sslopt needs ssl.

    What it imports of gennostr.nostr acts on nothing either, nor does what that imports.
    """
    imported = all_imports(name)
    outside = {each for each in imported if not each.startswith("gennostr.")}
    assert outside & set(IMPURE) == set()
    inside = imported - outside - CORE - {"gennostr.client.options", "gennostr.exceptions", "gennostr.values"}
    while inside:
        each = inside.pop()
        assert each.startswith("gennostr.nostr."), f"{name} imports {each}"
        further = all_imports(each)
        assert further & set(IMPURE) == set(), f"{each}, imported by {name}"
        inside |= {one for one in further if one.startswith("gennostr.")} - {"gennostr.exceptions", "gennostr.values"}


def test_no_module_imports_a_private_name() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gennostr"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert private == [], f"{path.relative_to(PACKAGE)} imports {private} of {node.module}"


def test_the_public_names_are_these() -> None:
    assert sorted(gennostr.__all__) == sorted(PINNED + BESIDE)
    for name in gennostr.__all__:
        assert hasattr(gennostr, name)


def test_what_is_not_ported_is_not_there() -> None:
    names = "multi_call abcast node nodes code_change process_flag get put erase dictionary throw"
    for where in (gennostr, gennostr.GenServer, gennostr.Supervisor, gennostr.Registry, gennostr.Pid):
        assert [name for name in names.split() if hasattr(where, name)] == []


@pytest.mark.parametrize("package", [gennostr, testing], ids=lambda package: package.__name__)
def test_names_that_are_imported_late_are_those_that_type_checkers_see(package: ModuleType) -> None:
    assert package.__file__ is not None
    seen: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gennostr"):
            module = node.module.removeprefix(f"{package.__name__}.")
            seen |= {name.name: f"{module}.telemetry" if name.name == "telemetry" else module for name in node.names}
    assert seen == package._MODULES
    assert set(seen) == set(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = package.nonesuch


def test_importing_gennostr_warns_of_nothing_and_imports_no_extra() -> None:
    program = "import gennostr, sys; print(*sorted({'coincurve', 'nostr_sdk', 'asyncio.events'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert "coincurve" not in done.stdout
    assert "nostr_sdk" not in done.stdout


def test_a_client_without_a_store_imports_none() -> None:
    program = """
import sys
import gennostr, gennostr.testing, gennostr.testing.pytest_plugin
with gennostr.GenNostr.start():
    print("sqlite3" in sys.modules, [name for name in sys.modules if name.startswith("gennostr.store")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False []\n"


def test_a_client_without_a_cluster_imports_nothing_of_it() -> None:
    program = "import gennostr, sys; gennostr.GenNostr; print([each for each in sys.modules if 'cluster' in each])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("former", "name"), sorted(gennostr._RENAMED.items()))
def test_a_former_name_is_the_new_one_with_a_warning_at_the_line_that_uses_it(former: str, name: str) -> None:
    for use in (lambda: getattr(gennostr, former), lambda: import_from_gennostr(former)):
        with pytest.warns(DeprecationWarning, match=f"gennostr.{former} is now gennostr.{name}; .* 1.0") as caught:
            assert use() is getattr(gennostr, name)
        assert {warning.filename for warning in caught} == {__file__}
    assert former not in gennostr.__all__
    assert former not in dir(gennostr)


def import_from_gennostr(name: str) -> object:
    namespace: dict[str, object] = {}
    exec(compile(f"from gennostr import {name}", __file__, "exec"), namespace)
    return namespace[name]


def test_type_checkers_see_the_former_names() -> None:
    tree = ast.parse(Path(gennostr.__file__).read_text())
    checking = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checking.test) == "TYPE_CHECKING"
    seen = {
        ast.unparse(node.targets[0]): ast.unparse(node.value) for node in checking.body if isinstance(node, ast.Assign)
    }
    assert seen == gennostr._RENAMED
