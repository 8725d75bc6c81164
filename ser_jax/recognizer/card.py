"""The model card: a README.md with the header that model hubs read, and what people should know."""

import json
from collections.abc import Iterable
from typing import Any

from ser_jax.recognizer.trained import TARGETS, Trained

SYNTHETIC = """**This is a demonstration.** It was trained on synthetic speech, whose classes a program made
up. Its predictions for people's voices mean nothing.

"""
CARD = """---
{header}
---

# {name}

{synthetic}Predicts from 7.5 s of speech ({classes}). There are {networks} per target, trained from
different seeds: the mean of their outputs is the probability, their standard deviation the spread. The
network is that of Neumann & Vu, “Cross-lingual and Multilingual Speech Emotion Recognition on English
and French” (ICASSP 2018), on 26 log-mel bands.

## Use

```
ser-jax predict --model path/to/this/folder speech.wav
```

```python
from ser_jax.recognizer import Recognizer

recognition = Recognizer.load("path/to/this/folder")("speech.wav")
print(recognition.targets)
```

## Training

{epochs}, label rule `{rule}`; features are standardized by the training utterances. No network was
trained on the held-out speakers: they set the temperature of the probabilities, and all measurements
below are on them.

{corpora}

## Measured on the held-out speakers

The probabilities of each speaker are calibrated on the other speakers alone. Unweighted average recall
(UAR; 50 is chance) of the whole recogniser, with its 95 % interval over speakers, and of single seeds.
Log loss (0.693 is chance) and calibration error, the distance of probabilities from frequencies, before
and after calibration; the last column is the error that a perfect recogniser would show on so few
utterances.

{quality}

UAR, % (log loss) of the same utterances cut short, and made louder and softer:

{variants}

## Limits

It was trained on certain speakers, microphones, levels and languages ({languages}). It may be wrong
about speech that was recorded otherwise, or is louder or softer, and its spread may be small even then.
Acted emotions differ from felt ones. Do not use it to make
decisions about people.

Made by ser_jax {version}. Licences of the corpora may restrict the use of models trained on them.
"""


def card(trained: Trained, metrics: dict[str, Any]) -> str:
    """Return the card of a recogniser as Markdown.

    Args:
      trained: the recogniser.
      metrics: as `train.fit` returns them.
    """
    facts = trained.facts
    languages = sorted({name for corpus in facts["corpora"] for name in corpus["languages"]})
    quality = ["target", "UAR, %", "single seeds", "log loss before", "after", "error, % before", "after"]
    first = next(iter(metrics.values()))
    variants = ["", *(f"{cut} s" for cut in first["seconds"]), *first["louder"]]
    return CARD.format(
        header=_header(trained, metrics, languages),
        name=facts["name"],
        synthetic=SYNTHETIC if facts["synthetic"] else "",
        classes="; ".join(f"{name}: {' or '.join(TARGETS[name].class_names)}" for name in trained.targets),
        networks=_counted(facts["seeds"], "attentive CNN"),
        epochs=_counted(facts["epochs"], "epoch"),
        rule=facts["label_rule"],
        corpora=_table(["corpus", "language", "trained on", "held out"], map(_corpus, facts["corpora"])),
        quality=_table([*quality, "perfect"], (_quality(target, own) for target, own in metrics.items())),
        variants=_table(variants, (_variants(target, own) for target, own in metrics.items())),
        languages=", ".join(languages),
        version=facts["ser_jax"],
    )


def _header(trained: Trained, metrics: dict[str, Any], languages: list[str]) -> str:
    """Return YAML whose values are written as JSON, which YAML includes."""
    facts = trained.facts
    corpora = ", ".join(corpus["name"] for corpus in facts["corpora"])
    results = [
        {
            "task": {"type": "audio-classification", "name": f"speech emotion recognition, {target}"},
            "dataset": {"type": corpora, "name": f"{corpora}, held-out speakers"},
            "metrics": [{"type": "recall", "name": "unweighted average recall", "value": own["uar"]}],
        }
        for target, own in metrics.items()
    ]
    header = {
        "language": [name for name in languages if name != "unknown"],
        "library_name": "ser_jax",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", *trained.targets, *(["synthetic"] * facts["synthetic"])],
        "metrics": ["recall"],
        "model-index": [{"name": facts["name"], "results": results}],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in header.items())


def _table(heads: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


def _corpus(corpus: dict[str, Any]) -> list[str]:
    sizes = (
        ", ".join(_counted(corpus[part][f"{thing}s"], thing) for thing in ("utterance", "speaker"))
        for part in ("training", "held_out")
    )
    name = corpus["name"] + (" (synthetic)" if corpus["synthetic"] else "")
    return [name, ", ".join(corpus["languages"]), *sizes]


def _quality(target: str, own: dict[str, Any]) -> list[str]:
    (low, high), before = map(_percent, own["uar_interval"]), own["uncalibrated"]
    return [
        target,
        f"{_percent(own['uar'])} ({low} to {high})",
        f"{_percent(min(own['uar_seeds']))} to {_percent(max(own['uar_seeds']))}",
        f"{before['log_loss']:.3f}",
        f"{own['log_loss']:.3f}",
        _percent(before["calibration_error"]),
        _percent(own["calibration_error"]),
        _percent(own["calibration_error_of_a_perfect_one"]),
    ]


def _variants(target: str, own: dict[str, Any]) -> list[str]:
    every = [*own["seconds"].values(), *own["louder"].values()]
    return [target, *(f"{_percent(one['uar'])} ({one['log_loss']:.2f})" for one in every)]


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
