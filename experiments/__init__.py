"""The paper's experiments, each a script: `python -m experiments.<name> --help`."""

import os
import signal
import sys

from experiments import variables
from ser_jax.errors import UserError

if sys.argv[:1] == ["-m"]:  # a script is starting
    # Until it is at work, Ctrl-C just ends it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["MPLBACKEND"] = "agg"  # figures go to files, whatever else somebody draws with
    try:
        variables.check()
    except UserError as error:
        print(f"experiments: {error}", file=sys.stderr)
        sys.exit(2)
