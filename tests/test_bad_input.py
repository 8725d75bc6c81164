"""Bad input wherever a user can put some: one sentence, status 2, and nothing half-written.

Most tables are text: what is typed, "=>", and a part of the answer. The folder is that of `sources.lay`.
"""

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import parsers
import pytest
import sources
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import ANNOTATION, HEAD, MANIFEST, PEOPLE, ROW, TIMINGS, TURNS

from ser_jax import cli, data
from ser_jax.data import iemocap, manifest, recola
from ser_jax.errors import UserError

WORDS = {  # in what is typed and answered
    "PREPARE": "prepare manifest --source speech/m.csv --data-dir root --name new",
    "RECOLA_": "prepare recola --source RECOLA --data-dir root",
    "LABELS": "PREPARE --labels-only",
    "BEAM": "PREPARE --beam-runner DirectRunner",
    "PAIR": "--corpora one two --data-dir pair --tasks arousal",
    "NOWHERE": "--corpora nowhere tiny --data-dir data --out new",
    "LONG": "a" * 300,
    "NINES": "9" * 5000,
    "HUGE": str(10**30),
}


def in_full(text):
    for word in ("LABELS", "BEAM", *WORDS):
        text = text.replace(word, WORDS[word])
    return text


def cases(table):
    """Return what is typed and answered of each line; {a|b} are two cases, and {} the one of them."""
    found = []
    for line in table.strip("\n").split("\n"):
        choice = re.search(r"\{(.+)\}", line.partition(" => ")[0])
        for one in choice[1].split("|") if choice else [""]:
            row = re.split(r" => | \| ", line.replace(choice[0], one) if choice else line)
            *typed, answer = map(in_full, row)
            answer = answer.replace("{}", in_full(one.strip("'")))
            found.append(pytest.param(*typed, answer, id=str(len(found))))
    return found


# Typed after "ser-jax", and what argparse answers after ": error: ".
USAGE = """
 => the following arguments are required: COMMAND
nonsense => argument COMMAND: invalid choice: 'nonsense' (choose from
--nonsense => the following arguments are required: COMMAND
predikt speech/a.wav => argument COMMAND: invalid choice: 'predikt' (choose from audit, prepare
predikt speech/a.wav => completion); did you mean 'predict'?
Audit emodb => ; did you mean 'audit'?
--data-dir data describe tiny => unrecognized arguments: --data-dir, expected COMMAND before them
-help => unrecognized arguments: -help; did you mean --help?
--versoin => unrecognized arguments: --versoin; did you mean --version?
prepare nonsense --source x => argument DATABASE: invalid choice: 'nonsense' (choose from
prepare emobd --source x => ; did you mean 'emodb'?
prepare crema-d --source x => ; did you mean 'crema_d'?
prepare --source emodb emodb => unrecognized arguments: --source, expected DATABASE before them
prepare emodb --souce emodb => unrecognized arguments: --souce; did you mean --source?
prepare emodb emodb --sourc => unrecognized arguments: --sourc; did you mean --source?
audit emodb --source emodb --worker 2 => unrecognized arguments: --worker; did you mean --workers?
prepare manifest --source => argument --source: expected one argument
prepare manifest --source '' => argument --source: '', expected a path
audit iemocap --source '' => argument --source: '', expected a path
audit emodb --source emodb --name x => unrecognized arguments: --name x
audit emodb --source emodb --skip-bad => unrecognized arguments: --skip-bad
audit emodb --source emodb --workers {0|-7} => --workers: '{}', expected a whole number of at least 1
PREPARE --workers '' => argument --workers: '', expected a whole number of at least 1
PREPARE --workers {two|1.5|nan} => argument --workers: '{}', expected a whole number of at least 1
PREPARE --workers NINES => --workers: '999999999999999999999999999999999999999999999999999999999999...', exp
PREPARE --annotation-delay 2 => unrecognized arguments: --annotation-delay 2
PREPARE --arousal-threshold {high|nan} => --arousal-threshold: '{}', expected a finite number
PREPARE --valence-threshold {inf|1e999|0,5} => --valence-threshold: '{}', expected a finite number
PREPARE --data-dir '' => argument --data-dir: '', expected a path
PREPARE --data-dir '~nobody at all/x' => expected a path, and behind ~ a user who has a home
PREPARE --name -x => argument --name: expected one argument
BEAM --beam-options => argument --beam-options: expected at least one argument
RECOLA_ --annotation-delay {two|nan} => --annotation-delay: '{}', expected a finite number
RECOLA_ --arousal-threshold 1 => unrecognized arguments: --arousal-threshold 1
describe => the following arguments are required: NAME
describe tiny other --data-dir data => unrecognized arguments: other
describe tiny --data-dir '' => argument --data-dir: '', expected a path
describe tiny --data-dir data --label-rule median => --label-rule: invalid choice: 'median'
synthesize => the following arguments are required: OUT
synthesize '' => argument OUT: '', expected a path
synthesize new --seed {-1|1.5|lucky} => argument --seed: '{}', expected a whole number of at least 0
synthesize new --utterances {0|91.5|many} => --utterances: '{}', expected a whole number of at least 1
train => the following arguments are required: --corpora, --out
train --corpora --out new => argument --corpora: expected at least one argument
train --corpora one --out '' => argument --out: '', expected a path
train --corpora one two --data-dir pair --out new --seeds {0|5.5} => argument --seeds: '{}', expected a whole
train --corpora one two --data-dir pair --out new --epochs {-1|many} => argument --epochs: '{}', expected a w
train --corpora one two --data-dir pair --out new --targets dominance => argument --targets: invalid choice:
train --corpora one two --data-dir pair --out new --targets arousel => (choose from arousal, valence); did y
train --corpora one two --data-dir pair --out new --targets arousal,valence => ; did you mean arousal valenc
train --corpora one two --data-dir pair --out new --epoch 5 => unrecognized arguments: --epoch; did you mean
train --corpus one --out new => unrecognized arguments: --corpus; did you mean --corpora?
train --corpora one two --data-dir pair --out new --targets => argument --targets: expected at least one arg
train --corpora one two --data-dir pair --out new --label-rule median => argument --label-rule: invalid choi
train --corpora one two --data-dir pair --out new --name => argument --name: expected one argument
predict => the following arguments are required: FILE
predict '' => argument FILE: '', expected a path
predict --hop speech/a.wav => argument --hop: 'speech/a.wav', expected a finite number
predict speech/a.wav --hop {nan|inf} => argument --hop: '{}', expected a finite number
predict speech/a.wav --json --csv => argument --csv: not allowed with argument --json
predict speech/a.wav --plot '' => argument --plot: '', expected a path
predict --model '' speech/a.wav => argument --model: '', expected a path
serve --port {65536|http} => argument --port: '{}', expected a whole number from 0 to 65,535
serve --megabytes 0 => argument --megabytes: '0', expected a whole number from 1 to 100,000
serve speech/a.wav => unrecognized arguments: speech/a.wav
listen speech/a.wav => argument -: 'speech/a.wav', expected - for standard input; ser-jax predict reads
export --format onnx --out speech/a.wav => 'speech/a.wav' exists, expected a new file, or one to replace
listen - --rate 10 => argument --rate: '10', expected a whole number from 1000 to 768,000
export --format onnx => the following arguments are required: --out
export --out new.onnx => the following arguments are required: --format
export --format xml --out new.xml => argument --format: invalid choice: 'xml' (choose from
export --format onx --out new.onnx => (choose from onnx, stablehlo); did you mean 'onnx'?
completion => the following arguments are required: SHELL
completion fisch => argument SHELL: invalid choice: 'fisch' (choose from bash, zsh, fish); did you mean
export --format onnx --out '' => argument --out: '', expected a path
export --format onnx --out speech => argument --out: 'speech', expected a file, found a folder
export --format onnx --out nowhere/new.onnx => nowhere is no folder, expected one for new.onnx
"""

