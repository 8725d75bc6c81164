"""Find errors in a database, and traps in its recordings.

    found = audit.audit("emodb", "EmoDB")
    print(audit.table(found))

An error is whatever `prepare` would reject; other findings may be intended, or a trap. One trap is loudness:
if all speakers are equally far from the microphone, a network need only learn that shouting is loud, and
fails on the next corpus, whose recordings were normalised. Another is silence before the speech.
"""

import collections
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from ser_jax.data import audio, databases, labels
from ser_jax.data.catalog import Catalog, DatabaseError, Utterance, collected
from ser_jax.data.corpus import Facts
from ser_jax.data.labels import CLASS_NAMES
from ser_jax.data.preparation import Flaw, in_order, worker_count
from ser_jax.errors import beside, one_line
from ser_jax.features import SECONDS, remove_offset
from ser_jax.shapes import Float, Int, Shaped

SILENT = 1e-3  # of full scale, -60 dB: no sample of a silent utterance is above
FULL = 0.999  # of full scale: clipped samples reach it
FULL_BY_CODING = {"PCM_U8": 0.99, "PCM_S8": 0.99, "ULAW": 0.98, "ALAW": 0.98}  # their largest are smaller
RUN = 3  # samples in a row at full scale; a peak-normalised recording has one or two
TRAP = 0.75  # UAR of loudness alone
DIFFERING = ("speaker", *CLASS_NAMES)  # facts in which a duplicate should not differ
SHOWN = 5  # findings of a line that the table names

LINES = {  # line of the report to its severity and meaning
    "labels": ("error", "an unusable label or name of a recording"),
    "missing": ("error", "a label without its recording"),
    "undecodable": ("error", "not audio, truncated, or inconsistent with its header"),
    "non-finite": ("error", "NaN, infinite or absurdly large samples"),
    "unscaled": ("error", "integers stored in a wider type without scaling"),
    "too short": ("error", "less than one frame of 25 ms"),
    "outside": ("error", "a segment that exceeds its file"),
    "damaged tail": ("warning", f"such an error after the first {SECONDS} s, which are used"),
    "silent": ("warning", f"no sample of the first {SECONDS} s, which are used, above -60 dB of full scale"),
    "clipped": ("warning", f"{RUN} or more samples in a row at full scale"),
    "offset": ("warning", "a constant offset, which is removed before the features are computed"),
    "dead channel": ("warning", "a channel 40 dB or more below the loudest; the mean of all is used"),
    "cancelling": ("warning", "channels of opposite polarity, which nearly cancel each other"),
    "duplicate": ("warning", "the same samples as another utterance"),
    "unlabelled": ("warning", "a recording or turn without a label"),
    "one class": ("warning", "a speaker with one class only"),
    "loudness": ("warning", f"the level alone separates the classes (UAR of {TRAP:.0%} or more)"),
    "long": ("remark", f"longer than {SECONDS} s; the rest is not used"),
}


class Measurement(NamedTuple):
    """The results of decoding an utterance; only `findings` if its recording is unusable."""

    findings: list[tuple[str, str]]  # lines of the report and reasons
    level: float = -math.inf  # root mean square of the part that is used, dB of full scale
    digest: str = ""  # of all its samples; "" if the part that is used is digital silence
    seconds: float = 0.0
    format: str = ""  # of its file, as in "WAV PCM_16, 16000 Hz, 1 channel"; "" if it cannot be read


