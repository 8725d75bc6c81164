"""What is wrong with a database, and what to know before relying on it.

    found = audit.audit("emodb", "EmoDB")
    print(audit.table(found))

Every recording is decoded to its end, nothing is built. What `prepare` would refuse is an error here; the
rest may be as intended, or a trap. One trap is loudness: shouting is loud, so some of it is emotion, but if
everybody is equally far from the microphone, a network needs to learn nothing else, and fails on the next
corpus, whose recordings were normalised.
"""

import collections
import dataclasses
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ser_jax.data import audio, databases, labels
from ser_jax.data.corpus import Facts
from ser_jax.data.extract import Flaw
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.data.utterance import Catalog, Utterance
from ser_jax.data.workers import how_many, in_order
from ser_jax.errors import one_line
from ser_jax.features import LogMel

SECONDS = LogMel().seconds
SILENT = 1e-3  # of full scale, -60 dB: no sample of a silent utterance is above
FULL = 0.999  # of full scale: clipped samples reach it
FULL_BY_CODING = {"PCM_U8": 0.99, "PCM_S8": 0.99, "ULAW": 0.98, "ALAW": 0.98}  # their largest are smaller
RUN = 3  # samples in a row at full scale; a peak-normalised recording has one or two
TRAP = 0.75  # UAR of loudness alone
SHOWN = 5  # findings of a line that the table names

LINES = {  # line of the report to its severity and meaning
    "missing": ("error", "a label without its recording"),
    "undecodable": ("error", "not audio, truncated, or at odds with its own header"),
    "non-finite": ("error", "NaN, infinite or absurdly large samples"),
    "too short": ("error", "less than one frame of 25 ms"),
    "outside": ("error", "a segment that does not lie within its file"),
    "damaged tail": ("warning", f"undecodable or not finite after the first {SECONDS} s, which are used"),
    "silent": ("warning", f"no sample of the first {SECONDS} s, which are used, above -60 dB of full scale"),
    "clipped": ("warning", f"{RUN} or more samples in a row at full scale"),
    "duplicate": ("warning", "the same samples as another utterance"),
    "unlabelled": ("warning", "a recording or turn without a label"),
    "one class": ("warning", "a speaker with one class only"),
    "loudness": ("warning", f"the level alone separates the classes (UAR of {TRAP:.0%} or more)"),
    "long": ("remark", f"longer than {SECONDS} s; the rest is not used"),
}