# Typed after "ser-jax", and its own answer.
REQUESTS = """
train --corpora one one --data-dir pair --out new => corpus one is named twice, expected each once
train --corpora none --data-dir pair --out new => no corpus 'none' in pair, found one, two; did you mean
train --corpora one,two --data-dir pair --out new => ; did you mean one two, separated by blanks?
train --corpora one --data-dir nowhere --out new => no corpus 'one' in nowhere, found no such folder
train --corpora tiny --data-dir data --out new => none of the 1 held-out utterances of tiny has arousal high
train --corpora one --data-dir pair --out {speech|speech/a.wav} => {}: exists and is not empty
train --corpora one --data-dir pair --out speech/a.wav/new => speech/a.wav/new: cannot be written
predict --model nowhere speech/a.wav => nowhere: no such folder, expected the folder that ser-jax train wrot
predict --model speech speech/a.wav => speech/config.json: no such file, expected a file of a
predict --model speech/a.wav speech/a.wav => speech/a.wav: is a file, expected the folder that ser-jax
predict --model speach speech/a.wav => speach: no such folder (did you mean speech?), expected the folder
predict - - => standard input (-) is named twice, expected it once
serve --model nowhere => nowhere: no such folder, expected the folder that ser-jax train wrote
listen --model nowhere - => nowhere: no such folder, expected the folder that ser-jax train wrote
listen --rate 16000 => --rate without -, expected standard input as the source
listen - --device front => --device and -, expected one of them: a microphone or standard input
export --model nowhere --format onnx --out new.onnx => nowhere: no such folder, expected the folder
prepare manifest --source nowhere.csv => nowhere.csv: no such file, expected a manifest
prepare manifest --source speech => speech: is a folder, expected a manifest (a CSV file)
prepare manifest --source speech/a.wav => speech/a.wav: not UTF-8 text
audit manifest --source /dev/zero => /dev/zero: not a regular file, expected a manifest
prepare emodb --source nowhere => nowhere: no such folder, expected EmoDB's, which holds wav/03a01Fa
prepare emodb --source speech/a.wav => speech/a.wav: is a file, expected EmoDB's
prepare emodb --source speech/folder => speech/folder: no recording of EmoDB, found no audio files
prepare ravdess --source emodb => emodb: no recording of RAVDESS, found 3 other audio files
audit urdu --source emodb => expected names like Angry/SM1_F1_A01.wav
audit iemocap --source speech/folder => speech/folder: no Session1 to Session5 in it
audit iemocap --source speech/a.wav => speech/a.wav: is a file, expected IEMOCAP_full_release
audit iemocap --source RECOLA => RECOLA: no Session1 to Session5 in it or in a folder of it
audit recola --source IEMOCAP => IEMOCAP: no RECOLA-Annotation in it or in a folder of it, expected
audit recola --source nowhere => nowhere: no such folder, expected the one that holds RECOLA-Annot
PREPARE --name '' => name '', expected small letters, digits and underscores, a letter first
PREPARE --name ../x => name '../x', expected small letters
PREPARE --name=-x => name '-x', expected small letters
PREPARE --name {/etc|a/b|.|'a b'|Mine|1st|'=1+1'|a-b} => name '{}', expected small letters
PREPARE --name LONG => expected small letters, digits and underscores, a letter first, 100 of them at most
PREPARE --workers {1000000|HUGE} => {} workers, expected 1,024 at most
audit emodb --source emodb --workers HUGE => HUGE workers, expected 1,024 at most
PREPARE --arousal-threshold 3 => arousal is given in words, expected no --arousal-threshold
PREPARE --name tiny --data-dir speech/a.wav => a.wav/manifest/tiny: cannot be written (Not a
PREPARE --data-dir speech/a.wav/deep => cannot be written (Not a directory), expected a data dir
PREPARE --data-dir /proc/new => /proc/new/manifest/new: cannot be written (
LABELS --data-dir {speech/a.wav|/proc/new} => {}/manifest/new: cannot be written (
LABELS --skip-bad => --labels-only reads no recording, expected no --skip-bad or --beam-runner
LABELS --beam-runner DirectRunner => --labels-only reads no recording, expected no --skip-bad
LABELS --name tiny --data-dir data => is prepared with its recordings already
PREPARE --beam-options a=b => --beam-options without --beam-runner, expected both
prepare emodb --source emodb --data-dir data --name tiny => was prepared by manifest from another source
RECOLA_ --annotation-delay=-1 => --annotation-delay is -1.0, expected 0 to 10 s
RECOLA_ --annotation-delay 11 => --annotation-delay is 11.0, expected 0 to 10 s
describe '' --data-dir data => no corpus '' in data, found tiny
describe {'*'|../manifest/tiny|tny|Tiny} --data-dir data => no corpus '{}' in data, found tiny
describe tiny,tiny --data-dir data => found tiny; did you mean tiny tiny, separated by blanks?
describe tiny,xyz --data-dir data => found tiny, expected names separated by blanks
describe tiny --data-dir dta => no corpus 'tiny' in dta, found no such folder (did you mean data?); prep
prepare emodb --source emobd => emobd: no such folder (did you mean emodb?), expected EmoDB's
prepare manifest --source speech/n.csv => speech/n.csv: no such file (did you mean speech/m.csv?), exp
prepare recola --source Recola => Recola: no such folder (did you mean RECOLA?), expected the one
describe tiny --data-dir nowhere => no corpus 'tiny' in nowhere, found no such folder; prepare it with
describe tiny --data-dir speech => no corpus 'tiny' in speech, found none; prepare it with
synthesize {speech|speech/a.wav} => {}: exists and is not empty, expected a new or an empty folder
synthesize {speech/a.wav/x|/proc/new/x} => {}: cannot be written (
synthesize new/LONG => cannot be written (File name too long), expected a folder to write to
synthesize new/deep --utterances 91 => utterances: found 91, expected 92 to 1,200 per language
synthesize new --utterances HUGE => utterances: found HUGE, expected 92 to 1,200
"""

# The same if Apache Beam is installed.
BEAMS = """
PREPARE --beam-runner Nonsense => no Beam runner 'Nonsense' (
PREPARE --beam-runner '' => no Beam runner '' (
PREPARE --beam-runner os.path => no Beam runner 'os.path' ('module' object is not callable), expected
PREPARE --beam-runner os.getcwd => no Beam runner 'os.getcwd' (it is something else), expected one
PREPARE --beam-runner nowhere.Runner => no Beam runner 'nowhere.Runner' (
BEAM --beam-options '' => --beam-options hold '', expected each as name=value
BEAM --beam-options = => --beam-options hold '=', expected each as name=value
BEAM --beam-options runner=FlinkRunner => expected each as name=value, without the runner
BEAM --beam-options direct_num_workers=x => --beam-options: argument --direct_num_workers: invalid
BEAM --beam-options direct_running_mode=x => --direct_running_mode: invalid choice: 'x'
"""

# What $TFDS_DATA_DIR holds, what is typed after "ser-jax", and the answer.
DATA_DIRS = """
speech/a.wav | describe tiny => no corpus 'tiny' in speech/a.wav, found
nowhere | describe tiny => no corpus 'tiny' in nowhere, found no such folder; prepare it with
speech/a.wav | prepare emodb --source emodb => a.wav/emodb/emodb: cannot be written (Not a dir
/proc/new | prepare emodb --source emodb => /proc/new/emodb/emodb: cannot be written (
/proc/new | prepare emodb --source emodb --labels-only => /proc/new/emodb/emodb: cannot be written (
"""

