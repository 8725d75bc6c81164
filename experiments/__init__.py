"""The paper's experiments, each a script: `python -m experiments.<name> --help`."""

import os
import sys
from pathlib import Path

from experiments import variables
from ser_jax import shutdown
from ser_jax.errors import UserError, meant


def _check_script(module: str) -> None:
    """Refuses a name that no script has; Python would say no more than that."""
    name, folder = module.partition(".")[2], Path(__file__).parent
    if module and not (folder / f"{name}.py").is_file():
        main = '__name__ == "__main__"'
        scripts = [path.stem for path in sorted(folder.glob("[a-z]*.py")) if main in path.read_text("utf-8")]
        found = f"no script {name!r}" if name else "no script is named"
        expected = f"expected python -m experiments.NAME with one of {', '.join(scripts)}"
        raise UserError(f"{found}, {expected}{meant(name, scripts)}")


if sys.argv[:1] == ["-m"]:  # a script is starting
    _script = next((word for word in sys.orig_argv if word.split(".")[0] == __name__), "")
    shutdown.exit_on_interrupt(_script or "experiments")
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever else somebody draws with
    try:
        _check_script(_script)
        variables.check()
    except UserError as error:
        print(f"experiments: {error}", file=sys.stderr)
        sys.exit(2)
