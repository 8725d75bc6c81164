"""Sec. 3 and footnote 1: how many utterances each class has, beside the published counts.

    ser-jax prepare iemocap --source IEMOCAP_full_release --labels-only   # seconds; needs no recording
    python -m experiments.class_distribution

Ends with status 1 if a count differs from the published one.
"""

from json import dumps
from pathlib import Path
from typing import Literal

from ser_jax.experiment import start_function


def class_distribution(
    corpora: tuple[str, ...] = (),
    data_dir: Path | None = None,
    label_rule: Literal["footnote", "table1"] = "footnote",
    tasks: tuple[str, ...] = (),
    json: bool = False,
) -> int:
    """Print the counts; return the exit status.

    Args:
      corpora: prepared, with or without recordings; by default the paper's, as far as they are prepared.
      data_dir: folder of prepared corpora; the default of `ser-jax prepare`.
      label_rule: annotation to class.
      tasks: further tasks whose classes are counted.
      json: print JSON instead of tables.
    """
    from ser_jax.report import corpora as tables
    from ser_jax.tasks import task

    every = tables.prepared(corpora, data_dir)
    compared = [tables.class_counts(facts, label_rule, list(map(task, tasks))) for facts in every]
    if json:
        each = zip(every, compared, strict=True)
        print(dumps([tables.about(facts) | {"counts": rows} for facts, rows in each], indent=2))
    else:
        print(f"label rule {label_rule}\n")
        print("\n\n".join(map(tables.counts_table, every, compared)))
    return int(any(row["verdict"] == "different" for rows in compared for row in rows))


if __name__ == "__main__":
    start_function(class_distribution, __doc__)