# Typed after "python -m experiments.table2", for which every experiment that trains stands.
TABLE2 = """
--seeds {0|-1} => --protocol.seeds is {}, expected a whole number from 1 to
--seeds HUGE => expected a whole number from 1 to 1,000,000,000
--seeds 1e3 => Error parsing --seeds/--protocol.seeds: invalid literal for int() with base 10: '1e3'
--folds {0|1} => --protocol.folds is {}, expected a whole number from 2 to
--folds five => Error parsing --folds/--protocol.folds: invalid literal for int()
--epoch 3 => Unrecognized options: --epoch
--seed 3 --fold 4 --x 5 => Unrecognized options: --seed
-epochs 3 => Unrecognized options: -epochs
--standardise=train => Unrecognized options: --standardise=train
--epochs 0 => --train.epochs is 0, expected a whole number from 1 to
--epochs HUGE => expected a whole number from 1 to 1,000,000,000
--epochs nan => Error parsing --epochs/--train.epochs: invalid literal for int() with base 10: 'nan'
--epochs -3 => --train: learning rate 0.001, weight decay 0.0, batch 32, epochs -3, expected a rate above 0
--finetune-epochs 0 => --protocol.finetune-epochs is 0, expected a whole number from 1 to
--finetune-samples -5 => --protocol.finetune-samples is -5, expected a whole number from 1 to
--finetune-samples HUGE => expected a whole number from 1 to 1,000,000,000
--finetune 1 => Unrecognized options: --finetune
--tasks '' => --tasks : expected one of arousal, valence, emotion, four, all, dimensions, or module:Name
--tasks => --tasks , expected one or more, all different
--tasks arousal joy => --tasks joy: expected one of arousal, valence, emotion, four, all, dimensions
--tasks arousal,valance => did you mean arousal valence, separated by blanks?
--tasks Valence => ; did you mean 'valence'?
--tasks arousal arousal => --tasks arousal arousal, expected one or more, all different
--tasks nowhere:Task => --tasks nowhere:Task: No module named 'nowhere', expected module:Name that can be
--tasks json:dumps => --tasks json:dumps: no labels, expected a frozen dataclass with labels, loss, predict
--tasks four --task.class-names anger => --task: classes anger of four without happiness, expected two or
--tasks dimensions --task.dimensions joy => --task: dimensions joy, expected some of arousal, valence, dom
--tasks arousal --task.dimension joy => --task: dimension 'joy', expected one of arousal, valence
--tasks arousal --task.rule table1 => Unrecognized options: --task.rule
--features mel => --features mel: expected one of logmel, waveform, or module:Name; did you mean 'logmel'?
--features waveform --features.seconds -1 => front end Waveform cannot be used: its seconds are -1.0, expected
--model cnn => --model cnn: expected one of attentive_cnn, probe, or module:Name
--model json:JSONDecoder => --model json:JSONDecoder: no network, expected a frozen dataclass with network
--model.channels 0 => --model: channels 0, kernel 10, stride 3, pool 30, dropout 0.5, expected at least 1
--model.pool 1000 => --model: 750 frames hold no segment of 1000 positions
--model.dropout nan => --model.dropout is nan, expected a finite number
--model.dropout 1 => expected at least 1 each and a dropout of at least 0, below 1
--model.bands 3 => Unrecognized options: --model.bands
--train.learning-rate 0 => expected a rate above 0
--train.learning-rate inf => --train.learning-rate is inf, expected a finite number
--train.batch 0 => expected a rate above 0, a batch of at least 1
--train.optimizer lion => invalid choice 'lion' for argument '--train.optimizer'
--train.weight-decay 0.1 => --train: a weight decay of 0.1 with adam, expected adamw or sgd
--train.class-weights odd => invalid choice 'odd' for argument '--train.class-weights'
--train.augment louder => --train.augment louder: expected one of none, specaugment, gain, noise, or
--train.augment gain --train.augment.decibels loud => Error parsing --train.augment.decibels: could not
--train.objective domain => --train.objective domain: expected one of task, adversarial, contrastive, or
--protocol.standardize '' => invalid choice '' for argument '--protocol.standardize'
--protocol.standardize speakers => invalid choice 'speakers' for argument '--protocol.standardize'
--protocol.label-rule median => invalid choice 'median' for argument '--protocol.label-rule'
--precision float16 => --model: precision 'float16', expected one of float32, tf32, bfloat16
--compute.stacking pile => invalid choice 'pile' for argument '--compute.stacking'
--compute.runs-at-once 0 => --compute.runs-at-once is 0, expected a whole number from 1 to 1,000,000,000
--compute.runs-at-once HUGE => expected a whole number from 1 to 1,000,000,000
--compute.devices 0 => --compute.devices is 0, expected a whole number from 1 to 1,000,000,000
--compute.devices all => --compute.devices
--compute.memory 0 => --compute.memory is 0, expected more than 0, at most 1,000,000
--compute.memory {nan|inf} => --compute.memory is {}, expected a finite number
--compute.memory 1e300 => --compute.memory is 1e+300, expected more than 0
--compute.memory=-4 => --compute.memory is -4, expected more than 0
--compute.memory 4GB => --compute.memory
--compute.save-minutes 0 => --compute.save-minutes is 0, expected more than 0, at most 1,000,000
--compute.save-epochs 0 => --compute.save-epochs is 0, expected a whole number from 1 to
--compute.coordinator '' => --compute.coordinator is '', expected HOST:PORT or auto
--compute.coordinator {somewhere|here:port|here:0|here:99999} => --compute.coordinator is '{}', expected HOST
--compute.coordinator here:1 --compute.hosts 0 => --compute.hosts is 0, expected a whole number from 1
--compute.coordinator here:1 --compute.hosts 2 --compute.host 2 => --compute.host is 2, expected 0 to 1
--compute.host 0 => --compute.hosts or --compute.host without --compute.coordinator, expected both
--corpora => --corpora , expected one or more, all different
--corpora tiny,other => --corpora tiny,other, expected 2 or more, separated by blanks
--corpora tiny tiny => --corpora tiny tiny, expected one or more, all different
--corpora tiny => --corpora tiny, expected 2 or more, separated by blanks
--corpora tiny tny --data-dir data => no corpus 'tny' in data, found tiny; did you mean 'tiny'?
--corpora a b --data-dir speech/m.csv => no corpus 'a' in speech/m.csv, found
--corpora a b --data-dir '~nobody at all' => there is no such user or home, expected a folder
--config nowhere.json => --config nowhere.json: No such file or directory, expected an experiment's config
--config damaged => --config damaged: Is a directory, expected an experiment's config.json
--config damaged/config.json => --config damaged/config.json: list indices must be integers
nonsense => Unrecognized options: nonsense
PAIR --out speech/a.wav => speech/a.wav is a file, expected a folder
PAIR --out damaged => damaged/config.json is not an experiment's, expected a JSON object with config and
PAIR --out orphan => orphan holds predictions without the config.json that says of what; choose another
PAIR --out speech/a.wav/new => cannot be made (Not a directory), expected a folder for results; choose
PAIR --out /proc/new => /proc/new cannot be made (
PAIR --out new --compute.devices 1000 => 1000 devices asked for, found
PAIR --features waveform => no corpus 'one-waveform' in pair, found one, two; prepare it with
PAIR --features.seconds 3 => no corpus 'one-logmel-
"""

# A script of `experiments`, what is typed after it, and the answer.
SCRIPTS = """
class_distribution | --corpora nowhere --data-dir data => no corpus 'nowhere' in data, found tiny
class_distribution | --data-dir data => no corpus 'iemocap' in data, found tiny
class_distribution | --corpora tny --data-dir data => found tiny; did you mean 'tiny'?
class_distribution | --corpora tiny,tny --data-dir data => did you mean tiny tiny, separated by
class_distribution | --labelrule table1 => Unrecognized options: --labelrule
class_distribution | --label-rule x => invalid choice 'x' for argument '--label-rule'
speech_onset | --data-dir data => no corpus 'iemocap' in data, found tiny
speech_onset | --corpora ../x --data-dir data => no corpus '../x' in data, found tiny
report | damage => no damage/config.json (did you mean damaged?); expected a folder that
report | nowhere => no nowhere/config.json; expected a folder that an experiment has written
report | damaged => damaged/config.json is not an experiment's, expected a JSON object
report | damaged orphan => damaged/config.json is not an experiment's, expected a JSON object
report | orphan => no orphan/config.json; expected a folder that an experiment has written
report | --mixed => Missing from python -m experiments.report
verify | nowhere => no nowhere/config.json; expected a folder that an experiment has written
verify | damaged => damaged/config.json is not an experiment's, expected a JSON object
verify | orphan damaged => Unrecognized options: damaged
{monolingual|multilingual|crosslingual|finetuning} | NOWHERE => no corpus 'nowhere' in data, found tiny
{english_1308|tuning|learning_curve|related|attention_over_time} | NOWHERE => no corpus 'nowhere' in data
monolingual | --corpora tiny --data-dir data --out new => corpus tiny has
finetuning | PAIR --out new --finetune-samples 99 => fewer than the 99 for fine-tuning (--finetune-samples)
attention_over_time | PAIR --out new --model probe => network Probe has 1 segment, expected one with attention
tuning | PAIR --out new --model probe => network Probe has no kernel and pool, expected one with both
"""

