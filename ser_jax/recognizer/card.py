"""The model card: a README.md with the header that model hubs read, and what people should know."""

import json
from typing import Any

from ser_jax.recognizer.trained import TARGETS, Trained

SYNTHETIC = (
    "**This is a demonstration.** It was trained on synthetic speech, whose classes a program made up. What "
    "it says of people's voices means nothing."
)

USE = """## Use

```
ser-jax predict --model path/to/this/folder speech.wav
```

```python
from ser_jax.recognizer import Recognizer

said = Recognizer.load("path/to/this/folder")("speech.wav")
print(said.targets)
```"""


def card(trained: Trained, metrics: dict[str, Any]) -> str:
    """Markdown of a recogniser's folder.

    Args:
      trained: the recogniser.
      metrics: as `fitting.fit` gives them.
    """
    facts = trained.facts
    sections = [
        _header(trained, metrics),
        f"# {facts['name']}",
        *([SYNTHETIC] if facts["synthetic"] else []),
        _what(trained),
        USE,
        _data(facts),
        _measured(metrics),
        _limits(facts),
        _source(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _header(trained: Trained, metrics: dict[str, Any]) -> str:
    """YAML, whose values are written as JSON, which YAML includes."""
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
        "language": [name for name in _languages(facts) if name != "unknown"],
        "library_name": "ser_jax",
        "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", *trained.targets, *(["synthetic"] * facts["synthetic"])],
        "metrics": ["recall"],
        "model-index": [{"name": facts["name"], "results": results}],
    }
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in header.items()), "---"])


def _what(trained: Trained) -> str:
    facts = trained.facts
    classes = "; ".join(f"{target}: {' or '.join(TARGETS[target].class_names)}" for target in trained.targets)
    return (
        f"Tells from 7.5 s of speech ({classes}). {_counted(facts['seeds'], 'attentive CNN')} a target, each "
        "trained from another seed: their mean is the probability, their deviation the spread. The "
        "network is that of Neumann & Vu, “Cross-lingual and Multilingual Speech Emotion Recognition on "
        "English and French” (ICASSP 2018), on 26 log-mel bands."
    )


def _data(facts: dict[str, Any]) -> str:
    lines = [
        "## Training",
        "",
        f"{_counted(facts['epochs'], 'epoch')}, label rule `{facts['label_rule']}`; features are brought to "
        "the mean and deviation of the training utterances. The held-out speakers were heard by no network: "
        "they set the temperature of the probabilities, and are what is measured below.",
        "",
        "| corpus | language | trained on | held out |",
        "|---|---|---|---|",
    ]
    for corpus in facts["corpora"]:
        training, held_out = (
            ", ".join(_counted(corpus[part][f"{thing}s"], thing) for thing in ("utterance", "speaker"))
            for part in ("training", "held_out")
        )
        name = corpus["name"] + (" (synthetic)" if corpus["synthetic"] else "")
        lines.append(f"| {name} | {', '.join(corpus['languages'])} | {training} | {held_out} |")
    return "\n".join(lines)


def _measured(metrics: dict[str, Any]) -> str:
    return "\n".join(
        [
            "## Measured on the held-out speakers",
            "",
            "What is said of a speaker is calibrated by the other speakers alone. Unweighted average recall "
            "(UAR; 50 is chance) of the whole recogniser, with its 95 % interval over speakers, and of "
            "single seeds. Log loss (0.693 is guessing) and calibration error, how far probabilities are "
            "from frequencies, before and after calibration; of so few utterances a perfect recogniser would "
            "show the error of the last column.",
            "",
            "| target | UAR, % | single seeds | log loss before | after | error, % | after | perfect |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(target, own) for target, own in metrics.items()),
            "",
            "UAR, % (log loss) of the same utterances cut short, and made louder and softer:",
            "",
            *_variations(metrics),
        ]
    )


def _row(target: str, own: dict[str, Any]) -> str:
    low, high = own["uar_interval"]
    before = own["uncalibrated"]
    return (
        f"| {target} | {_percent(own['uar'])} ({_percent(low)} to {_percent(high)}) | "
        f"{_percent(min(own['uar_seeds']))} to {_percent(max(own['uar_seeds']))} | "
        f"{before['log_loss']:.3f} | {own['log_loss']:.3f} | {_percent(before['calibration_error'])} | "
        f"{_percent(own['calibration_error'])} | {_percent(own['calibration_error_of_a_perfect_one'])} |"
    )


def _variations(metrics: dict[str, Any]) -> list[str]:
    first = next(iter(metrics.values()))
    heads = [*(f"{cut} s" for cut in first["seconds"]), *first["louder"]]
    rows = []
    for target, own in metrics.items():
        every = [*own["seconds"].values(), *own["louder"].values()]
        cells = [f"{_percent(one['uar'])} ({one['log_loss']:.2f})" for one in every]
        rows.append(f"| {target} | {' | '.join(cells)} |")
    return [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|", *rows]


def _limits(facts: dict[str, Any]) -> str:
    languages = _languages(facts)
    return (
        "## Limits\n\n"
        f"It knows the speakers, microphones, levels and languages ({', '.join(languages)}) that it was "
        "trained on. Speech recorded otherwise, or louder or softer, may be judged wrongly, with a small "
        "spread: seeds agree on what they all have never heard. Emotions that were acted are not those that "
        "are felt. Do not decide about people by it."
    )


def _source(facts: dict[str, Any]) -> str:
    return (
        f"Made by ser_jax {facts['ser_jax']}. Licences of the corpora may restrict the use of models trained "
        "on them."
    )


def _languages(facts: dict[str, Any]) -> list[str]:
    return sorted({name for corpus in facts["corpora"] for name in corpus["languages"]})


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
