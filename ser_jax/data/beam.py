"""Preparing on an Apache Beam engine, to the same bytes.

tfds gives each shard of the dataset to Beam as one piece of work. All workers, and the process that started
them, must reach the recordings and the data directory under the same paths.
"""

import contextlib
import dataclasses
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import extract
from ser_jax.data.extract import Flaw, Record
from ser_jax.data.utterance import Utterance
from ser_jax.errors import UserError
from ser_jax.features import Frontend

if TYPE_CHECKING:
    from tensorflow_datasets.download import DownloadConfig

_OPTION = re.compile(r"(--)?[A-Za-z]\w*(=.*)?", re.DOTALL)
FLAWS = "flaws-{:05d}.json"


class BeamError(UserError):
    """An engine that is not available, or that failed."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """One of Beam's runners, as in "FlinkRunner", and Beam's options, each "name=value" or "name"."""

    runner: str
    options: tuple[str, ...] = ()

    def download_config(self, **others: Any) -> "DownloadConfig":
        """Return the configuration with which tfds prepares on this engine.

        Raises: BeamError if Beam is not installed, has no such runner, or does not know an option.
        """
        try:
            import apache_beam
        except ImportError as error:
            raise BeamError(
                f"--beam-runner {self.runner} needs apache-beam ({error}), expected the extra: "
                'pip install "ser_jax[beam]"'
            ) from error
        import tensorflow_datasets as tfds
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.portability.portable_runner import PortableRunner

        for option in self.options:
            if not _OPTION.fullmatch(option):
                raise BeamError(f"--beam-options hold {option!r}, expected each as name=value")
            if option.removeprefix("--").startswith("runner="):
                raise BeamError("--beam-options name a runner, expected it as --beam-runner alone")
        try:
            runner = apache_beam.runners.runner.create_runner(self.runner)
            if not isinstance(runner, apache_beam.runners.PipelineRunner):
                raise ValueError("it is something else")
        except Exception as error:  # whatever is named is imported and called
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            sentence = f"no Beam runner {self.runner!r} ({reason}), expected one like DirectRunner"
            raise BeamError(sentence) from error
        complaint = io.StringIO()
        try:
            with contextlib.redirect_stderr(complaint):  # argparse's, with Beam's whole usage
                options = PipelineOptions([f"--{option.removeprefix('--')}" for option in self.options])
                unknown = options.get_all_options(retain_unknown_options=True).keys()
                unknown -= options.get_all_options().keys()
        except SystemExit as error:
            reason = complaint.getvalue().strip().rpartition("error: ")[2] or "not understood"
            raise BeamError(f"--beam-options: {reason}, expected options of Beam's") from error
        if unknown and not isinstance(runner, PortableRunner):  # whose engine has options of its own
            names = ", ".join(sorted(unknown))
            raise BeamError(f"--beam-options: {self.runner} knows no {names}, expected options of Beam's")
        return tfds.download.DownloadConfig(beam_runner=self.runner, beam_options=options, **others)

    def failed(self, error: Exception) -> BeamError:
        """Return one sentence for an error of the engine: Beam gives the reason last, below a traceback."""
        lines = str(error).split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), type(error).__name__)
        return BeamError(f"{self.runner} failed ({reason}), expected it to finish")


@dataclasses.dataclass(frozen=True)
class Shard:
    """The records of some utterances, made in whatever process Beam calls this."""

    utterances: Sequence[Utterance]
    frontend: Frontend
    flaws: Path  # file for what is wrong with the others

    def __call__(self) -> Iterator[tuple[str, Record]]:
        """Yield (id, record) of each utterance without a flaw."""
        flawed = []
        for utterance in self.utterances:
            record = extract.record(utterance, self.frontend)
            if isinstance(record, Flaw):
                flawed.append(dataclasses.asdict(record) | {"path": str(record.path)})
            else:
                yield record["id"], record
        self.flaws.write_text(json.dumps(flawed), encoding="utf-8")


def shards(utterances: Sequence[Utterance], frontend: Frontend, size: int, folder: Path) -> list[Shard]:
    """Divide utterances into shards of `size` for a dataset's folder."""
    frontend = extract.ready(frontend)
    # Workers have another working directory.
    absolute = [dataclasses.replace(one, path=one.path.absolute()) for one in utterances]
    return [
        Shard(absolute[first : first + size], frontend, folder.absolute() / FLAWS.format(number))
        for number, first in enumerate(range(0, len(absolute), size))
    ]


def collect(folder: Path, shards: int) -> tuple[list[Flaw], list[int]]:
    """Read and remove what the shards of a finished pipeline left beside their records.

    Returns: (flaws in the utterances' order; the number of records of each shard). tfds sorts the latter as
      text, shard 10 after shard 1; this is their true order.
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