# An environment variable, what it holds, what is run, and the answer.
ENVIRONMENT = """
JAX_NUM_CPU_DEVICES | 0 | table2 => JAX_NUM_CPU_DEVICES is '0', expected a whole number from 1 to 1,024
JAX_ENABLE_X64 | perhaps | monolingual => invalid truth value 'perhaps' for environment 'JAX_ENABLE
XLA_FLAGS | nonsense | table2 => XLA_FLAGS is 'nonsense', expected flags like --xla_force_host
XLA_FLAGS | --nonsense=1 | table2 => XLA_FLAGS holds '--nonsense=1', expected flags like --xla_
JAX_PLATFORMS | nonsense | table2 PAIR --out new => finds no device
MPLBACKEND | nonsense | table2 --corpora a b --data-dir data => no corpus 'a' in data, found tiny
"""

# What stands wrong in a file: the file, or what stands in it, and the answer.
CUT = HEAD.strip() + ",start,end\n"
M = "speech/m.csv"
AROUSAL = f"{ANNOTATION}/arousal/P16.csv"
SPEECH = f"{TIMINGS}/P16.csv"
OTHER = Path(TURNS).with_name("Ses01F_impro02.txt")
AUDIT_IEMOCAP = "audit iemocap --source IEMOCAP"
AUDIT_RECOLA = "audit recola --source RECOLA"
EMODB = "prepare emodb --source emodb --data-dir x --workers 1"


def swap(before, after):
    """Text with the first `before` replaced."""
    return lambda text: text.replace(before, after, 1)


def cell(text):
    """An annotation whose 14th row's first rater has another value."""
    return lambda trace: trace.replace("\n0.52;0.013;", f"\n0.52;{text};")


def every_row(add):
    """An annotation with more at the end of each row; of the header, `add[0]`."""
    return lambda text: "\n".join(line + add[i > 0] for i, line in enumerate(text.splitlines())) + "\n"


def crlf(text):
    return text.replace("\n", "\r\n")


def lone_cr(text):
    return text.replace("\n", "\r")


def marked(text):
    return text.encode("utf-8-sig")


def quoted(mark):
    """Every cell in quotes."""
    return lambda text: "\n".join(
        mark.join(f'"{cell.strip()}"' for cell in line.split(mark)) for line in text.splitlines()
    )


def column(name, *cells):
    """One more column, the same cell in every row."""
    return lambda text: "\n".join(
        f"{line},{cells[0] if i else name}" for i, line in enumerate(text.strip().split("\n"))
    )


def undecodable():
    """A participant whose name is no text."""
    for dimension in ("arousal", "valence"):
        other = os.fsdecode(f"{ANNOTATION}/{dimension}/P".encode() + b"\xff.csv")
        shutil.copy(f"{ANNOTATION}/arousal/P16.csv", other)


def others():
    """More recordings of another corpus than of this one."""
    for i in range(9):
        Path(f"emodb/{i}\n.wav").touch()


