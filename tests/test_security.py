"""What SECURITY.md promises about the source: nothing is unpickled, run from text, or sent."""

import ast
import re
from pathlib import Path

import pytest

import ser_jax
from ser_jax import data
from ser_jax.data import databases

ROOT = Path(__file__).parents[1]
TREES = {
    str(path.relative_to(ROOT)): list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    for folder in ("ser_jax", "experiments")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
FORBIDDEN_MODULES = {
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "copyreg", "yaml",
    "ruamel", "jsonpickle", "pandas", "code", "codeop", "runpy", "imp", "zipimport", "socket", "socketserver",
    "asyncio", "http", "urllib", "urllib3", "requests", "httpx", "aiohttp", "ftplib", "smtplib", "telnetlib",
    "xmlrpc", "webbrowser", "grpc", "paramiko",
}  # fmt: skip
LISTENING = {"asyncio", "socket", "webbrowser"}  # of the server, which the user starts
FORBIDDEN_CALLS = re.compile(
    r"(eval|exec|compile|__import__|execfile|input|torch\.load|np\.fromfile|jnp\.load|numpy\.load|ctypes\.CDLL"
    r"|importlib\.util\.spec_from_file_location|.*\.(load|exec)_module|os\.(system|popen|exec|spawn|posix_spawn|fork).*"
    r"|subprocess\.get(status)?output|pty\.spawn)"
)


def calls():
    """Yield the file, the function as it is written, its node and its keywords of every call."""
    for file, nodes in TREES.items():
        for node in nodes:
            if isinstance(node, ast.Call):
                yield file, ast.unparse(node.func), node, {word.arg: word.value for word in node.keywords}


def test_no_module_unpickles_or_reaches_into_the_network():
    for file, nodes in TREES.items():
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        found = FORBIDDEN_MODULES & {name.split(".")[0] for name in imported}
        assert found <= (LISTENING if "serv" in file else set()), file


def test_no_text_is_run_no_shell_is_started_and_arrays_are_read_without_pickles():
    for file, name, call, keywords in calls():
        assert not FORBIDDEN_CALLS.fullmatch(name), (file, name)
        assert "shell" not in keywords, file
        if name == "np.load" or "allow_pickle" in keywords:
            assert ast.unparse(keywords["allow_pickle"]) == "False", file
        if re.fullmatch(r"subprocess\.(run|Popen|call|check_call|check_output)", name):
            command = call.args[0].elts[0] if isinstance(call.args[0], ast.List) else call.args[0]
            assert ast.unparse(command) in {"'git'", "sys.executable", "command"}, file
        if name == "jax.distributed.initialize":
            assert file == "ser_jax/devices.py"


def test_modules_are_imported_by_the_package_or_as_typed_by_the_user(tmp_path):
    allowed = {"ser_jax/__init__.py", "ser_jax/errors.py"}
    assert {file for file, name, *_ in calls() if name.endswith("import_module")} <= allowed
    for name in ("os", "sys", "importlib", "data", ".data", "cli"):
        with pytest.raises(AttributeError, match="has no attribute"):
            ser_jax.__getattr__(name)
    for name in ("os", "..evil", "ser_jax.data.iemocap", "synthetic", "", "cache"):
        with pytest.raises(databases.DatabaseError, match="no database"):
            data.prepare(name, tmp_path, name="tiny", data_dir=tmp_path)


def test_every_file_that_is_pointed_at_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "SECURITY.md").read_text()):
        assert (ROOT / link).exists(), link
