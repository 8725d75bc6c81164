"""Preparing on an Apache Beam engine, to the same bytes.

tfds gives each shard of the dataset to Beam as one piece of work. All workers, and the process that started
them, must reach the recordings and the data directory under the same paths.
"""

import contextlib
import dataclasses
import functools
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_jax.data import extract
from ser_jax.data.extract import Flaw, Record
from ser_jax.data.utterance import Utterance
from ser_jax.errors import UserError
from ser_jax.features import Frontend

if TYPE_CHECKING:
    from tensorflow_datasets.download import DownloadConfig

FLAWS = "flaws-{:05d}.json"


class BeamError(UserError):
    """An engine that is not available, or that failed."""


def download_config(runner: str, options: Sequence[str], **others: Any) -> "DownloadConfig":
    """Return the configuration with which tfds prepares on an engine.

    Args:
      runner: one of Beam's, as in "FlinkRunner".
      options: Beam's own, each "name=value" or "name".
      others: of the configuration.
    Raises: BeamError if Beam is not installed, has no such runner, or refuses an option.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.portability.portable_runner import PortableRunner
    except ImportError as error:
        raise BeamError(
            f"--beam-runner {runner} needs apache-beam ({error}), expected the extra: "
            'pip install "ser_jax[beam]"'
        ) from error
    import tensorflow_datasets as tfds

    for option in options:
        if not re.fullmatch(r"(--)?[A-Za-z]\w*(=.*)?", option, re.DOTALL):
            raise BeamError(f"--beam-options hold {option!r}, expected each as name=value")
        if option.removeprefix("--").startswith("runner="):
            raise BeamError("--beam-options name a runner, expected it as --beam-runner alone")
    complaint = io.StringIO()
    try:
        engine = apache_beam.runners.runner.create_runner(runner)
        with contextlib.redirect_stderr(complaint):  # argparse's, with Beam's whole usage
            beam_options = PipelineOptions([f"--{option.removeprefix('--')}" for option in options])
            unknown = beam_options.get_all_options(retain_unknown_options=True).keys()
            unknown -= beam_options.get_all_options().keys()
    except Exception as error:  # whatever is named is imported and called
        raise BeamError(f"no Beam runner {runner!r} ({error}), expected one like DirectRunner") from error
    except SystemExit as error:
        reason = complaint.getvalue().strip().rpartition("error: ")[2]
        raise BeamError(f"--beam-options: {reason}, expected options of Beam's") from error
    if not isinstance(engine, apache_beam.runners.PipelineRunner):
        raise BeamError(f"no Beam runner {runner!r} (it is something else), expected one like DirectRunner")
    if unknown and not isinstance(engine, PortableRunner):  # whose engine has options of its own
        names = ", ".join(sorted(unknown))
        raise BeamError(f"--beam-options: {runner} knows no {names}, expected options of Beam's")
    return tfds.download.DownloadConfig(beam_runner=runner, beam_options=beam_options, **others)


def failed(runner: str, error: Exception) -> BeamError:
    """Return one sentence for an error of an engine: Beam gives the reason last, below a traceback."""
    *_, reason = str(error).split("\n")
    return BeamError(f"{runner} failed ({reason or type(error).__name__}), expected it to finish")


def shards(
    utterances: Sequence[Utterance], frontend: Frontend, size: int, folder: Path
) -> list[Callable[[], Iterator[tuple[str, Record]]]]:
    """Divide utterances into shards of `size` for a dataset's folder: functions that yield (id, record)."""
    frontend = extract.ready(frontend)
    # Workers have another working directory.
    absolute = [dataclasses.replace(one, path=one.path.absolute()) for one in utterances]
    return [
        functools.partial(
            _records, absolute[first : first + size], frontend, folder.absolute() / FLAWS.format(number)
        )
        for number, first in enumerate(range(0, len(absolute), size))
    ]


def _records(
    utterances: Sequence[Utterance], frontend: Frontend, flaws: Path
) -> Iterator[tuple[str, Record]]:
    """Yield what of a shard can be records, and write what is wrong with the others to a file."""
    flawed = []
    for utterance in utterances:
        record = extract.record(utterance, frontend)
        if isinstance(record, Flaw):
            flawed.append(dataclasses.asdict(record) | {"path": str(record.path)})
        else:
            yield record["id"], record
    flaws.write_text(json.dumps(flawed), encoding="utf-8")


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