# fmt: off
MANIFESTS = [
    ('', "m.csv: no column 'path', found an empty file, expected path, speaker"),
    ('\ufeff', "m.csv: no column 'path', found an empty file"),
    ('\n\n \n', "m.csv: no column 'path', found an empty file"),
    (HEAD, 'm.csv: no utterances, expected a row for each'),
    (ROW, "m.csv: no column 'path', found a.wav, x, low, negative, expected path, speaker"),
    (MANIFEST.encode('utf-16'), 'm.csv: not UTF-8 text (byte 0), expected UTF-8'),
    (MANIFEST.encode('utf-16-le'), 'm.csv:1: holds a null character, expected text'),
    (MANIFEST.encode('utf-32'), 'm.csv: not UTF-8 text (byte 0), expected UTF-8'),
    ((HEAD + 'a.wav,\xe9,low,negative\n').encode('latin-1'), 'm.csv: not UTF-8 text (byte 35), expected UTF'),
    (HEAD.encode() + b'a\xff.wav,x,low,negative\n', 'm.csv: not UTF-8 text (byte 30), expected UTF-8'),
    (bytes(100000), 'm.csv:1: holds a null character, expected text'),
    (MANIFEST + '\x00', 'm.csv:5: holds a null character, expected text'),
    (HEAD + 'a.wav,x\x00,low,negative\n', 'm.csv:2: holds a null character'),
    (b'PK\x03\x04\x14\x00\x06\x00', 'm.csv:1: holds a null character'),
    (MANIFEST.replace(',', '|'), "no column 'path', found path|speaker|arousal|valence, expected path, sp"),
    (MANIFEST.replace('speaker', 'speker'), "found path, speker, arousal, valence, expected path, speaker"),
    (HEAD + 'a.wav,x,hihg,negative\n', "m.csv:2: arousal is 'hihg', expected low, high or a finite number;"),
    (HEAD.strip() + ',sex\na.wav,x,low,negative,femal\n', "female, male, unknown; did you mean 'female'?"),
    ('path,speaker,emotoin\na.wav,x,joy\n', 'm.csv: no column of labels, found path, speaker, emotoin, exp'),
    ('path,' + HEAD + 'a.wav,' + ROW, "m.csv: column 'path' appears 2 times, expected once"),
    (HEAD.strip() + ',end,end\n', "m.csv: column 'end' appears 2 times, expected once"),
    ('x' * 1000 + ',' * 5000, "m.csv: no column 'path', found " + 'x' * 200 + '..., expected path'),
    (HEAD + 'a.wav,x,low\n', 'm.csv:2: 3 cells, expected 4'),
    (HEAD + 'a.wav,x,low,negative,x\n', 'm.csv:2: 5 cells, expected 4'),
    (MANIFEST + '\x1a', 'm.csv:5: 1 cells, expected 4'),
    (HEAD + '"a.wav,x,low,negative\n', 'm.csv:2: not CSV (unexpected end of data)'),
    (HEAD + 'a.wav,"x,low,negative\nb.wav,y,low,negative\n', 'm.csv:3: not CSV (unexpected end of data)'),
    (HEAD + '"a.wav"b,x,low,negative\n', 'm.csv:2: not CSV (\',\' expected after \'"\')'),
    (HEAD + f"a.wav,{'x' * 200000},low,negative\n", 'm.csv:2: not CSV (field larger than field limit (1310'),
    (HEAD + f"a.wav,{'x' * 100000},low,negative\n", 'm.csv:2: speaker has 100,000 characters, expected 1,0'),
    (HEAD + f"{'a' * 4000}.wav,x,low,negative\n", 'm.csv:2: path has 4,004 characters, expected 1,000 at m'),
    (HEAD + f"{'a' * 300}.wav,x,low,negative\n", 'cannot be opened (File name too long)'),
    (MANIFEST + ROW, 'm.csv:5: a.wav is already in speech/m.csv:2, expected it once'),
    (CUT + 'a.wav,x,low,negative,0,1\na.wav#0-1,x,low,negative,,\n', 'm.csv:3: a.wav#0-1 is already in'),
    (HEAD + 'a.wav,,low,negative\n', 'm.csv:2: speaker is empty, expected a speaker'),
    (HEAD + 'a.wav,\xa0,low,negative\n', 'm.csv:2: speaker is empty, expected a speaker'),
    (HEAD + ' ,x,low,negative\n', 'm.csv:2: path is empty, expected a path'),
    (HEAD + 'a.wav,x,,\nb.wav,y,,\n', 'm.csv: no row has a label (arousal, valence, dominance, emotion), e'),
    (HEAD + 'a.wav,"x\ny",low,negative\n', "m.csv:3: speaker 'x\\ny' holds '\\n', expected a speaker on on"),
    (HEAD + 'a.wav,"x\ry",low,negative\n', "speaker 'x\\ry' holds '\\r', expected a speaker on one line"),
    (HEAD + 'a.wav,"x\u2028y",low,negative\n', "speaker 'x\\u2028y' holds '\\u2028', expected a speaker on"),
    (HEAD + 'a.wav,\x1b[31mx,low,negative\n', "speaker '\\x1b[31mx' holds '\\x1b', expected a speaker on o"),
    (HEAD + '"a\n.wav",x,low,negative\n', "m.csv:3: path 'a\\n.wav' holds '\\n', expected a path on one li"),
    (HEAD + 'a.wav,x,.5,negative\n', 'arousal is given in numbers, expected --arousal-threshold'),
    (HEAD + 'a.wav,x,low,=1+1\n', "m.csv:2: valence is '=1+1', expected negative, positive or a finite num"),
    (HEAD + 'a.wav,x,negative,low\n', "m.csv:2: arousal is 'negative', expected low, high or a finite"),
    (HEAD + 'a.wav,x,low,negative\nb.wav,x,0.5,negative\n', "m.csv:3: arousal is '0.5', but 'low' in speec"),
    (CUT + 'a.wav,x,low,negative,nan,\n', "m.csv:2: start is 'nan', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,,inf\n', "m.csv:2: end is 'inf', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,,1e999\n', "m.csv:2: end is '1e999', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,"0,1",\n', "m.csv:2: start is '0,1', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,00:01,\n', "m.csv:2: start is '00:01', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,=0,\n', "m.csv:2: start is '=0', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,1_0,\n', "m.csv:2: start is '1_0', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,\u0661,\n', "m.csv:2: start is '\u0661', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,-1,1\n', 'segment from -1 s to 1 s, expected 0 <= start < end'),
    (CUT + 'a.wav,x,low,negative,2,1\n', 'segment from 2 s to 1 s, expected 0 <= start < end'),
    (CUT + 'a.wav,x,low,negative,.1,.1\n', 'segment from .1 s to .1 s, expected 0 <= start < end'),
    (CUT + 'a.wav,x,low,negative,0,100\n', "segment ends at 100.0 s, expected it within the file's 0.25 s"),
    (CUT + 'a.wav,x,low,negative,5,\n', "segment begins at 5.0 s, expected it within the file's 0.25 s"),
    (CUT + 'a.wav,x,low,negative,1e99,\n', "segment begins at 1e+99 s, expected it within the file's"),
    (CUT + 'a.wav,x,low,negative,0,1e99\n', "segment ends at 1e+99 s, expected it within the file's 0.25"),
    (CUT + 'a.wav,x,low,negative,0,1e308\n', "m.csv:2: end is '1e308', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,0,5e-99\n', 'holds 0.0000 s of sound, expected at least one frame of 0.02'),
    (HEAD.strip() + ',sex\na.wav,x,low,negative,F\n', "m.csv:2: sex is 'F', expected female, male, unknown"),
    (HEAD.strip() + ',sex\na.wav,x,low,negative,male\nb.wav,x,low,negative,female\n',
     "m.csv:3: speaker 'x' is female"),
    (HEAD + '../a.wav,x,low,negative\n', "path '../a.wav' leads out of the manifest's folder, expected one"),
    (HEAD + 'folder/../../a.wav,x,low,negative\n', "leads out of the manifest's folder, expected one insid"),
    (HEAD + '/etc/passwd,x,low,negative\n', "path '/etc/passwd' leads out of the manifest's folder, expect"),
    (HEAD + 'folder,x,low,negative\n', 'speech/folder: not a regular file, expected an audio file'),
    (HEAD + '.,x,low,negative\n', 'speech: not a regular file, expected an audio file'),
    (HEAD + 'm.csv,x,low,negative\n', "speech/m.csv: not readable as audio (it begins with b'path,spe')"),
    (HEAD + 'a.wav/b.wav,x,low,negative\n', 'speech/a.wav/b.wav: no such audio file'),
    (HEAD + 'gone.wav,x,low,negative\n', 'speech/gone.wav: no such audio file (asked for by m.csv:2); `ser'),
    (HEAD + '~/a.wav,x,low,negative\n', 'speech/~/a.wav: no such audio file'),
    (HEAD + 'C:\\a.wav,x,low,negative\n', 'speech/C:\\a.wav: no such audio file'),
    (HEAD + 'http://x/a.wav,x,low,negative\n', 'no such audio file'),
    (HEAD + '@SUM(A1),x,low,negative\n', 'speech/@SUM(A1): no such audio file'),
]
NUMBERS = [
    *((f'{HEAD}a.wav,x,1,negative\nb.wav,x,"{text}",negative\n',
       f"m.csv:3: arousal is '{text}', expected low, high or a finite number")
      for text in ('nan', '-inf', '1e400', '1_000', '\u0663', '0,5', '=2')),
    (HEAD + 'a.wav,x,1,negative\nb.wav,x,low,negative\n', "m.csv:3: arousal is 'low', but '1' in speech/m."),
    (MANIFEST, 'm.csv: arousal is given in words, expected no --arousal-threshold'),
]
RECOLA_TABLES = [
    (AROUSAL, '', "P16.csv: no column 'time', found an empty file, expected time, FM1, FM2, FM3, FF1, FF2,"),
    (AROUSAL, lambda text: text[:30], "P16.csv: no column 'FF3', found time, FM1, FM2, FM3, FF1, FF2, , ex"),
    (AROUSAL, lambda text: text[:80], 'P16.csv:3: 5 cells, expected 7'),
    (AROUSAL, lambda text: text[:-5], 'P16.csv:7502: 6 cells, expected 7'),
    (AROUSAL, lambda text: '\n'.join(text.splitlines()[:4000]), 'P16.csv: 3999 rows of annotation, expecte'),
    (AROUSAL, lambda text: text + '300.04;0;0;0;0;0;0\n', 'P16.csv: 7502 rows of annotation, expected 7501'),
    (AROUSAL, lambda text: text.partition('\n')[2], "P16.csv: no column 'time', found 0.00, 0.000, 0.000,"),
    (AROUSAL, swap('FF3', 'FF4'), "P16.csv: no column 'FF3', found time, FM1, FM2, FM3, FF1, FF2, FF4, exp"),
    (AROUSAL, lambda text: text.replace(';0.1\n', '\n'), 'P16.csv:2: 6 cells, expected 7'),
    (AROUSAL, swap('FF3', 'FF2'), "P16.csv: no column 'FF3', found time, FM1, FM2, FM3, FF1, FF2, FF2, exp"),
    (AROUSAL, every_row((';FM1', ';1')), "P16.csv: column 'FM1' appears 2 times, expected once"),
    (AROUSAL, every_row(('', ';1')), 'P16.csv:2: 8 cells, expected 7'),
    (AROUSAL, lambda text: text.replace('.', ','), "P16.csv:2: column time holds '0,00', expected a number"),
    (AROUSAL, lambda text: text.replace('.', ',').replace(';', ','), 'P16.csv:2: 11 cells, expected 7'),
    (AROUSAL, lambda text: text.replace(';', ' '), "P16.csv: no column 'time', found time FM1  FM2  FM3"),
    (AROUSAL, lambda text: text.encode('utf-16'), 'P16.csv:1: holds a null character, expected text'),
    (AROUSAL, bytes(5000), 'P16.csv:1: holds a null character, expected text'),
    (AROUSAL, cell('\x00'), 'P16.csv:15: holds a null character, expected text'),
    (AROUSAL, swap('\n0.00;', '\n0.08;'), 'P16.csv:2: time 0.08 s, expected 0.00 s (steps of 0.04 s)'),
    (AROUSAL, lambda text: text.replace('\n0.04;', '\n0.00;'), 'P16.csv:3: time 0.00 s, expected 0.04 s'),
    (AROUSAL, lambda text: '\n'.join([text.splitlines()[0], *text.splitlines()[:0:-1]]),
     'P16.csv:2: time 300.00 s, expe'),
    (AROUSAL, lambda text: text.replace('\n0.52;', '\n1e999999999999;'), "column time holds '1e99999999999"),
    (AROUSAL, cell(''), "P16.csv:15: column FM1 holds '', expected a number"),
    (AROUSAL, cell('=1+1'), "P16.csv:15: column FM1 holds '=1+1', expected a number"),
    (AROUSAL, cell('sNaN'), "P16.csv:15: column FM1 holds 'sNaN', expected a number"),
    (AROUSAL, cell('-Infinity'), "P16.csv:15: column FM1 holds '-Infinity', expected a number"),
    (AROUSAL, cell('1e308'), "P16.csv:15: column FM1 holds '1e308', expected a number"),
    (AROUSAL, cell('1.01'), 'P16.csv:15: annotation 1.01, expected a number from -1 to 1'),
    (AROUSAL, cell('0.' + '1' * 3000), "P16.csv:15: column FM1 holds '0.11111"),
    (AROUSAL, cell('1e-400'), "P16.csv:15: column FM1 holds '1e-400', expected a number"),
    (AROUSAL, cell('\u22120.5'), "P16.csv:15: column FM1 holds '\u22120.5', expected a number"),
    (AROUSAL, cell('"0'), 'P16.csv:4520: not CSV (field larger than field limit (131072))'),
    (AROUSAL, lambda text: '"' + text, 'not CSV (field larger than field limit (131072))'),
    (SPEECH, '', "P16.csv: no column 'start', found an empty file, expected start, stop"),
    (SPEECH, 'start;stop\n', 'P16.csv: no turns, expected rows of start and stop'),
    (SPEECH, '0.5;1.0\n', "P16.csv: no column 'start', found 0.5, 1.0, expected start, stop"),
    (SPEECH, 'start;stop\n0.5\n', 'P16.csv:2: 1 cells, expected 2'),
    (SPEECH, 'start;stop\n2;1\n', 'P16.csv:2: turn from 2 s to 1 s, expected 0 <= start < stop'),
    (SPEECH, 'start;stop\n1;1\n', 'P16.csv:2: turn from 1 s to 1 s, expected 0 <= start < stop'),
    (SPEECH, 'start;stop\nnan;1\n', "P16.csv:2: column start holds 'nan', expected a number"),
    (SPEECH, 'start;stop\n0;1e999\n', "P16.csv:2: column stop holds '1e999', expected a number"),
    (SPEECH, 'start;stop\n0,5;1,5\n', "P16.csv:2: column start holds '0,5', expected a number"),
    (SPEECH, 'start,stop\n0,5,1,5\n', 'P16.csv:2: 4 cells, expected 2'),
    (SPEECH, 'start;start;stop\n0;1;2\n', "P16.csv: column 'start' appears 2 times, expected once"),
    (SPEECH, 'start;stop\n400;500\n', 'RECOLA: no turn begins within the 300 s that are annotated, expecte'),
    (SPEECH, b'\xff\xfe\x00', 'P16.csv:1: holds a null character, expected text'),
    (PEOPLE, '', "user_info.csv: no column 'User', found an empty file, expected User"),
    (PEOPLE, 'name;sex\nP16;f\n', "user_info.csv: no column 'User', found name, Sex, expected User"),
    (PEOPLE, 'User;Sex\n;female\n', 'user_info.csv:2: no user, expected one like P16 or 16'),
    (PEOPLE, 'User;Sex;Sex\nP16;f;m\n', "user_info.csv: column 'Sex' appears 2 times, expected once"),
    (PEOPLE, 'User;Group_id;Sex\nP16;3;female\n16;4;female\n', 'user_info.csv:3: P16 with another sex or g'),
    (PEOPLE, 'User;Sex\n"P16;female\n', 'user_info.csv:2: not CSV (unexpected end of data)'),
    (PEOPLE, 'User;Group_id;Sex\nP16;3;female\n'.encode('utf-16'), 'user_info.csv:1: holds a null characte'),
]
IEMOCAP_TURNS = [
    ('', "Ses01F_impro01.txt: no turns, expected lines like '[6.29 - 8.23] NAME neu [2.5, 2.5, 2.5]'"),
    (lambda text: text.encode('utf-16'), 'Ses01F_impro01.txt: no turns, expected lines like'),
    (bytes(1000), 'Ses01F_impro01.txt: no turns, expected lines like'),
    (lambda text: text[:text.index('_M000')], "expected '[start - end] NAME emotion [valence, activation,"),
    (lambda text: text[:text.index('3.5000') + 4], "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('3.5000', '1e308'), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('3.5000', 'nan'), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('3.5000', '-1.0'), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('3.5000', '6.5'), 'annotations from 0 to 6'),
    (swap('3.5000', '3,5000'), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('3.5000', '3' * 5000), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('[2.0000 - 3.0000]', '[2.0000 - ]'), "impro01.txt:7: found '[2.0000 - ]"),
    (swap('\tfru', ''), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap('Ses01F_impro01_M000', '=1+1'), "impro01.txt:7: turn named '=1+1', expected a name like Ses01F_i"),
    (swap('Ses01F_impro01_M000', 'Ses01F_../../M000'), "turn named 'Ses01F_../../M000', expected a name li"),
    (swap('Ses01F_impro01_M000', 'Ses02F_impro01_M000'), 'lies in Session1, expected Session2'),
    (swap('Ses01F_impro01_M000', 'Ses01F_impro01_F000'), 'impro01.txt:7: Ses01F_impro01_F000 is already in'),
]
# What makes it, what is typed then, and the answer.
PLACED = [
    (lambda: Path('x').symlink_to('x'), 'audit emodb --source x', "x: no such folder, expected EmoDB's"),
    (lambda: Path('x').symlink_to('x'), 'audit manifest --source x', 'x: no such file, expected a manifest'),
    (lambda: os.mkfifo('x'), 'audit manifest --source x', 'x: not a regular file, expected a manifest'),
    (lambda: shutil.copytree(ANNOTATION, 'x'), 'audit recola --source x', 'x: no RECOLA-Annotation in it o'),
    (lambda: os.mkfifo(OTHER), AUDIT_IEMOCAP, 'impro02.txt: not a regular file, expected a label file'),
    (lambda: OTHER.mkdir(), AUDIT_IEMOCAP, 'impro02.txt: is a folder, expected a label file'),
    (lambda: OTHER.symlink_to(OTHER.name), AUDIT_IEMOCAP, 'impro02.txt: no such file, expected a label file'),
    (lambda: OTHER.symlink_to('gone'), AUDIT_IEMOCAP, 'impro02.txt: no such file, expected a label file'),
    (lambda: shutil.rmtree('IEMOCAP/Session1/dialog'), AUDIT_IEMOCAP, 'Evaluation: no label files, expected'),
    (lambda: shutil.copytree('IEMOCAP/Session1', 'IEMOCAP/Session2'), AUDIT_IEMOCAP,
     'turn Ses01F_impro01_F000 lies'),
    (lambda: shutil.move('IEMOCAP/Session1', 'IEMOCAP/Session6'), AUDIT_IEMOCAP, 'IEMOCAP: no Session1 to'),
    (lambda: shutil.copytree('IEMOCAP', 'x/IEMOCAP') and shutil.copytree('IEMOCAP', 'x/copy'),
     'audit iemocap --source x', 'x: several folders hold Sessio'),
    (lambda: shutil.copytree('RECOLA', 'x/one') and shutil.copytree('RECOLA', 'x/two'),
     'audit recola --source x', 'x: several folders hold RECOLA'),
    (lambda: shutil.move(f'{TIMINGS}/P16.csv', f'{TIMINGS}/P17.csv'), AUDIT_RECOLA,
     'participant P16 is annotated,'),
    (lambda: Path(f'{TIMINGS}/P16.csv').unlink() or os.mkfifo(f'{TIMINGS}/P16.csv'), AUDIT_RECOLA,
     'P16.csv: not a regular file, e'),
    (lambda: shutil.rmtree(f'{ANNOTATION}/valence'), AUDIT_RECOLA, 'found arousal, expected a folder'),
    (lambda: Path(f'{ANNOTATION}/valence/P16.csv').unlink(), AUDIT_RECOLA, 'no participant has both an arou'),
    (lambda: shutil.copy('emodb/03a01Fa.wav', 'emodb/03a01Fa.flac'), 'audit emodb --source emodb',
     'emodb/03a01Fa.wav: 03a01Fa is'),
    (others, 'audit emodb --source emodb', 'emodb: 3 recordings of EmoDB among 9 others, emodb/0\\n.wav th'),
    (lambda: Path('emodb/03a02Fa.wav').symlink_to('03a02Fa.wav'), EMODB, 'emodb/03a02Fa.wav: cannot be ope'),
    (lambda: os.mkfifo('emodb/03a02Fa.wav'), EMODB, '03a02Fa.wav: not a regular file, expected an audio fi'),
    (lambda: Path('emodb/03a02Fa.wav').write_bytes(b'RIFF'), EMODB, '03a02Fa.wav: not readable as audio ('),
    (lambda: Path('emodb/03a02Fa.wav').touch(), EMODB, '03a02Fa.wav: not readable as audio ('),
    (lambda: Path('data/manifest/new').mkdir(), 'describe new --data-dir data',
     "no corpus 'new' in data, found"),
    (lambda: Path('data/manifest/new/2.0.0').mkdir(parents=True),
     'prepare manifest --source speech/m.csv --name new --data-dir data', 'new/2.0.0: not a complete corp'),
]
# Odd and harmless: the corpus is that of the clean file.
HARMLESS = [
    *((M, change) for change in (crlf, lone_cr, marked, quoted(','))),
    (M, lambda text: crlf(text).encode('utf-8-sig')),
    (M, lambda text: b'\xef\xbb\xbf' + marked(text)),
    (M, lambda text: text.rstrip('\n')),
    (M, lambda text: '\n \n,,,\n' + text),
    (M, lambda text: text.replace('\n', '\n\n,,,\n')),
    (M, lambda text: text.replace(',', ';').replace('path', 'Path')),
    (M, lambda text: text.replace(',', '\t')),
    (M, lambda text: text.replace(',', ' , ')),
    (M, lambda text: text.replace(',', '\t,\xa0')),
    (M, lambda text: text.replace('low', 'LOW').replace('positive', 'Positive')),
    (M, column('mood', 'happy')),
    (M, column('', '')),
    (M, column('mood', '=1+1')),
    (M, column('mood', 'x' * 100000)),
    (M, column('mood,mood', '1,2')),
    (M, column('sex', 'unknown')),
    (M, column('sex', '')),
    (M, column('start', '')),
    (M, column('emotion,language,session,start,end', ',,,,')),
    (M, lambda text: '\n'.join(','.join(reversed(line.split(','))) for line in text.splitlines())),
    *((AROUSAL, change) for change in (crlf, lone_cr, marked, quoted(';'))),
    (AROUSAL, lambda text: text.replace(';', ',')),
    (AROUSAL, lambda text: text.replace(';', '\t')),
    (AROUSAL, lambda text: text.rstrip('\n')),
    (AROUSAL, lambda text: '\n\n' + text.replace('\n', '\n\n')),
    (AROUSAL, lambda text: text.replace('time;FM1 ', 'Time; fm1')),
    (AROUSAL, lambda text: text.replace(';', ' ; ')),
    (AROUSAL, every_row((';', ';'))),
    (AROUSAL, every_row((';comment', ';=1+1'))),
    (AROUSAL, lambda text: text.replace('\n0.52;', '\n0.5200000001;')),
    (AROUSAL, lambda text: text.replace(';0.000;0.000;', ';0e-99;-0;')),
    *((SPEECH, change) for change in (crlf, lone_cr, marked, quoted(';'))),
    (SPEECH, lambda text: text.replace(';', ',')),
    (SPEECH, lambda text: '\n'.join(';'.join(line.split(';')[::-1]) for line in text.splitlines())),
    (SPEECH, lambda text: text + '400;1e20\n'),
    *((PEOPLE, change) for change in (crlf, lone_cr, marked, quoted(';'))),
    (PEOPLE, lambda text: text.replace('P16', '16').replace('female', 'F')),
    (PEOPLE, lambda text: text + 'P16;3;female\nP99;;\n'),
    (PEOPLE, lambda text: (text + 'P20;4;femme n\xe9e à Genève\n').encode('latin-1')),
    (TURNS, crlf),
    (TURNS, lone_cr),
    (TURNS, lambda text: text.rstrip('\n')),
    (TURNS, lambda text: text.replace('\n', '\n\n').replace('\t', '   ')),
    (TURNS, lambda text: text.replace('2.0000', '2').replace('3.0000', '3.0e0')),
]
# fmt: on
READ = {
    M: f"prepare manifest --source {M} --name same",
    **dict.fromkeys((AROUSAL, SPEECH, PEOPLE), "prepare recola --source RECOLA --name same"),
    TURNS: "prepare iemocap --source IEMOCAP --name same",
}
NUMERIC = "--arousal-threshold 0"
WRITTEN = [
    *((M, text, f"prepare manifest --source {M} --name new", answer) for text, answer in MANIFESTS),
    *((M, text, f"prepare manifest --source {M} --name new {NUMERIC}", answer) for text, answer in NUMBERS),
    *((file, text, "prepare recola --source RECOLA", answer) for file, text, answer in RECOLA_TABLES),
    *((TURNS, text, "prepare iemocap --source IEMOCAP", answer) for text, answer in IEMOCAP_TURNS),
]
DAMAGES = {  # how a file of a prepared corpus is spoilt
    "absent": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(1000)),
    "other": lambda path: path.write_text("[]"),
}
PROGRESS = re.compile(r"\w+: +\d+%\|")
REMEDY = re.compile(
    "expected|delete|choose|did you mean|prepare it with|not CSV|not a table|required|unrec|ambig|names all|"
    "fewer than the|not allowed with|no more than the|For full helptext"
)
READ_TRACE = recola.read_trace


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return sources.lay(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _in_world(world, monkeypatch):
    """Every case begins in the same folder, and leaves it as it was."""
    monkeypatch.chdir(world)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setattr(recola, "read_trace", sources.once(READ_TRACE))
    before = sources.listing(world)
    yield
    after = sources.listing(world)
    if after != before:
        shutil.rmtree(world)
        world.mkdir()
        sources.lay(world)
    assert after == before, "something was written"


def answered(capsys, program, answer, usage=""):
    """Check for one sentence on standard error that names a remedy, alone or below its program's usage."""
    out, err = capsys.readouterr()
    assert out == ""
    check(err, program, answer, usage)


def check(err, program, answer, usage=""):
    assert "Traceback" not in err
    lines = [line for line in err.replace("\r", "\n").split("\n") if line and not PROGRESS.match(line)]
    if "For full helptext" in err:  # tyro's box, of whatever letters a terminal has
        line = " ".join(" ".join(part.strip("│╭╮╰╯─|- ") for part in lines).split())
    elif usage:
        *above, line = lines
        assert above[0].startswith(f"usage: {usage} [")
        assert all(part.startswith(" ") for part in above[1:])
        assert line.startswith(f"{usage}: error: ")
    else:
        [line] = lines
        assert line.startswith(f"{program}: ")
    assert answer in line
    assert line.isprintable()
    assert REMEDY.search(line)


def refused(capsys, typed, answer):
    assert cli.main(shlex.split(typed)) == 2
    answered(capsys, "ser-jax", answer)


@pytest.mark.parametrize(("typed", "answer"), cases(USAGE))
def test_what_the_flags_do_not_take(capsys, typed, answer):
    with pytest.raises(SystemExit) as end:
        cli.main(shlex.split(typed))
    assert end.value.code == 2
    answered(capsys, "ser-jax", answer, parsers.asked(typed))


@pytest.mark.parametrize(("typed", "answer"), cases(REQUESTS))
def test_what_cannot_be_done(capsys, typed, answer):
    refused(capsys, typed, answer)


@pytest.mark.parametrize("name", ["a\n", "n\u00e9", "a\u0661"])  # the last has an Arabic digit
def test_a_name_of_other_letters(capsys, name):
    typed = ["prepare", "manifest", "--source", "speech/m.csv", "--data-dir", "root", "--name", name]
    assert cli.main(typed) == 2
    answered(capsys, "ser-jax", "expected small letters, digits and underscores")


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="Beam is an extra")
@pytest.mark.parametrize(("typed", "answer"), cases(BEAMS))
def test_what_beam_does_not_take(capsys, typed, answer):
    refused(capsys, typed, answer)


@pytest.mark.parametrize(("value", "typed", "answer"), cases(DATA_DIRS))
def test_a_data_directory_that_is_none(capsys, monkeypatch, value, typed, answer):
    monkeypatch.setenv("TFDS_DATA_DIR", value)
    refused(capsys, typed, answer)


def script(name, typed, monkeypatch):
    """Return the exit status of `python -m experiments.NAME TYPED`, run in this process."""
    monkeypatch.setattr(sys, "argv", [name, *shlex.split(typed)])
    with pytest.raises(SystemExit) as end:
        parsers.run(name)
    return end.value.code


@pytest.mark.parametrize(("name", "typed", "answer"), cases(SCRIPTS))
def test_what_a_script_cannot_do(capsys, monkeypatch, name, typed, answer):
    assert script(name, typed, monkeypatch) == 2
    answered(capsys, f"experiments.{name}", answer)


@pytest.mark.parametrize(("typed", "answer"), cases(TABLE2))
def test_what_an_experiment_does_not_take(capsys, monkeypatch, typed, answer):
    assert script("table2", typed, monkeypatch) == 2
    answered(capsys, "experiments.table2", answer)


@pytest.mark.parametrize(("variable", "value", "typed", "answer"), cases(ENVIRONMENT))
def test_what_the_environment_should_not_hold(world, variable, value, typed, answer):
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), variable: value}
    shell = [sys.executable, "-m", *shlex.split(f"experiments.{typed}")]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    check(done.stderr, f"experiments.{typed.split()[0]}", answer)


