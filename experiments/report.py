"""Write the tables, figures and page of a results folder anew, or print several results in one table.

    python -m experiments.report --results results/table2
    python -m experiments.report --results results/one results/other

Everything is recomputed from the stored predictions; nothing is trained.
"""

import sys
from pathlib import Path

from ser_jax.experiment.provenance import start_script


def report(results: tuple[Path, ...], mixed: bool = False) -> None:
    """Write the tables of one folder anew, or print those of several.

    Args:
      results: folders that experiments have written.
      mixed: put results of different protocols in one table.
    """
    from ser_jax import report as reports
    from ser_jax.errors import ResultsError

    if not results:
        raise ResultsError("--results is empty, expected folders that experiments have written")
    if len(results) > 1:
        print(reports.compare(results, mixed))
        return
    [out] = results
    written = reports.rewrite(out)
    print("\n\n".join(written.values()))
    names = ", ".join(f"{name}.md, .csv, .tex, .png, .svg" for name in written)
    print(f"Written to {out}: {names}, report.html.", file=sys.stderr)


if __name__ == "__main__":
    start_script("experiments.report")
    from ser_jax.experiment.command import run_function

    run_function(report, __doc__)
