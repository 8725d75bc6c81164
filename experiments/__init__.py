"""The paper's experiments, each a script: `python -m experiments.<name> --help`."""

import signal
import sys

# A script is starting: until it is at work, Ctrl-C just ends it.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