@contextlib.contextmanager
def standing(file, text):
    """Put text, bytes, or what is made of what stands there, into a file for a while."""
    path, before = Path(file), Path(file).read_bytes()
    content = text(before.decode()) if callable(text) else text
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(("file", "text", "typed", "answer"), WRITTEN, ids=map(str, range(len(WRITTEN))))
def test_what_stands_wrong_in_a_file(capsys, file, text, typed, answer):
    with standing(file, text):
        refused(capsys, f"{typed} --data-dir root/deep --workers 1", answer)
        assert not Path("root").exists()


@pytest.mark.parametrize(("file", "text"), HARMLESS)
def test_what_is_odd_and_harmless(capsys, tmp_path, file, text):
    """Labels as bytes, and so every fact of every utterance."""
    labels = []
    for name in ("clean", "odd"):
        with standing(file, text) if name == "odd" else contextlib.nullcontext():
            typed = f"{READ[file]} --labels-only --data-dir {tmp_path / name}"
            assert cli.main(typed.split()) == 0, capsys.readouterr().err
        [kept] = (tmp_path / name).glob("*/same/labels.json")
        labels.append(kept.read_bytes())
    assert labels[0] == labels[1]


@pytest.mark.parametrize("change", [b"\xef\xbb\xbf", b"\r\n", b"\r"])
def test_an_odd_manifest_makes_the_same_features(change, tmp_path):
    text = MANIFEST.encode()
    with standing("speech/m.csv", change + text if change[0] > 32 else text.replace(b"\n", change)):
        data.prepare("manifest", "speech/m.csv", name="tiny", data_dir=tmp_path, workers=1)
    assert data.load("tiny", tmp_path).fingerprint == data.load("tiny", "data").fingerprint


