"""The recogniser's part of the command line: train, predict, serve, listen, export.

What each needs is imported when it runs, so that the others start without it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ser_jax import ending, flags
from ser_jax.data.labels import CLASS_NAMES, RULES

if TYPE_CHECKING:
    from ser_jax.recognizer import Recognizer

FORMATS = ("onnx", "stablehlo")
MOST = 1_000_000  # epochs, beyond which it is a slip of the pen
Command = Callable[..., argparse.ArgumentParser]


def add(command: Command, add_data_dir: Callable[[argparse.ArgumentParser], None]) -> None:
    """Adds the five commands.

    Args:
      command: (name, example, help=...) to a parser.
      add_data_dir: adds the flag that says where corpora live.
    """
    _add_train(command, add_data_dir)
    _add_predict(command)
    _add_serve(command)
    _add_listen(command)
    _add_export(command)


def _add_train(command: Command, add_data_dir: Callable[[argparse.ArgumentParser], None]) -> None:
    example = "ser-jax train --corpora emodb ravdess --out my-model"
    parser = command("train", example, help="train a recogniser on prepared corpora, and keep it in a folder")
    parser.set_defaults(run=_train)
    add = parser.add_argument
    add("--corpora", nargs="+", required=True, metavar="NAME", help="as given to prepare, one or more")
    add("--out", required=True, type=flags.folder, metavar="MODEL", help="a new folder, or an empty one")
    targets = "of arousal and valence (default: both)"
    add("--targets", nargs="+", choices=CLASS_NAMES, metavar="TARGET", default=list(CLASS_NAMES), help=targets)
    add("--seeds", type=flags.whole(1, 1000), default=5, metavar="N", help="networks a target (default: 5)")
    add("--epochs", type=flags.whole(1, MOST), default=50, metavar="N", help="of training (default: 50)")
    add("--label-rule", choices=RULES, default=RULES[0], help="annotation to class (default: %(default)s)")
    add("--name", help="what to call the model (default: that of the folder)")
    add_data_dir(parser)


def _add_predict(command: Command) -> None:
    example = "ser-jax predict --model my-model speech.wav recordings/ '*.flac'"
    parser = command("predict", example, help="say what a recogniser hears in recordings")
    parser.set_defaults(run=_predict)
    _add_model(parser)
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        type=_typed,
        metavar="FILE",
        help="recordings, folders, patterns; - is a WAV on standard input",
    )
    hop = "from one window of 7.5 s to the next: a multiple of 0.9, 7.2 at most (default: 3.6)"
    add("--hop", type=flags.finite, metavar="S", help=hop)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects, as --schema describes them")
    form.add_argument("--csv", action="store_true", help="a line for each recording and each of its windows")
    add("--schema", action=_Schema, nargs=0, help="print the JSON Schema of an object of --json, and end")
    add("--plot", type=flags.folder, metavar="DIR", help="draw each recording there, with the attention")


def _typed(text: str) -> str:
    """A path left as it was typed, since it may be a pattern."""
    flags.path(text)
    return text


class _Schema(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ser_jax.recognizer import schema

        print(json.dumps(schema(), indent=2))
        parser.exit()


def _add_serve(command: Command) -> None:
    parser = command(
        "serve", "ser-jax serve --model my-model", help="open a page to record or drop speech on"
    )
    parser.set_defaults(run=_serve)
    _add_model(parser)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        metavar="NAME",
        help="to listen on (default: %(default)s, this machine alone)",
    )
    add(
        "--port",
        type=flags.whole(0, 65535),
        default=8000,
        metavar="N",
        help="(default: 8000; 0 for a free one)",
    )
    add(
        "--megabytes",
        type=flags.whole(1, 100_000),
        default=64,
        metavar="N",
        help="that a recording may have (default: 64)",
    )
    add("--no-browser", action="store_true", help="open no browser")


def _add_listen(command: Command) -> None:
    example = "arecord -q -f S16_LE -r 16000 -t wav | ser-jax listen --model my-model -"
    parser = command("listen", example, help="say what is heard right now, every half second")
    parser.set_defaults(run=_listen)
    _add_model(parser)
    add = parser.add_argument
    add("source", nargs="?", type=_standard_input, metavar="-", help="a WAV on standard input, no microphone")
    add(
        "--rate",
        type=flags.whole(1000, 768_000),
        metavar="HZ",
        help="of headerless 16-bit samples of one channel on standard input",
    )
    add("--device", metavar="NAME", help="the microphone (default: the system's)")
    add("--json", action="store_true", help="one JSON object a line")


def _standard_input(text: str) -> str:
    if text != "-":
        raise argparse.ArgumentTypeError(
            f"{text!r}, expected - for standard input; ser-jax predict hears files"
        )
    return text


def _add_export(command: Command) -> None:
    example = "ser-jax export --model my-model --format onnx --out my-model.onnx"
    parser = command("export", example, help="write samples to probabilities as one file, for use elsewhere")
    parser.set_defaults(run=_export)
    _add_model(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="of the file")
    parser.add_argument("--out", required=True, type=_exported, metavar="FILE", help="the file")


def _exported(text: str) -> Path:
    """A file that an export may become: a new one, or one whose name says that it was one before."""
    file = flags.new_file(text)
    endings = [f".{name}" for name in FORMATS]
    if file.exists() and file.suffix not in endings:
        raise argparse.ArgumentTypeError(
            f"{text!r} exists, expected a new file, or one to replace that ends in {' or '.join(endings)}"
        )
    return file


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=flags.folder,
        metavar="MODEL",
        help="a folder that ser-jax train wrote (default: a demonstration, trained on synthetic speech)",
    )


def _recognizer(arguments: argparse.Namespace) -> "Recognizer":
    from ser_jax.recognizer import Recognizer

    ending.at_work()
    recognizer = Recognizer.load(arguments.model)
    if recognizer.is_demonstration:
        print(
            "ser-jax: this model is a demonstration, trained on synthetic speech; what it says of people's "
            "voices means nothing (ser-jax train makes one of your own)",
            file=sys.stderr,
        )
    return recognizer


def _train(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer import making

    ending.at_work()
    metrics = making.make(
        arguments.corpora,
        arguments.out,
        data_dir=arguments.data_dir,
        name=arguments.name,
        targets=tuple(target for target in CLASS_NAMES if target in arguments.targets),
        seeds=arguments.seeds,
        epochs=arguments.epochs,
        label_rule=arguments.label_rule,
    )
    for target, own in metrics.items():
        print(
            f"ser-jax: {target}: UAR {own['uar']:.1%} of {own['utterances']} utterances of {own['speakers']} "
            "speakers held out, 50 % being chance; the model's README.md says more",
            file=sys.stderr,
        )
    print(arguments.out)


def _predict(arguments: argparse.Namespace) -> int:
    from ser_jax.recognizer import predicting

    form = "json" if arguments.json else "csv" if arguments.csv else "text"
    files = predicting.files(arguments.files)
    return predicting.predict(_recognizer(arguments), files, form, arguments.hop, arguments.plot)


def _serve(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer import serving

    recognizer = _recognizer(arguments)
    serving.serve(
        recognizer, arguments.host, arguments.port, arguments.megabytes, opens=not arguments.no_browser
    )


def _listen(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer import listening, microphone
    from ser_jax.recognizer.pipe import StreamError

    if arguments.rate is not None and arguments.source is None:
        raise StreamError("--rate without -, expected standard input to be listened to")
    if arguments.device is not None and arguments.source is not None:
        raise StreamError("--device and -, expected one of them: a microphone or standard input")
    recognizer = _recognizer(arguments)
    if arguments.source is None:
        moments = microphone.moments(recognizer, arguments.device)
    else:
        moments = listening.piped(recognizer, sys.stdin.buffer, arguments.rate)
    for moment in moments:
        line = json.dumps(listening.as_dict(moment)) if arguments.json else listening.line(moment)
        print(line, flush=True)


def _export(arguments: argparse.Namespace) -> None:
    from ser_jax.recognizer import exporting

    exporting.export(_recognizer(arguments), arguments.format, arguments.out)
    print(arguments.out)
