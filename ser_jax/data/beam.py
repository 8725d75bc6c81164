"""Preparing on an engine that somebody runs already: the same records, made by Apache Beam.

tfds hands each shard of the dataset to Beam as one piece of work. All workers, and the process that started
them, must see the recordings and the data directory under the same paths.
"""

import contextlib
import dataclasses
import functools
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import extract
from ser_jax.data.extract import Flaw, Record
from ser_jax.data.logmel import Filters, filterbank
from ser_jax.data.utterance import Utterance
from ser_jax.errors import UserError

if TYPE_CHECKING:
    from tensorflow_datasets.download import DownloadConfig

_OPTION = re.compile(r"(--)?[A-Za-z]\w*(=.*)?", re.DOTALL)
FLAWS = "flaws-{:05d}.json"


class BeamError(UserError):
    """An engine that is not there, or that failed."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """Which of Beam's runners, and how it is told what to do.

    Attributes:
      runner: as Beam names it, "DirectRunner" or "FlinkRunner".
      options: Beam's own, each "name=value" or "name".
    """

    runner: str
    options: tuple[str, ...] = ()

    def download_config(self, **others: Any) -> "DownloadConfig":
        """What tfds is to be given.

        Raises: BeamError where Beam is not installed, or has no such runner.
        """
        try:
            import apache_beam
        except ImportError as error:
            raise BeamError(
                f"--beam-runner {self.runner} needs apache-beam ({error}), expected the extra: "
                'pip install "ser_jax[beam]"'
            ) from error
        import tensorflow_datasets as tfds
        from apache_beam.runners.portability.portable_runner import PortableRunner

        odd = [option for option in self.options if not _OPTION.fullmatch(option)]
        if odd:
            raise BeamError(f"--beam-options hold {odd[0]!r}, expected each as name=value")
        if any(option.removeprefix("--").startswith("runner=") for option in self.options):
            raise BeamError("--beam-options name a runner, expected it as --beam-runner alone")
        try:
            runner = apache_beam.runners.runner.create_runner(self.runner)
            if not isinstance(runner, apache_beam.runners.PipelineRunner):
                raise ValueError("it is something else")
        except Exception as error:  # whatever is named is imported and called
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise BeamError(
                f"no Beam runner {self.runner!r} ({reason}), expected one like DirectRunner"
            ) from error
        flags = [f"--{option.removeprefix('--')}" for option in self.options]
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):  # argparse's, with Beam's whole usage
                options = apache_beam.options.pipeline_options.PipelineOptions(flags)
                known = options.get_all_options()
                asked = options.get_all_options(retain_unknown_options=True)
        except SystemExit as error:
            reason = complaint.getvalue().strip().rpartition("error: ")[2] or "not understood"
            raise BeamError(f"--beam-options: {reason}, expected options of Beam's") from error
        unknown = sorted(asked.keys() - known.keys())
        if unknown and not isinstance(runner, PortableRunner):  # whose engine has options of its own
            raise BeamError(
                f"--beam-options: {self.runner} knows no {', '.join(unknown)}, expected options of Beam's"
            )
        return tfds.download.DownloadConfig(beam_runner=self.runner, beam_options=options, **others)

    def failed(self, error: Exception) -> BeamError:
        """One sentence of what ended it, which Beam says last, below the traceback of the worker."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        return BeamError(f"{self.runner} failed ({reason}), expected it to finish")


@dataclasses.dataclass(frozen=True)
class Shard:
    """The records of some utterances, made in whatever process Beam calls this.

    Attributes:
      utterances: in order.
      filters: see `logmel.filterbank`; carried along, for workers have no librosa loaded.
      flaws: where to leave what is wrong with the others.
    """

    utterances: Sequence[Utterance]
    filters: Filters
    flaws: Path

    def __call__(self) -> Iterator[tuple[str, Record]]:
        """(id, record) of each that has no flaw, as tfds wants them."""
        flawed = []
        for record in map(functools.partial(extract.record, filters=self.filters), self.utterances):
            if isinstance(record, Flaw):
                flawed.append(dataclasses.asdict(record) | {"path": str(record.path)})
            else:
                yield record["id"], record
        self.flaws.write_text(json.dumps(flawed), encoding="utf-8")


def shards(utterances: Sequence[Utterance], size: int, folder: Path) -> list[Shard]:
    """Divides utterances into pieces of work; paths are made absolute, for workers may stand elsewhere.

    Args:
      folder: of the dataset.
    """
    filters = filterbank()
    anywhere = [dataclasses.replace(one, path=one.path.absolute()) for one in utterances]
    return [
        Shard(anywhere[first : first + size], filters, folder.absolute() / FLAWS.format(number))
        for number, first in enumerate(range(0, len(anywhere), size))
    ]


def collect(folder: Path, shards: int) -> tuple[list[Flaw], list[int]]:
    """Takes what the shards of a finished pipeline left beside their records.

    Returns: (what is wrong, in the utterances' order; how many records each shard holds). tfds sorts the
      latter as text, so that shard 10 follows shard 1; this is their true order.
    """
    flaws = []
    for number in range(shards):
        file = folder / FLAWS.format(number)
        flaws += [Flaw(**row | {"path": Path(row["path"])}) for row in json.loads(file.read_text("utf-8"))]
        file.unlink()
    (infos,) = folder.glob("*.shard_infos.json")
    counted = json.loads(infos.read_text())
    infos.unlink()
    return flaws, [counted[str(number)] for number in range(shards)]