LEADS = ["=1+1", "+x", "-x", "@x", "=cmd|' /C calc'!A0", "'x", "x;y", "none", "nan", "1e308"]


@pytest.mark.parametrize("lead", LEADS)
def test_what_a_spreadsheet_would_run_is_kept_as_written(lead, tmp_path):
    text = (
        f'{HEAD.strip()},emotion,session,language\na.wav,"{lead}",low,negative,"{lead}","{lead}","{lead}"\n'
    )
    with standing("speech/m.csv", text):
        data.prepare("manifest", "speech/m.csv", name="f", data_dir=tmp_path, workers=1)
    corpus = data.load("f", tmp_path)
    assert {corpus.speaker[0], corpus.emotion[0], corpus.session[0], corpus.language[0]} == {lead}


@pytest.fixture
def odd(world):
    """A case that makes odd things in the world, which is as new afterwards."""
    kept = world.with_name("kept")
    shutil.copytree(world, kept)
    yield
    shutil.rmtree(world)
    kept.rename(world)
    os.chdir(world)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
@pytest.mark.parametrize(("make", "typed", "answer"), PLACED, ids=map(str, range(len(PLACED))))
def test_what_lies_wrong_in_a_folder(odd, world, capsys, make, typed, answer):
    make()
    before = sources.listing(world)
    refused(capsys, typed, answer)
    assert sources.listing(world) == before


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("file", ["metadata.json", "tiny.array_record"])
@pytest.mark.parametrize("typed", ["describe tiny", "prepare manifest --source speech/m.csv --name tiny"])
def test_a_damaged_corpus_is_named_with_what_to_do(odd, world, capsys, how, file, typed):
    folder = world / "data/manifest/tiny/2.0.0"
    path = next(folder.glob("*.array_record*")) if "record" in file else folder / file
    DAMAGES[how](path)
    before = sources.listing(world)
    refused(capsys, f"{typed} --data-dir data", "tiny/2.0.0: cannot be read (")
    assert sources.listing(world) == before


