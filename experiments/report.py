"""Write the tables, figures and page of a results folder anew, or print several results in one table.

    python -m experiments.report results/table2
    python -m experiments.report results/one results/other

Everything is recomputed from the stored predictions; nothing is trained.
"""

import sys
from pathlib import Path

from tyro.conf import Positional

from ser_jax.experiment import start_function


def report(results: Positional[Path], others: Positional[tuple[Path, ...]] = ()) -> None:
    """Write the tables of one folder anew, or print those of several.

    Args:
      results: folder that an experiment has written.
      others: further ones, in one table with it.
    """
    from ser_jax import report as reports

    if others:
        print(reports.compare([results, *others]))
        return
    written = reports.rewrite(results)
    print("\n\n".join(written.values()))
    names = ", ".join(f"{name}.md, .csv, .tex, .png, .svg" for name in written)
    print(f"Written to {results}: {names}, report.html.", file=sys.stderr)


if __name__ == "__main__":
    start_function(report, __doc__)
