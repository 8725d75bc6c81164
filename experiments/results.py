"""A results folder, read once: what tables, figures and pages are made of."""

import contextlib
import functools
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import keeping, predictions, protocol, summary
from experiments.keeping import Attention, Training
from experiments.kinds import kind
from experiments.pool import LANGUAGE
from experiments.predictions import Cell, ResultsError
from experiments.summary import NAN, Comparison, Row, columns, label
from ser_jax.data.corpus import TARGETS
from ser_jax.inference import holm


class Results:
    """What a folder holds. A file is opened when it is first asked for, and then never again.

    Attributes:
      out: the folder.
      document: its protocol.json.
      said: what the runs of a cell said, by cell; see `predictions.read`.
      training: how the runs of a job were trained, by `Work.name`; see `keeping.read_training`.

    Raises: ResultsError where it has no protocol; and, when it is asked for, where something is damaged.
    """

    def __init__(self, out: Path):
        self.out, self.document = out, protocol.document(out)
        self.said = functools.cache(functools.partial(predictions.read, out))
        self.training = functools.cache(functools.partial(keeping.read_training, out))
        self._row = functools.cache(self._read_row)
        self._difference = functools.cache(lambda *cells: summary.compared(*map(self.said, cells)))

    @property
    def chosen(self) -> dict[str, Any]:
        """The protocol that all was made by."""
        return self.document["protocol"]

    @property
    def tables(self) -> dict[str, list[str]]:
        """The settings of every table that was written."""
        return {name: shown["settings"] for name, shown in self.document["tables"].items()}

    @property
    def names(self) -> list[str]:
        """Of the corpora."""
        return [corpus["name"] for corpus in self.chosen["corpora"]]

    @property
    def synthetic(self) -> list[str]:
        """The corpora that nobody spoke."""
        return [corpus["name"] for corpus in self.chosen["corpora"] if corpus["synthetic"]]

    def title(self, test: str) -> str:
        """A corpus as the tables call it."""
        return {corpus["name"]: summary.title(corpus) for corpus in self.chosen["corpora"]}.get(test, test)

    @functools.cached_property
    def missing(self) -> dict[Cell, str]:
        """The cells that could not be computed, with the reason."""
        return keeping.read_missing(self.out)

    @functools.cached_property
    def attention(self) -> dict[str, Attention]:
        """Where attention lies, by corpus and part; empty where it was not asked."""
        return keeping.read_attention(self.out)

    @functools.cached_property
    def stored(self) -> list[Cell]:
        """The cells whose predictions are there."""
        return [self._cell(file) for file in sorted((self.out / "predictions").glob("*.npz"))]

    def _cell(self, file: Path) -> Cell:
        with contextlib.suppress(ValueError):
            cell = Cell.parse(file.stem)
            if {*cell.trained, *cell.tested} <= set(self.names) and cell.target in (*TARGETS, LANGUAGE):
                return cell
        raise ResultsError(
            f"{file} is no cell of {' and '.join(self.names)}, expected SETTING-TRAIN-TEST-TARGET.npz; "
            "move it elsewhere"
        )

    def cells(self, settings: Sequence[str]) -> list[Cell]:
        """The cells of some settings that are there or known to be missing, in the order of the tables."""

        def place(cell: Cell) -> tuple[int, list[int], list[int], str]:
            trained, tested = (list(map(self.names.index, part)) for part in (cell.trained, cell.tested))
            return settings.index(cell.setting), tested, trained, cell.target

        known = {*self.stored, *self.missing}
        return sorted((cell for cell in known if cell.setting in settings), key=place)

    def rows(self, settings: Sequence[str]) -> list[Row]:
        """Every cell of some settings, from what its runs said."""
        return [self._row(cell) for cell in self.cells(settings)]

    def _read_row(self, cell: Cell) -> Row:
        if cell not in self.stored:
            return Row(*cell, missing=self.missing[cell])
        said, stopped = self.said(cell), self._stops(cell)
        lost = sorted(set(range(self.chosen["seeds"])) - set(said.seed.tolist()))
        if lost and not stopped:
            stopped = f"answers of seed {', '.join(map(str, lost))}, or what they follow from, are no numbers"
        if not len(said.seed):
            return Row(*cell, missing=f"no seed is whole ({stopped})")
        paper = summary.paper_uar(cell, self.chosen["corpora"])
        return summary.row(cell, said)._replace(paper_uar=paper, stopped=stopped)

    def _stops(self, cell: Cell) -> str:
        """Which of a cell's runs were stopped, where; empty where none was, or others made it."""
        for job in keeping.trained(self.out):
            setting, train, tests = job.split("-", 2)
            if (setting, train) == (cell.setting, cell.train) and set(cell.tested) <= set(tests.split("+")):
                return keeping.stops(self.training(job), cell.target)
        return ""

    @property
    def stopped_jobs(self) -> list[str]:
        """The jobs of which runs were stopped, by `Work.name`."""
        return [job for job in keeping.trained(self.out) if self.training(job).stopped[:, 0].any()]

    def comparisons(self, table: list[Row]) -> list[Comparison]:
        """Every setting against the first of its column, and against the one before it.

        p-values are corrected for those of the same column: a question is asked of one corpus and target.
        Combinations that are tuned are not compared, they are chosen among.
        """
        found = []
        there = [row for row in table if not row.missing and not kind(row.setting).sizes]
        for test, target in columns(there):
            column = [row for row in there if (row.test, row.target) == (test, target)]
            neighbours = [(later, former) for former, later in itertools.pairwise(column[1:])]
            pairs = dict.fromkeys([*((row, column[0]) for row in column[1:]), *neighbours])
            own = []
            for one, other in pairs:
                names = label(one, table), label(other, table)
                own.append(Comparison(test, target, *names, *self._difference(one.cell, other.cell), NAN))
            corrected: np.ndarray | list[float] = holm(np.array([c.p for c in own])) if own else []
            found += [c._replace(p_holm=float(p)) for c, p in zip(own, corrected, strict=True)]
        return found

    def curves(self, settings: Iterable[str]) -> dict[str, Training]:
        """How the runs of some settings were trained, but those stopped, by setting and training corpora."""
        order = list(dict.fromkeys(settings))
        jobs = [job.split("-", 2) for job in keeping.trained(self.out)]
        jobs = sorted((job for job in jobs if job[0] in order), key=lambda job: order.index(job[0]))
        starts = [job[:2] for job in jobs]
        return {
            f"{setting} {train}" + (f" > {test}" if starts.count([setting, train]) > 1 else ""): (
                self.training(f"{setting}-{train}-{test}").going()
            )
            for setting, train, test in jobs
        }
