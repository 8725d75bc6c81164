"""What was found: errors that `prepare` refuses, warnings, remarks."""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_jax.data import databases, labels
from ser_jax.data.audit import loudness
from ser_jax.data.audit.hearing import RUN, Heard, listen
from ser_jax.data.audit.loudness import Separation
from ser_jax.data.corpus import TARGETS, Facts
from ser_jax.data.logmel import SECONDS
from ser_jax.data.utterance import Listing, Utterance
from ser_jax.data.workers import how_many, in_order

SILENT = 1e-3  # of full scale, -60 dB: no sample of a silent utterance is above

ERRORS = {
    "missing": "a label without its recording",
    "undecodable": "not audio, truncated, or at odds with its own header",
    "non-finite": "NaN, infinite or absurdly large samples",
    "too short": "less than one frame of 25 ms",
    "outside": "a segment that does not lie within its file",
}
WARNINGS = {
    "damaged tail": f"undecodable or not finite after the first {SECONDS} s, which are used",
    "silent": f"no sample of what is heard, the first {SECONDS} s, above -60 dB of full scale",
    "clipped": f"{RUN} or more samples in a row at full scale",
    "duplicate": "the same samples as another utterance",
    "unlabelled": "a recording or turn without a label",
    "one class": "a speaker with one class only",
    "loudness": f"the level alone tells the classes apart (UAR of {loudness.TRAP:.0%} or more)",
}
REMARKS = {"long": f"longer than {SECONDS} s; the rest is not heard"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing found of one utterance, recording or speaker.

    Attributes:
      line: a key of `ERRORS`, `WARNINGS` or `REMARKS`.
      what: the file, or the speaker.
      reason: in words.
    """

    line: str
    what: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Audit:
    """Everything found.

    Attributes:
      source: what was read.
      listing: what stands there.
      facts: the same as arrays, in the same order; named after the database.
      heard: of each utterance, in their order.
      findings: by line, in the order of `ERRORS`, `WARNINGS`, `REMARKS`.
      loudness: per target, how well the level alone tells the classes apart.
    """

    source: Path
    listing: Listing
    facts: Facts
    heard: tuple[Heard, ...]
    findings: tuple[Finding, ...]
    loudness: dict[str, Separation]

    @property
    def refused(self) -> bool:
        """Whether `prepare` would refuse it."""
        return any(finding.line in ERRORS for finding in self.findings)

    def by_line(self) -> dict[str, list[Finding]]:
        """The findings of each line, empty where there are none."""
        return {
            line: [finding for finding in self.findings if finding.line == line]
            for line in (*ERRORS, *WARNINGS, *REMARKS)
        }

    def classes_per_speaker(self) -> dict[str, dict[str, Any]]:
        """Speaker to sex, utterances, and per target the number of each class, by the default rule."""
        classes = {target: labels.classes(self.facts, target) for target in TARGETS}
        found: dict[str, dict[str, Any]] = {}
        for row, utterance in enumerate(self.listing.utterances):
            counts = found.setdefault(
                utterance.speaker,
                {"sex": utterance.sex, "utterances": 0}
                | {target: dict.fromkeys(names, 0) for target, names in labels.CLASS_NAMES.items()},
            )
            counts["utterances"] += 1
            for target, names in labels.CLASS_NAMES.items():
                counts[target][names[classes[target][row]]] += 1
        return dict(sorted(found.items()))


def audit(database: str, source: Path | str, workers: int | None = None, **options: Any) -> Audit:
    """Reads a database's labels and listens to all of its recordings to their ends.

    Args:
      database, source, options: see `databases.read`.
      workers: processes that listen; all cores by default.
    Raises: as `databases.read`, where not even the labels can be read; WorkerError.
    """
    workers = how_many(workers)
    listing = databases.read(database, source, **options)
    facts = Facts.of(database, database, listing)
    heard = tuple(in_order(listen, listing.utterances, workers, "listening"))
    separation = _loudness(facts, heard)
    findings = [
        *_of_utterances(listing.utterances, heard),
        *_duplicates(listing.utterances, heard),
        *(Finding("unlabelled", place) for place in listing.unlabelled),
        *_one_class(facts),
        *(
            Finding("loudness", target, found.in_words(labels.CLASS_NAMES[target][1]))
            for target, found in separation.items()
            if found.trap
        ),
    ]
    order = [*ERRORS, *WARNINGS, *REMARKS]
    findings.sort(key=lambda finding: order.index(finding.line))
    return Audit(Path(source), listing, facts, heard, tuple(findings), separation)


def _of_utterances(utterances: Sequence[Utterance], heard: Sequence[Heard]) -> Iterator[Finding]:
    for utterance, one in zip(utterances, heard, strict=True):
        what = _what(utterance)
        if one.flaw is not None:
            yield Finding(one.flaw.finding, what, one.flaw.reason)
            continue
        if one.tail:
            yield Finding("damaged tail", what, one.tail)
        if one.peak <= SILENT:
            yield Finding("silent", what, f"peak {one.peak:.2g} of full scale")
        if one.clipped:
            yield Finding("clipped", what, f"{one.clipped:,} runs of {RUN} samples at full scale")
        if one.seconds > SECONDS:
            yield Finding("long", what, f"{one.seconds:.2f} s")


def _duplicates(utterances: Sequence[Utterance], heard: Sequence[Heard]) -> Iterator[Finding]:
    same = collections.defaultdict(list)
    for utterance, one in zip(utterances, heard, strict=True):
        if one.flaw is None and one.peak > 0:  # digital silence is the same everywhere
            same[one.digest].append(utterance)
    for first, *others in same.values():
        for other in others:
            differ = [key for key in ("speaker", *TARGETS) if getattr(first, key) != getattr(other, key)]
            reason = f"as {_what(first)}" + (f", but another {' and '.join(differ)}" if differ else "")
            yield Finding("duplicate", _what(other), reason)


def _what(utterance: Utterance) -> str:
    if utterance.start or utterance.stop is not None:
        return f"{utterance.path} ({utterance.id})"
    return str(utterance.path)


def _one_class(facts: Facts) -> Iterator[Finding]:
    for target in TARGETS:
        classes = labels.classes(facts, target)
        for speaker in np.unique(facts.speaker):
            held = np.unique(classes[facts.speaker == speaker])
            if len(held) == 1:
                yield Finding("one class", speaker, f"{target} always {labels.CLASS_NAMES[target][held[0]]}")


def _loudness(facts: Facts, heard: Sequence[Heard]) -> dict[str, Separation]:
    level = np.array([one.level for one in heard])
    usable = np.isfinite(level)
    return {
        target: loudness.separation(
            level[usable], labels.classes(facts, target)[usable], facts.speaker[usable]
        )
        for target in TARGETS
    }