def test_odd_names_and_loops_change_nothing(odd, capsys, tmp_path):
    """Folders that lead into themselves, or whose names are no text and of several lines."""
    Path("emodb/up").symlink_to("..")
    Path("emodb/self").symlink_to("self")
    inner = Path(os.fsdecode(b"emodb/w\xffa\nv\x1b[31m"))
    inner.mkdir()
    for file in Path("emodb").glob("*.wav"):
        file.rename(inner / file.name)
    assert (
        cli.main(["prepare", "emodb", "--source", "emodb", "--data-dir", str(tmp_path), "--workers", "1"])
        == 0
    )
    assert data.load("emodb", tmp_path).id.tolist() == ["03a01Fa", "03a01Nc", "08a01Fd"]
    capsys.readouterr()
    assert cli.main(["audit", "emodb", "--source", "emodb", "--workers", "1"]) == 0
    assert r"emodb/w\udcffa\nv\x1b[31m/03a01Nc.wav" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize(
    "typed", ["audit emodb --source locked", "prepare manifest --source speech/m.csv --data-dir locked"]
)
def test_a_folder_that_may_not_be_used(capsys, typed, world):
    (world / "locked").mkdir(0)
    try:
        assert cli.main(typed.split()) == 2
        assert "Permission denied" in capsys.readouterr().err
    finally:
        (world / "locked").rmdir()


def plain(catalog):
    """Facts without the places that they were found at, and without what may be cut off behind a turn."""
    dropped = ("place", "raters")
    return [tuple(v for k, v in vars(one).items() if k not in dropped) for one in catalog.utterances]


def test_iemocaps_labels_cut_anywhere():
    """What is left is read as it was or refused by name; nothing is made up, nothing else is raised."""
    whole, read, named = Path(TURNS).read_bytes(), [], []
    facts = plain(iemocap.read("IEMOCAP"))
    with standing(TURNS, whole):
        for end in range(len(whole)):
            Path(TURNS).write_bytes(whole[:end])
            try:
                left = plain(iemocap.read("IEMOCAP"))
            except UserError as error:
                named.append(TURNS in str(error))
            else:
                assert left == facts[: len(left)]
                read.append(len(left))
    assert set(read) == {1, 2, 3}
    assert all(named)


@pytest.mark.parametrize("file", [f"{ANNOTATION}/arousal/P16.csv", f"{TIMINGS}/P16.csv", PEOPLE])
def test_recolas_tables_cut_anywhere(file, caplog):
    """An annotation is whole or refused; of turns and people what is left is what was there, or is said."""
    whole, facts, named = Path(file).read_bytes(), plain(recola.read("RECOLA")), []
    draw = np.random.default_rng(0)
    ends = range(len(whole)) if len(whole) < 1000 else sorted(draw.integers(0, len(whole) - 8, 25))
    with standing(file, whole):
        for end in ends:
            Path(file).write_bytes(whole[:end])
            caplog.clear()
            try:
                left = plain(recola.read("RECOLA"))
            except UserError as error:
                named.append(file in str(error) or "RECOLA: " in str(error))
            else:
                assert len(whole) < 1000
                ids = [utterance[0] for utterance in left]
                assert ids == [fact[0] for fact in facts][: len(ids)]
                if file == PEOPLE:
                    assert left == facts or "unknown" in caplog.text
    assert all(named)


FILES = {
    "speech/m.csv": lambda: manifest.read("speech/m.csv").utterances,
    TURNS: lambda: iemocap.read("IEMOCAP").utterances,
    f"{TIMINGS}/P16.csv": lambda: recola.read_turns(Path(f"{TIMINGS}/P16.csv")),
    PEOPLE: lambda: recola.read_people(Path(PEOPLE)),
}


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=100)
@given(places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_read_or_refused(file, places):
    """Whatever stands in a file of labels, what cannot be read ends as one sentence."""
    damaged = bytearray(Path(file).read_bytes())
    for place, byte in places:
        damaged[place % len(damaged)] = byte
    with standing(file, bytes(damaged)), contextlib.suppress(UserError):
        assert FILES[file]() is not None