class Finding(NamedTuple):
    """What was found: the file or the speaker, and the reason in words."""

    what: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What decoding an utterance shows; `flaw` alone if its recording is unusable.

    Attributes:
      flaw: why `prepare` would refuse it.
      tail: what is wrong after the part that is used.
      seconds: its duration.
      rate, channels, encoding: of its file; Hz.
      level: of the part that is used, as a root mean square, dB of full scale.
      peak: of the part that is used, of full scale.
      clipped: runs of `RUN` samples at full scale, overlapping ones counted, all channels.
      digest: of all its samples.
    """

    flaw: Flaw | None = None
    tail: str = ""
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    encoding: str = ""
    level: float = -np.inf
    peak: float = 0.0
    clipped: int = 0
    digest: str = ""


class Separation(NamedTuple):
    """How well level separates two classes; NaN if a class is empty.

    Attributes:
      auc: the probability that an utterance of class 1 is louder than one of class 0, ties counted half.
      auc_within: the same after subtracting each speaker's mean level.
      uar: the UAR of the best threshold, in either direction, found on these very utterances.
      counts: utterances of class 0 and of class 1.
    """

    auc: float
    auc_within: float
    uar: float
    counts: tuple[int, int]

    @property
    def trap(self) -> bool:
        """Whether a network could do well by level alone, and 99 of 100 meaningless levels would do worse."""
        low, high = self.counts
        chance = 0.5 + 1.63 / 2 * math.sqrt((low + high) / (low * high)) if low and high else math.inf
        return self.uar >= max(TRAP, chance)  # chance: Kolmogorov-Smirnov

    def in_words(self, second: str) -> str:
        """Return the separation as text, the second class by its name."""
        if not all(self.counts):
            return "one class only" if any(self.counts) else "not annotated"
        return (
            f"UAR {self.uar:.1%} by the best threshold, {second} being "
            f"{'louder' if self.auc > 0.5 else 'quieter'} "
            f"(AUC {self.auc:.2f}, within speakers {self.auc_within:.2f})"
        )


@dataclasses.dataclass(frozen=True)
class Audit:
    """Everything found.

    Attributes:
      source: what was read.
      catalog: its utterances.
      facts: the same as arrays, in the same order; named after the database.
      measurements: of each utterance, in their order.
      findings: of each line, in the order of `LINES`; may be none.
      loudness: dimension to how well the level alone separates its classes.
    """

    source: Path
    catalog: Catalog
    facts: Facts
    measurements: tuple[Measurement, ...]
    findings: dict[str, list[Finding]]
    loudness: dict[str, Separation]

    @property
    def errors(self) -> int:
        """How many findings `prepare` would refuse."""
        return sum(len(self.findings[line]) for line, (severity, _) in LINES.items() if severity == "error")

    @property
    def refused(self) -> bool:
        """Whether `prepare` would refuse it."""
        return self.errors > 0


def audit(database: str, source: Path | str, workers: int | None = None, **options: Any) -> Audit:
    """Read a database's labels and decode all of its recordings to their ends.

    Args:
      database, source, options: see `databases.read`.
      workers: processes that decode; all cores by default.
    Raises: as `databases.read`, if not even the labels can be read; WorkerError.
    """
    workers = how_many(workers)
    catalog = databases.read(database, source, **options)
    facts = Facts.of(database, database, catalog)
    measurements = tuple(in_order(measure, catalog.utterances, workers, "decoding"))
    level = np.array([found.level for found in measurements])
    loudness = {}
    findings: dict[str, list[Finding]] = {line: [] for line in LINES}
    for line, finding in _of_utterances(catalog.utterances, measurements):
        findings[line].append(finding)
    findings["duplicate"] += _duplicates(catalog.utterances, measurements)
    findings["unlabelled"] += map(Finding, catalog.unlabelled)
    for dimension, names in CLASS_NAMES.items():
        classes = labels.classes(facts, dimension)
        for speaker in np.unique(facts.speaker):
            own = np.unique(classes[(facts.speaker == speaker) & (classes >= 0)])
            if len(own) == 1:
                findings["one class"].append(Finding(speaker, f"{dimension} always {names[own[0]]}"))
        usable = np.isfinite(level) & (classes >= 0)
        loudness[dimension] = separation(level[usable], classes[usable], facts.speaker[usable])
        if loudness[dimension].trap:
            findings["loudness"].append(Finding(dimension, loudness[dimension].in_words(names[1])))
    return Audit(Path(source), catalog, facts, measurements, findings, loudness)


def measure(utterance: Utterance) -> Measurement:
    """Decode the part that features are made of, as `prepare` does, and then all of it.

    Flaws of the recording are not raised but returned, as `Measurement.flaw` or `Measurement.tail`.
    """
    try:
        used, _ = audio.read(utterance.path, utterance.start, utterance.stop, SECONDS)
    except audio.AudioError as error:
        return Measurement(flaw=Flaw.of(utterance, error))
    power = float(np.mean(used**2))
    digest, clipped, tail = hashlib.blake2b(digest_size=16), 0, ""
    with audio.opened(utterance.path, utterance.start, utterance.stop) as sound:
        digest.update(f"{sound.rate} {sound.channels}".encode())
        before, full = np.zeros((0, sound.channels)), FULL_BY_CODING.get(sound.encoding.split()[-1], FULL)
        try:
            for block in sound.blocks():
                digest.update(block.data)
                clipped += _clipped(before, block, full)
                before = np.concatenate([before, block])[-RUN + 1 :]
        except audio.AudioError as error:
            tail = error.reason
    return Measurement(
        tail=tail,
        seconds=sound.seconds,
        rate=sound.rate,
        channels=sound.channels,
        encoding=sound.encoding,
        level=10 * np.log10(power) if power else -np.inf,
        peak=float(np.abs(used).max()),
        clipped=clipped,
        digest=digest.hexdigest(),
    )


def _clipped(before: np.ndarray, block: np.ndarray, full: float) -> int:
    """Count samples of a block that end a run of `RUN` at full scale; `before` are the samples before it."""
    loud = np.abs(np.concatenate([before, block])) >= full
    if len(loud) < RUN or not loud.any():
        return 0
    return int(np.lib.stride_tricks.sliding_window_view(loud, RUN, axis=0).all(axis=-1).sum())


def _of_utterances(
    utterances: Sequence[Utterance], measurements: Sequence[Measurement]
) -> Iterator[tuple[str, Finding]]:
    """Yield (line, finding) of each utterance alone."""
    for utterance, found in zip(utterances, measurements, strict=True):
        what = _what(utterance)
        if found.flaw is not None:
            yield found.flaw.finding, Finding(what, found.flaw.reason)
            continue
        if found.tail:
            yield "damaged tail", Finding(what, found.tail)
        if found.peak <= SILENT:
            yield "silent", Finding(what, f"peak {found.peak:.2g} of full scale")
        if found.clipped:
            yield "clipped", Finding(what, f"{found.clipped:,} runs of {RUN} samples at full scale")
        if found.seconds > SECONDS:
            yield "long", Finding(what, f"{found.seconds:.2f} s")


def _duplicates(utterances: Sequence[Utterance], measurements: Sequence[Measurement]) -> Iterator[Finding]:
    same = collections.defaultdict(list)
    for utterance, found in zip(utterances, measurements, strict=True):
        if found.flaw is None and found.peak > 0:  # digital silence is the same everywhere
            same[found.digest].append(utterance)
    for first, *others in same.values():
        for other in others:
            keys = ("speaker", *CLASS_NAMES)
            differ = [key for key in keys if str(getattr(first, key)) != str(getattr(other, key))]  # NaN too
            reason = f"as {_what(first)}" + (f", but another {' and '.join(differ)}" if differ else "")
            yield Finding(_what(other), reason)


def _what(utterance: Utterance) -> str:
    whole = not utterance.start and utterance.stop is None
    return str(utterance.path) if whole else f"{utterance.path} ({utterance.id})"


def separation(level: np.ndarray, classes: np.ndarray, speaker: np.ndarray) -> Separation:
    """Return how well `level` [N], dB, separates `classes` [N], 0 or 1, given who speaks [N]."""
    counts = (int((classes == 0).sum()), int((classes == 1).sum()))
    if not all(counts):
        return Separation(np.nan, np.nan, np.nan, counts)
    who = np.unique(speaker, return_inverse=True)[1]
    mean = np.bincount(who, level) / np.bincount(who)
    low, high = np.sort(level[classes == 0]), np.sort(level[classes == 1])
    below = (np.searchsorted(values, level, "left") / len(values) for values in (low, high))
    uar = float(0.5 + np.abs(np.subtract(*below)).max() / 2)
    return Separation(_auc(level, classes), _auc(level - mean[who], classes), uar, counts)


def _auc(level: np.ndarray, classes: np.ndarray) -> float:
    low, high = np.sort(level[classes == 0]), level[classes == 1]
    below = (np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")) / 2
    return float(below.mean() / len(low))


def as_dict(audit: Audit) -> dict[str, Any]:
    """Return everything found, as JSON has it; undefined numbers (an empty class's AUC) are None."""
    usable = [found for found in audit.measurements if found.flaw is None]
    paths = [utterance.path for utterance in audit.catalog.utterances]
    pairs = zip(paths, audit.measurements, strict=True)
    recordings = {path: found for path, found in pairs if found.flaw is None}.values()
    return {
        "database": audit.facts.database,
        "source": str(audit.source),
        "synthetic": audit.facts.synthetic,
        "utterances": len(audit.measurements),
        "usable": len(usable),
        "recordings": len(set(paths)),
        "speakers": len(set(audit.facts.speaker)),
        "sessions": len(set(audit.facts.session)),
        "seconds": _spread([found.seconds for found in usable]),
        "level_db": _spread([found.level for found in usable if math.isfinite(found.level)]),
        "sample_rates": _counts(found.rate for found in recordings),
        "channels": _counts(found.channels for found in recordings),
        "encodings": _counts(found.encoding for found in recordings),
        "findings": {
            line: {
                "severity": severity,
                "meaning": meaning,
                "count": len(audit.findings[line]),
                "found": [finding._asdict() for finding in audit.findings[line]],
            }
            for line, (severity, meaning) in LINES.items()
        },
        "classes": _classes_per_speaker(audit.facts),
        "loudness": {
            dimension: {key: None if value != value else value for key, value in found._asdict().items()}
            for dimension, found in audit.loudness.items()
        },
        "refused": audit.refused,
    }


def _classes_per_speaker(facts: Facts) -> dict[str, dict[str, Any]]:
    """Return speaker to sex, utterances, and the size of each dimension's classes by the default rule."""
    found = {}
    for speaker in np.unique(facts.speaker):
        own = facts.speaker == speaker
        found[str(speaker)] = {"sex": str(facts.sex[own][0]), "utterances": int(own.sum())}
    for dimension, names in CLASS_NAMES.items():
        classes = labels.classes(facts, dimension)
        for speaker, counts in found.items():
            own = classes[facts.speaker == speaker]
            counts[dimension] = {name: int((own == index).sum()) for index, name in enumerate(names)}
    return found


def table(audit: Audit) -> str:
    """Return the same as text, with the first findings of each line only."""
    found = as_dict(audit)
    lines = [
        f"{found['database']} in {found['source']}" + ("   SYNTHETIC SPEECH" if found["synthetic"] else ""),
        *(f"  {what:<12} {found[what]:>8,}" for what in ("utterances", "recordings", "speakers", "sessions")),
    ]
    if found["usable"]:
        hours = found["seconds"]["sum"] / 3600
        lines += [
            f"  {'duration':<12} {_range(found['seconds'], 's')}, {hours:.2f} h in all",
            f"  {'level':<12} {_range(found['level_db'], 'dB of full scale')}",
        ]
    for key, unit in (("sample_rates", " Hz"), ("channels", ""), ("encodings", "")):
        counts = ", ".join(f"{value}{unit} ({count:,})" for value, count in found[key].items())
        title = key.replace("_", " ").removesuffix("s") if key != "channels" else key
        lines.append(f"  {title:<12} {counts or 'none could be read'}")
    lines.append("")
    for line, own in found["findings"].items():
        if own["count"]:
            lines.append(f"{own['severity']:<8} {line:<13} {own['count']:>6,}  {own['meaning']}")
        for each in own["found"][:SHOWN]:
            lines.append(f"    {each['what']}" + (f": {each['reason']}" if each["reason"] else ""))
        if own["count"] > SHOWN:
            lines.append(f"    and {own['count'] - SHOWN:,} more (--json names all)")
    if not any(audit.findings.values()):
        lines.append("nothing found: no errors, no warnings")
    width = max(7, *map(len, found["classes"]))
    names = [name for pair in CLASS_NAMES.values() for name in pair]
    lines += ["", f"{'speaker':<{width}} {'sex':<8}" + "".join(f"{name:>10}" for name in names)]
    for speaker, counts in found["classes"].items():
        sizes = [size for dimension in CLASS_NAMES for size in counts[dimension].values()]
        lines.append(f"{speaker:<{width}} {counts['sex']:<8}" + "".join(f"{size:>10,}" for size in sizes))
    lines += ["", "loudness alone, within this database:"]
    lines += [f"  {key:<8} {own.in_words(CLASS_NAMES[key][1])}" for key, own in audit.loudness.items()]
    plural = "" if audit.errors == 1 else "s"
    refused = f"refuse it for {audit.errors:,} error{plural} (--skip-bad leaves out what they name)"
    lines += ["", f"prepare would {refused if audit.refused else 'accept it'}"]
    return "\n".join(map(one_line, lines))


def _counts(values: Iterable[object]) -> dict[str, int]:
    return {str(value): count for value, count in collections.Counter(values).most_common()}


def _spread(values: list[float]) -> dict[str, float | None]:
    names = ("sum", "mean", "min", "median", "max")
    if not values:
        return dict.fromkeys((*names, "std"))
    found: dict[str, float | None] = {name: float(getattr(np, name)(values)) for name in names}
    return found | {"std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0}


def _range(spread: dict[str, float | None], unit: str) -> str:
    if spread["mean"] is None:
        return "silence"
    return (
        f"{spread['mean']:.2f} ± {spread['std']:.2f} {unit}, "
        f"{spread['min']:.2f} to {spread['max']:.2f}, median {spread['median']:.2f}"
    )