def audit(database: str, source: Path | str, workers: int | None = None, **options: Any) -> dict[str, Any]:
    """Read a database's labels and decode all of its recordings to their ends, by default on all cores.

    Returns: JSON values: counts, levels, `findings` of each of `LINES`, `classes` of each speaker by the
      default rule, `loudness` of each dimension (see `separation`), and whether `prepare` would reject it.
    Raises: DatabaseError if the source is not this database; PrepareError.
    """
    workers = worker_count(workers)
    with collected() as refused:
        try:
            catalog = databases.read(database, source, **options)
        except DatabaseError:
            if not refused:
                raise
            catalog = Catalog((), {})
    facts = Facts.of(database, database, catalog)
    measured = list(in_order(measure_each, catalog.utterances, workers, "decoding"))
    findings: dict[str, list[dict[str, str]]] = {line: [] for line in LINES}

    def note(line: str, what: str, reason: str = "") -> None:
        findings[line].append({"what": what, "reason": reason})

    for sentence in refused:
        note("labels", sentence)
    first: dict[str, Utterance] = {}  # digest of samples to the first utterance that has it
    formats: dict[Path, str] = {}
    for utterance, found in zip(catalog.utterances, measured, strict=True):
        if found.format:
            formats[utterance.path] = found.format
        for line, reason in found.findings:
            hint = line == "missing" and len(findings[line]) < SHOWN  # searching takes time
            note(line, _what(utterance), reason + (beside(utterance.path) if hint else ""))
        if found.digest and (other := first.setdefault(found.digest, utterance)) is not utterance:
            differ = [key for key in DIFFERING if str(getattr(other, key)) != str(getattr(utterance, key))]
            but = f", but another {' and '.join(differ)}" if differ else ""
            note("duplicate", _what(utterance), f"as {_what(other)}{but}")
    for place in catalog.unlabelled:
        note("unlabelled", place)
    level = np.array([found.level for found in measured])
    speakers, rows, sizes = np.unique(facts.speaker, return_index=True, return_counts=True)
    each_speaker = zip(speakers.tolist(), facts.sex[rows].tolist(), sizes.tolist(), strict=True)
    classes: dict[str, Any] = {who: {"sex": sex, "utterances": size} for who, sex, size in each_speaker}
    loudness = {}
    for dimension, names in CLASS_NAMES.items():
        each = labels.classes(facts, dimension)
        for speaker, counts in classes.items():
            spoken = each[facts.speaker == speaker]
            counts[dimension] = {name: int((spoken == index).sum()) for index, name in enumerate(names)}
            present = [name for name, count in counts[dimension].items() if count]
            if len(present) == 1:
                note("one class", speaker, f"{dimension} always {present[0]}")
        valid = np.isfinite(level) & (each >= 0)
        alone = loudness[dimension] = separation(level[valid], each[valid], facts.speaker[valid])
        low, high = alone["counts"]
        # 99 of 100 meaningless levels stay below this UAR (Kolmogorov and Smirnov).
        if low and high and alone["uar"] >= max(TRAP, 0.5 + 1.63 / 2 * math.sqrt(1 / low + 1 / high)):
            note("loudness", dimension, _in_words(alone, names[1]))
    usable = [found for found in measured if found.format]
    return {
        "database": database,
        "source": str(source),
        "synthetic": facts.synthetic,
        "by_emotion": labels.by_emotion(facts),
        "utterances": len(measured),
        "usable": len(usable),
        "recordings": len({utterance.path for utterance in catalog.utterances}),
        "speakers": len(classes),
        "sessions": len(set(facts.session)),
        "seconds": _spread([found.seconds for found in usable]),
        "level_db": _spread([found.level for found in usable if math.isfinite(found.level)]),
        "formats": dict(collections.Counter(formats.values()).most_common()),
        "findings": {
            line: {"severity": severity, "meaning": meaning, "count": len(found), "found": found}
            for (line, (severity, meaning)), found in zip(LINES.items(), findings.values(), strict=True)
        },
        "classes": classes,
        "loudness": loudness,
        "refused": any(findings[line] for line, (severity, _) in LINES.items() if severity == "error"),
    }


def measure_each(utterances: Sequence[Utterance]) -> list[Measurement]:
    """Measure several utterances, as `measure` does."""
    return [measure(utterance) for utterance in utterances]


def measure(utterance: Utterance) -> Measurement:
    """Decode the part used for features, as `prepare` does, and then the whole recording."""
    try:
        used, _ = audio.read(utterance.path, utterance.start, utterance.stop, SECONDS)
    except audio.AudioError as error:
        flaw = Flaw.of(utterance, error)
        return Measurement([(flaw.finding, flaw.reason)])
    used = remove_offset(used)
    power, peak = float(np.mean(used**2)), float(np.abs(used).max())
    findings, clipped, mix, digest = [], 0, audio.Downmix(), hashlib.blake2b(digest_size=16)
    with audio.opened(utterance.path, utterance.start, utterance.stop) as sound:
        digest.update(f"{sound.rate} {sound.channels}".encode())
        full = FULL_BY_CODING.get(sound.encoding.split()[-1], FULL)
        last = np.zeros((0, sound.channels))
        try:
            for block in sound.blocks():
                digest.update(block.data)
                mix(block)
                last = np.concatenate([last, block])
                loud = np.abs(last) >= full
                if len(loud) >= RUN and loud.any():
                    runs = np.lib.stride_tricks.sliding_window_view(loud, RUN, axis=0)
                    clipped += int(runs.all(axis=-1).sum())  # overlapping ones too, in all channels
                last = last[-RUN + 1 :]
        except audio.AudioError as error:
            findings.append(("damaged tail", error.reason))
    if peak <= SILENT:
        findings.append(("silent", f"peak {peak:.2g} of full scale"))
    if clipped:
        findings.append(("clipped", f"{clipped:,} runs of {RUN} samples at full scale"))
    findings += mix.findings()
    if sound.seconds > SECONDS:
        findings.append(("long", f"{sound.seconds:.2f} s"))
    level = 10 * np.log10(power) if power else -math.inf
    same = digest.hexdigest() if peak else ""
    channels = f"{sound.channels} channel{'s' * (sound.channels > 1)}"
    form = f"{sound.encoding}, {sound.rate} Hz, {channels}"
    return Measurement(findings, level, same, sound.seconds, form)


