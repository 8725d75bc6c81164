"""What SECURITY.md promises, read off the source."""

import ast
import functools
import re
from pathlib import Path

import pytest

import ser_jax
from ser_jax import data
from ser_jax.data import databases

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "ser_jax").rglob("*.py")) + sorted((ROOT / "experiments").rglob("*.py"))
EVERY = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
UNPICKLING = {
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "copyreg", "yaml",
    "ruamel", "jsonpickle", "pandas", "code", "codeop", "runpy", "imp", "zipimport",
}  # fmt: skip
NETWORK = {
    "socket", "socketserver", "asyncio", "http", "urllib", "urllib3", "requests", "httpx", "aiohttp",
    "ftplib", "smtplib", "telnetlib", "xmlrpc", "webbrowser", "grpc", "paramiko",
}  # fmt: skip
RUNNING = {"eval", "exec", "compile", "__import__", "execfile", "input"}
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"}
STARTING = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call",
            "subprocess.check_output"}  # fmt: skip
LOADING = {
    "torch.load",
    "np.fromfile",
    "jnp.load",
    "numpy.load",
    "ctypes.CDLL",
    "importlib.util.spec_from_file_location",
}


@functools.cache
def nodes(path):
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported(path):
    """(Line, first part of the name) of every module that a file imports, wherever in it."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module.split(".")[0]


def calls(path):
    """(What is called as it is written, the call)."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def found(paths, wrong):
    return [
        f"{path.relative_to(ROOT)}:{call.lineno}: {name}"
        for path in paths
        for name, call in calls(path)
        if wrong(name, call)
    ]


def keyword(call, name):
    return next((word.value for word in call.keywords if word.arg == name), None)


SERVER = {  # what listens where somebody asked for it, and sends nothing
    "ser_jax/recognizer/server.py": {"asyncio", "socket", "webbrowser"},
}


def test_no_module_unpickles_or_reaches_into_the_network():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in SOURCES
        for line, name in imported(path)
        if name in (UNPICKLING | NETWORK) - SERVER.get(str(path.relative_to(ROOT)), set())
    ]
    assert wrong == []


def test_no_text_is_run():
    assert found(SOURCES, lambda name, call: name in RUNNING | LOADING) == []
    assert found(SOURCES, lambda name, call: name.endswith((".load_module", ".exec_module"))) == []


def test_a_module_is_named_by_a_list_of_ours_only(tmp_path):
    where = found(SOURCES, lambda name, call: name.endswith("import_module"))
    places = {place.split(":")[0] for place in where}
    assert places <= {
        "ser_jax/__init__.py",
        "ser_jax/features/__init__.py",  # these two: typed as module:Name
        "ser_jax/experiment/config.py",
    }
    for name in ("os", "sys", "importlib", "data", ".data", "cli"):
        with pytest.raises(AttributeError, match="has no attribute"):
            ser_jax.__getattr__(name)
    for name in ("os", "..evil", "ser_jax.data.iemocap", "synthetic", "", "cache"):
        with pytest.raises(databases.DatabaseError, match="no database"):
            databases.read(name, tmp_path)
        with pytest.raises(databases.DatabaseError, match="no database"):
            data.prepare(name, tmp_path, name="tiny", data_dir=tmp_path)


def test_no_shell_is_started_and_no_program_by_a_text():
    assert found(EVERY, lambda name, call: name in SHELLS or keyword(call, "shell") is not None) == []

    def by_text(name, call):
        command = call.args[0] if call.args else keyword(call, "args")
        return name in STARTING and isinstance(command, ast.Constant | ast.JoinedStr | ast.BinOp)

    assert found(EVERY, by_text) == []
    assert found(SOURCES, lambda name, call: re.match(r"os\.(exec|spawn|posix_spawn|fork)", name)) == []


def test_programs_are_python_and_git():
    assert {
        ast.unparse(call.args[0].elts[0] if isinstance(call.args[0], ast.List) else call.args[0])
        for path in SOURCES
        for name, call in calls(path)
        if name in STARTING
    } <= {"'git'", "sys.executable", "command"}


def test_arrays_are_read_without_pickles():
    def careless(name, call):
        allowed = keyword(call, "allow_pickle")
        return name == "np.load" and not (isinstance(allowed, ast.Constant) and allowed.value is False)

    assert found(SOURCES, careless) == []
    assert found(SOURCES, lambda name, call: getattr(keyword(call, "allow_pickle"), "value", False)) == []


def test_hosts_are_joined_where_it_was_asked_for_only():
    where = found(SOURCES, lambda name, call: name == "jax.distributed.initialize")
    assert {place.split(":")[0] for place in where} <= {"ser_jax/devices.py"}


def test_every_file_that_is_pointed_at_is_there():
    text = (ROOT / "SECURITY.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / link).exists(), link
    assert "@" not in text
