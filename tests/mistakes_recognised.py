"""What can be typed wrong of the recogniser's commands, and the sentence that answers it."""

TRAIN = "train --corpora one two --data-dir pair --out new"

# As `mistakes_typed.USAGE`.
RECOGNISED_USAGE = [
    ("train", "the following arguments are required: --corpora, --out"),
    ("train --corpora --out new", "argument --corpora: expected at least one argument"),
    ("train --corpora one --out ''", "argument --out: '', expected a path"),
    (f"{TRAIN} --seeds 0", "argument --seeds: '0', expected a whole number from 1 to 1,000"),
    (f"{TRAIN} --seeds 5.5", "argument --seeds: '5.5', expected a whole number from 1 to 1,000"),
    (f"{TRAIN} --epochs -1", "argument --epochs: '-1', expected a whole number from 1 to 1,000,000"),
    (f"{TRAIN} --epochs many", "argument --epochs: 'many', expected a whole number from 1 to 1,000,000"),
    (f"{TRAIN} --targets dominance", "argument --targets: invalid choice: 'dominance' (choose from"),
    (f"{TRAIN} --targets arousel", "(choose from arousal, valence); did you mean 'arousal'?"),
    (f"{TRAIN} --targets arousal,valence", "; did you mean arousal valence, separated by blanks?"),
    (f"{TRAIN} --epoch 5", "unrecognized arguments: --epoch; did you mean --epochs?"),
    ("train --corpus one --out new", "unrecognized arguments: --corpus; did you mean --corpora?"),
    (f"{TRAIN} --targets", "argument --targets: expected at least one argument"),
    (f"{TRAIN} --label-rule median", "argument --label-rule: invalid choice: 'median'"),
    (f"{TRAIN} --name", "argument --name: expected one argument"),
    ("predict", "the following arguments are required: FILE"),
    ("predict ''", "argument FILE: '', expected a path"),
    ("predict --hop speech/a.wav", "argument --hop: 'speech/a.wav', expected a finite number"),
    ("predict speech/a.wav --hop nan", "argument --hop: 'nan', expected a finite number"),
    ("predict speech/a.wav --hop inf", "argument --hop: 'inf', expected a finite number"),
    ("predict speech/a.wav --json --csv", "argument --csv: not allowed with argument --json"),
    ("predict speech/a.wav --plot ''", "argument --plot: '', expected a path"),
    ("predict --model '' speech/a.wav", "argument --model: '', expected a path"),
    ("serve --port 65536", "argument --port: '65536', expected a whole number from 0 to 65,535"),
    ("serve --port http", "argument --port: 'http', expected a whole number from 0 to 65,535"),
    ("serve --megabytes 0", "argument --megabytes: '0', expected a whole number from 1 to 100,000"),
    ("serve speech/a.wav", "unrecognized arguments: speech/a.wav"),
    (
        "listen speech/a.wav",
        "argument -: 'speech/a.wav', expected - for standard input; ser-jax predict reads",
    ),
    (
        "export --format onnx --out speech/a.wav",
        "'speech/a.wav' exists, expected a new file, or one to replace",
    ),
    ("listen - --rate 10", "argument --rate: '10', expected a whole number from 1000 to 768,000"),
    ("export --format onnx", "the following arguments are required: --out"),
    ("export --out new.onnx", "the following arguments are required: --format"),
    ("export --format xml --out new.xml", "argument --format: invalid choice: 'xml' (choose from"),
    ("export --format onx --out new.onnx", "(choose from onnx, stablehlo); did you mean 'onnx'?"),
    ("completion", "the following arguments are required: SHELL"),
    (
        "completion fisch",
        "argument SHELL: invalid choice: 'fisch' (choose from bash, zsh, fish); did you mean",
    ),
    ("export --format onnx --out ''", "argument --out: '', expected a path"),
    ("export --format onnx --out speech", "argument --out: 'speech', expected a file, found a folder"),
    ("export --format onnx --out nowhere/new.onnx", "nowhere is no folder, expected one for new.onnx"),
]

# As `mistakes_typed.REQUESTS`.
RECOGNISED_REQUESTS = [
    ("train --corpora one one --data-dir pair --out new", "corpus one is named twice, expected each once"),
    (
        "train --corpora none --data-dir pair --out new",
        "no corpus 'none' in pair, found one, two; did you mean",
    ),
    ("train --corpora one,two --data-dir pair --out new", "; did you mean one two, separated by blanks?"),
    ("train --corpora one --data-dir nowhere --out new", "no corpus 'one' in nowhere, found no such folder"),
    (
        "train --corpora tiny --data-dir data --out new",
        "none of the 1 held-out utterances of tiny has arousal high, expected",
    ),
    (
        "train --corpora one --data-dir pair --out speech",
        "speech: exists and is not empty, expected a new or",
    ),
    ("train --corpora one --data-dir pair --out speech/a.wav", "speech/a.wav: exists and is not empty"),
    ("train --corpora one --data-dir pair --out speech/a.wav/new", "speech/a.wav/new: cannot be written"),
    (
        "predict --model nowhere speech/a.wav",
        "nowhere: no such folder, expected the folder that ser-jax train wrote",
    ),
    ("predict --model speech speech/a.wav", "speech/config.json: no such file, expected a file of a"),
    (
        "predict --model speech/a.wav speech/a.wav",
        "speech/a.wav: is a file, expected the folder that ser-jax",
    ),
    (
        "predict --model speach speech/a.wav",
        "speach: no such folder (did you mean speech?), expected the folder",
    ),
    ("predict - -", "standard input (-) is named twice, expected it once"),
    ("serve --model nowhere", "nowhere: no such folder, expected the folder that ser-jax train wrote"),
    ("listen --model nowhere -", "nowhere: no such folder, expected the folder that ser-jax train wrote"),
    ("listen --rate 16000", "--rate without -, expected standard input as the source"),
    ("listen - --device front", "--device and -, expected one of them: a microphone or standard input"),
    ("export --model nowhere --format onnx --out new.onnx", "nowhere: no such folder, expected the folder"),
]