def separation(
    level: Float[np.ndarray, "N"], classes: Int[np.ndarray, "N"], speaker: Shaped[np.ndarray, "N"]
) -> dict[str, Any]:
    """Return how well the level, dB, separates classes 0 and 1.

    Returns: `counts`, utterances of class 0 and of class 1, and, None if one of them is empty,
      auc: the probability that an utterance of class 1 is louder than one of class 0, ties counted half;
      auc_within: the same after subtracting each speaker's mean level;
      uar: the UAR of the best threshold, in either direction, fitted to the same utterances.
    """
    counts = [int((classes == 0).sum()), int((classes == 1).sum())]
    if not all(counts):
        return {"auc": None, "auc_within": None, "uar": None, "counts": counts}
    who = np.unique(speaker, return_inverse=True)[1]
    mean = np.bincount(who, level) / np.bincount(who)
    below = [np.searchsorted(np.sort(level[classes == i]), level) / count for i, count in enumerate(counts)]

    def auc(values: np.ndarray) -> float:
        ranks = rankdata(values)[classes == 1].sum()
        return float((ranks - counts[1] * (counts[1] + 1) / 2) / (counts[0] * counts[1]))

    uar = float(0.5 + np.abs(below[0] - below[1]).max() / 2)
    return {"auc": auc(level), "auc_within": auc(level - mean[who]), "uar": uar, "counts": counts}


def table(found: dict[str, Any]) -> str:
    """Return what `audit` found as text, with the first findings of each line only."""
    lines = [
        f"{found['database']} in {found['source']}" + ("   SYNTHETIC SPEECH" if found["synthetic"] else ""),
        *(f"  {what:<12} {found[what]:>8,}" for what in ("utterances", "recordings", "speakers", "sessions")),
    ]
    if found["by_emotion"]:
        lines.append("  arousal and valence follow from the emotions")
    for title, key, unit in (("duration", "seconds", "s"), ("level", "level_db", "dB of full scale")):
        if spread := found[key]:
            hours = f", {spread['sum'] / 3600:.2f} h in all" if key == "seconds" else ""
            lines.append(
                f"  {title:<12} {spread['mean']:.2f} ± {spread['std']:.2f} {unit}, {spread['min']:.2f} to "
                f"{spread['max']:.2f}, median {spread['median']:.2f}{hours}"
            )
    formats = ", ".join(f"{form} ({count:,})" for form, count in found["formats"].items())
    lines.append(f"  {'format':<12} {formats or 'none could be read'}")
    lines.append("")
    noted = {line: finding for line, finding in found["findings"].items() if finding["count"]}
    for line, finding in noted.items():
        lines.append(f"{finding['severity']:<8} {line:<13} {finding['count']:>6,}  {finding['meaning']}")
        for each in finding["found"][:SHOWN]:
            lines.append(f"    {each['what']}" + (f": {each['reason']}" if each["reason"] else ""))
        if finding["count"] > SHOWN:
            lines.append(f"    and {finding['count'] - SHOWN:,} more (--json names all)")
    if not noted:
        lines.append("no problems found")
    width = max(7, *map(len, found["classes"]))
    names = [name for pair in CLASS_NAMES.values() for name in pair]
    lines += ["", f"{'speaker':<{width}} {'sex':<8}" + "".join(f"{name:>10}" for name in names)]
    for speaker, counts in found["classes"].items():
        sizes = [size for dimension in CLASS_NAMES for size in counts[dimension].values()]
        lines.append(f"{speaker:<{width}} {counts['sex']:<8}" + "".join(f"{size:>10,}" for size in sizes))
    lines += ["", "loudness alone, within this database:"]
    lines += [f"  {key:<8} {_in_words(it, CLASS_NAMES[key][1])}" for key, it in found["loudness"].items()]
    errors = sum(finding["count"] for finding in noted.values() if finding["severity"] == "error")
    refused = f"reject it for {errors:,} error{'s' * (errors > 1)}"
    if "labels" not in noted:
        refused += " (--skip-bad leaves out the affected recordings)"
    lines += ["", f"prepare would {refused if errors else 'accept it'}"]
    return "\n".join(map(one_line, lines))


def _what(utterance: Utterance) -> str:
    is_file = not utterance.start and utterance.stop is None
    return str(utterance.path) if is_file else f"{utterance.path} ({utterance.id})"


def _in_words(loudness: dict[str, Any], second: str) -> str:
    """Return a separation as text, the second class by its name."""
    if not all(loudness["counts"]):
        return "one class only" if any(loudness["counts"]) else "not annotated"
    return (
        f"UAR {loudness['uar']:.1%} by the best threshold, {second} being "
        f"{'louder' if loudness['auc'] > 0.5 else 'quieter'} "
        f"(AUC {loudness['auc']:.2f}, within speakers {loudness['auc_within']:.2f})"
    )


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    spread = {name: float(getattr(np, name)(values)) for name in ("sum", "mean", "min", "median", "max")}
    return spread | {"std": float(np.std(values, ddof=min(1, len(values) - 1)))}
