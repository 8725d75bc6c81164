"""What can be written wrong in a file, and the sentence that answers it.

A mistake is a file of `sources.lay`, what is written in it instead (what is callable makes it of what was
there), and the sentence.
"""

from sources import ANNOTATION, MANIFEST, PEOPLE, TIMINGS, TURNS

HEAD = "path,speaker,arousal,valence\n"
ROW = "a.wav,x,low,negative\n"
CUT = HEAD.strip() + ",start,end\n"
M = "speech/m.csv"
AROUSAL = f"{ANNOTATION}/arousal/P16.csv"
SPEECH = f"{TIMINGS}/P16.csv"


def swap(before, after):
    """Text with the first `before` replaced."""
    return lambda text: text.replace(before, after, 1)


def cell(text):
    """An annotation whose 14th row's first rater said something else."""
    return lambda trace: trace.replace("\n0.52;0.013;", f"\n0.52;{text};")


def every_row(add):
    """An annotation with more at the end of each row; of the header, what `add[0]` says."""
    return lambda text: "\n".join(line + add[i > 0] for i, line in enumerate(text.splitlines())) + "\n"


MANIFESTS = [
    ("", "m.csv: no column 'path', found an empty file, expected path, speaker"),
    ("\ufeff", "m.csv: no column 'path', found an empty file"),
    ("\n\n \n", "m.csv: no column 'path', found an empty file"),
    (HEAD, "m.csv: no utterances, expected a row for each"),
    (ROW, "m.csv: no column 'path', found a.wav, x, low, negative, expected path, speaker"),
    (MANIFEST.encode("utf-16"), "m.csv: not UTF-8 text (byte 0), expected UTF-8"),
    (MANIFEST.encode("utf-16-le"), "m.csv:1: holds a null character, expected text"),
    (MANIFEST.encode("utf-32"), "m.csv: not UTF-8 text (byte 0), expected UTF-8"),
    ((HEAD + "a.wav,é,low,negative\n").encode("latin-1"), "m.csv: not UTF-8 text (byte 35), expected UTF-8"),
    (HEAD.encode() + b"a\xff.wav,x,low,negative\n", "m.csv: not UTF-8 text (byte 30), expected UTF-8"),
    (bytes(100_000), "m.csv:1: holds a null character, expected text"),
    (MANIFEST + "\0", "m.csv:5: holds a null character, expected text"),
    (HEAD + "a.wav,x\0,low,negative\n", "m.csv:2: holds a null character"),
    (b"PK\x03\x04\x14\x00\x06\x00", "m.csv:1: holds a null character"),  # a spreadsheet's own format
    (MANIFEST.replace(",", "|"), "no column 'path', found path|speaker|arousal|valence, expected path, sp"),
    (MANIFEST.replace("speaker", "speker"), "expected path, speaker; did you mean 'speaker' by 'speker'?"),
    (
        HEAD + "a.wav,x,hihg,negative\n",
        "m.csv:2: arousal is 'hihg', expected low, high or a finite number; did you mean 'high'?",
    ),
    (HEAD.strip() + ",sex\na.wav,x,low,negative,femal\n", "female, male, unknown; did you mean 'female'?"),
    (
        "path,speaker,emotoin\na.wav,x,joy\n",
        "m.csv: no column of labels, found path, speaker, emotoin, expected",
    ),
    ("path," + HEAD + "a.wav," + ROW, "m.csv: column 'path' appears 2 times, expected once"),
    (HEAD.strip() + ",end,end\n", "m.csv: column 'end' appears 2 times, expected once"),
    ("x" * 1000 + "," * 5000, "m.csv: no column 'path', found " + "x" * 200 + "..., expected path"),
    (HEAD + "a.wav,x,low\n", "m.csv:2: 3 cells, expected 4"),
    (HEAD + "a.wav,x,low,negative,x\n", "m.csv:2: 5 cells, expected 4"),
    (MANIFEST + "\x1a", "m.csv:5: 1 cells, expected 4"),
    (HEAD + '"a.wav,x,low,negative\n', "m.csv:2: not CSV (unexpected end of data)"),
    (HEAD + 'a.wav,"x,low,negative\nb.wav,y,low,negative\n', "m.csv:3: not CSV (unexpected end of data)"),
    (HEAD + '"a.wav"b,x,low,negative\n', "m.csv:2: not CSV (',' expected after '\"')"),
    (
        HEAD + f"a.wav,{'x' * 200_000},low,negative\n",
        "m.csv:2: not CSV (field larger than field limit (131072))",
    ),
    (
        HEAD + f"a.wav,{'x' * 100_000},low,negative\n",
        "m.csv:2: speaker has 100,000 characters, expected 1,000",
    ),
    (
        HEAD + f"{'a' * 4000}.wav,x,low,negative\n",
        "m.csv:2: path has 4,004 characters, expected 1,000 at most",
    ),
    (HEAD + f"{'a' * 300}.wav,x,low,negative\n", "cannot be opened (File name too long)"),
    (MANIFEST + ROW, "m.csv:5: a.wav is already in speech/m.csv:2, expected it once"),
    (
        MANIFEST + "./folder/../a.wav,z,high,negative\n",
        "a.wav is already in speech/m.csv:2, expected it once",
    ),
    (
        CUT + "a.wav,x,low,negative,0,.2\na.wav,x,low,negative,0.0,0.20\n",
        "m.csv:3: a.wav#0.0-0.20 is already",
    ),
    (CUT + "a.wav,x,low,negative,0,1\na.wav#0-1,x,low,negative,,\n", "m.csv:3: a.wav#0-1 is already in"),
    (HEAD + "a.wav,,low,negative\n", "m.csv:2: speaker is empty, expected a speaker"),
    (HEAD + "a.wav,\u00a0,low,negative\n", "m.csv:2: speaker is empty, expected a speaker"),
    (HEAD + " ,x,low,negative\n", "m.csv:2: path is empty, expected a path"),
    (
        HEAD + "a.wav,x,,\nb.wav,y,,\n",
        "m.csv: no row has a label (arousal, valence, dominance, emotion), expected some",
    ),
    (HEAD + 'a.wav,"x\ny",low,negative\n', r"m.csv:3: speaker 'x\ny' holds '\n', expected a speaker on one"),
    (HEAD + 'a.wav,"x\ry",low,negative\n', r"speaker 'x\ry' holds '\r', expected a speaker on one line"),
    (HEAD + 'a.wav,"x\u2028y",low,negative\n', r"speaker 'x\u2028y' holds '\u2028', expected a speaker on"),
    (HEAD + "a.wav,\x1b[31mx,low,negative\n", r"speaker '\x1b[31mx' holds '\x1b', expected a speaker on one"),
    (HEAD + '"a\n.wav",x,low,negative\n', r"m.csv:3: path 'a\n.wav' holds '\n', expected a path on one line"),
    (HEAD + "a.wav,x,.5,negative\n", "arousal is given in numbers, expected --arousal-threshold"),
    (
        HEAD + "a.wav,x,low,=1+1\n",
        "m.csv:2: valence is '=1+1', expected negative, positive or a finite number",
    ),
    (HEAD + "a.wav,x,negative,low\n", "m.csv:2: arousal is 'negative', expected low, high or a finite"),
    (
        HEAD + "a.wav,x,low,negative\nb.wav,x,0.5,negative\n",
        "m.csv:3: arousal is '0.5', but 'low' in speech/m.csv:2; expected all words or all numbers",
    ),
    (CUT + "a.wav,x,low,negative,nan,\n", "m.csv:2: start is 'nan', expected a finite number"),
    (CUT + "a.wav,x,low,negative,,inf\n", "m.csv:2: end is 'inf', expected a finite number"),
    (CUT + "a.wav,x,low,negative,,1e999\n", "m.csv:2: end is '1e999', expected a finite number"),
    (CUT + 'a.wav,x,low,negative,"0,1",\n', "m.csv:2: start is '0,1', expected a finite number"),
    (CUT + "a.wav,x,low,negative,00:01,\n", "m.csv:2: start is '00:01', expected a finite number"),
    (CUT + "a.wav,x,low,negative,=0,\n", "m.csv:2: start is '=0', expected a finite number"),
    (CUT + "a.wav,x,low,negative,1_0,\n", "m.csv:2: start is '1_0', expected a finite number"),
    (CUT + "a.wav,x,low,negative,\u0661,\n", "m.csv:2: start is '\u0661', expected a finite number"),
    (CUT + "a.wav,x,low,negative,-1,1\n", "segment from -1 s to 1 s, expected 0 <= start < end"),
    (CUT + "a.wav,x,low,negative,2,1\n", "segment from 2 s to 1 s, expected 0 <= start < end"),
    (CUT + "a.wav,x,low,negative,.1,.1\n", "segment from .1 s to .1 s, expected 0 <= start < end"),
    (CUT + "a.wav,x,low,negative,0,100\n", "segment ends at 100.0 s, expected it within the file's 0.25 s"),
    (CUT + "a.wav,x,low,negative,5,\n", "segment begins at 5.0 s, expected it within the file's 0.25 s"),
    (CUT + "a.wav,x,low,negative,1e99,\n", "segment begins at 1e+99 s, expected it within the file's"),
    (CUT + "a.wav,x,low,negative,0,1e99\n", "segment ends at 1e+99 s, expected it within the file's 0.25"),
    (CUT + "a.wav,x,low,negative,0,1e308\n", "m.csv:2: end is '1e308', expected a finite number"),
    (
        CUT + "a.wav,x,low,negative,0,5e-99\n",
        "holds 0.0000 s of sound, expected at least one frame of 0.025",
    ),
    (HEAD.strip() + ",sex\na.wav,x,low,negative,F\n", "m.csv:2: sex is 'F', expected female, male, unknown"),
    (
        HEAD.strip() + ",sex\na.wav,x,low,negative,male\nb.wav,x,low,negative,female\n",
        "m.csv:3: speaker 'x' is female, but male in speech/m.csv:2; expected one of them",
    ),
    (
        HEAD + "../a.wav,x,low,negative\n",
        "path '../a.wav' leads out of the manifest's folder, expected one in",
    ),
    (HEAD + "folder/../../a.wav,x,low,negative\n", "leads out of the manifest's folder, expected one inside"),
    (
        HEAD + "/etc/passwd,x,low,negative\n",
        "path '/etc/passwd' leads out of the manifest's folder, expected",
    ),
    (HEAD + "folder,x,low,negative\n", "speech/folder: not a regular file, expected an audio file"),
    (HEAD + ".,x,low,negative\n", "speech: not a regular file, expected an audio file"),
    (HEAD + "m.csv,x,low,negative\n", "speech/m.csv: not readable as audio (it begins with b'path,spe')"),
    (HEAD + "a.wav/b.wav,x,low,negative\n", "speech/a.wav/b.wav: no such audio file"),
    (
        HEAD + "gone.wav,x,low,negative\n",
        "speech/gone.wav: no such audio file (asked for by m.csv:2); `ser-jax",
    ),
    (HEAD + "~/a.wav,x,low,negative\n", "speech/~/a.wav: no such audio file"),
    (HEAD + "C:\\a.wav,x,low,negative\n", "speech/C:\\a.wav: no such audio file"),
    (HEAD + "http://x/a.wav,x,low,negative\n", "no such audio file"),
    (HEAD + "@SUM(A1),x,low,negative\n", "speech/@SUM(A1): no such audio file"),
]

# As above, with --arousal-threshold 0.
NUMBERS = [
    *(
        (
            f'{HEAD}a.wav,x,1,negative\nb.wav,x,"{text}",negative\n',
            f"m.csv:3: arousal is '{text}', expected low, high or a finite number",
        )
        for text in ("nan", "-inf", "1e400", "1_000", "\u0663", "0,5", "=2")
    ),
    (HEAD + "a.wav,x,1,negative\nb.wav,x,low,negative\n", "m.csv:3: arousal is 'low', but '1' in speech/m.c"),
    (MANIFEST, "m.csv: arousal is given in words, expected no --arousal-threshold"),
]

RECOLA = [
    (
        AROUSAL,
        "",
        "P16.csv: no column 'time', found an empty file, expected time, FM1, FM2, FM3, FF1, FF2, FF3",
    ),
    (
        AROUSAL,
        lambda text: text[:30],
        "P16.csv: no column 'FF3', found time, FM1, FM2, FM3, FF1, FF2, , expe",
    ),
    (AROUSAL, lambda text: text[:80], "P16.csv:3: 5 cells, expected 7"),
    (AROUSAL, lambda text: text[:-5], "P16.csv:7502: 6 cells, expected 7"),
    (
        AROUSAL,
        lambda text: "\n".join(text.splitlines()[:4000]),
        "P16.csv: 3999 rows of annotation, expected 7501",
    ),
    (AROUSAL, lambda text: text + "300.04;0;0;0;0;0;0\n", "P16.csv: 7502 rows of annotation, expected 7501"),
    (
        AROUSAL,
        lambda text: text.partition("\n")[2],
        "P16.csv: no column 'time', found 0.00, 0.000, 0.000, 0, 0",
    ),
    (
        AROUSAL,
        swap("FF3", "FF4"),
        "P16.csv: no column 'FF3', found time, FM1, FM2, FM3, FF1, FF2, FF4, expected",
    ),
    (AROUSAL, lambda text: text.replace(";0.1\n", "\n"), "P16.csv:2: 6 cells, expected 7"),
    (AROUSAL, swap("FF3", "FF2"), "P16.csv: no column 'FF3', found time, FM1, FM2, FM3, FF1, FF2, FF2, exp"),
    (AROUSAL, every_row((";FM1", ";1")), "P16.csv: column 'FM1' appears 2 times, expected once"),
    (AROUSAL, every_row(("", ";1")), "P16.csv:2: 8 cells, expected 7"),
    (AROUSAL, lambda text: text.replace(".", ","), "P16.csv:2: column time holds '0,00', expected a number"),
    (
        AROUSAL,
        lambda text: text.replace(".", ",").replace(";", ","),
        "P16.csv:2: 11 cells, expected 7",
    ),
    (AROUSAL, lambda text: text.replace(";", " "), "P16.csv: no column 'time', found time FM1  FM2  FM3"),
    (AROUSAL, lambda text: text.encode("utf-16"), "P16.csv:1: holds a null character, expected text"),
    (AROUSAL, bytes(5000), "P16.csv:1: holds a null character, expected text"),
    (AROUSAL, cell("\0"), "P16.csv:15: holds a null character, expected text"),
    (AROUSAL, swap("\n0.00;", "\n0.08;"), "P16.csv:2: time 0.08 s, expected 0.00 s (steps of 0.04 s)"),
    (AROUSAL, lambda text: text.replace("\n0.04;", "\n0.00;"), "P16.csv:3: time 0.00 s, expected 0.04 s"),
    (
        AROUSAL,
        lambda text: "\n".join([text.splitlines()[0], *text.splitlines()[:0:-1]]),
        "P16.csv:2: time 300.00 s, expected 0.00 s",
    ),
    (
        AROUSAL,
        lambda text: text.replace("\n0.52;", "\n1e999999999999;"),
        "column time holds '1e999999999999'",
    ),
    (AROUSAL, cell(""), "P16.csv:15: column FM1 holds '', expected a number"),
    (AROUSAL, cell("=1+1"), "P16.csv:15: column FM1 holds '=1+1', expected a number"),
    (AROUSAL, cell("sNaN"), "P16.csv:15: column FM1 holds 'sNaN', expected a number"),
    (AROUSAL, cell("-Infinity"), "P16.csv:15: column FM1 holds '-Infinity', expected a number"),
    (AROUSAL, cell("1e308"), "P16.csv:15: column FM1 holds '1e308', expected a number"),
    (AROUSAL, cell("1.01"), "P16.csv:15: annotation 1.01, expected a number from -1 to 1"),
    (AROUSAL, cell("0." + "1" * 3000), "P16.csv:15: column FM1 holds '0.11111"),
    (AROUSAL, cell("1e-400"), "P16.csv:15: column FM1 holds '1e-400', expected a number"),
    (AROUSAL, cell("\u22120.5"), "P16.csv:15: column FM1 holds '\u22120.5', expected a number"),
    (AROUSAL, cell('"0'), "P16.csv:4520: not CSV (field larger than field limit (131072))"),
    (AROUSAL, lambda text: '"' + text, "not CSV (field larger than field limit (131072))"),
    (SPEECH, "", "P16.csv: no column 'start', found an empty file, expected start, stop"),
    (SPEECH, "start;stop\n", "P16.csv: no turns, expected rows of start and stop"),
    (SPEECH, "0.5;1.0\n", "P16.csv: no column 'start', found 0.5, 1.0, expected start, stop"),
    (SPEECH, "start;stop\n0.5\n", "P16.csv:2: 1 cells, expected 2"),
    (SPEECH, "start;stop\n2;1\n", "P16.csv:2: turn from 2 s to 1 s, expected 0 <= start < stop"),
    (SPEECH, "start;stop\n1;1\n", "P16.csv:2: turn from 1 s to 1 s, expected 0 <= start < stop"),
    (SPEECH, "start;stop\nnan;1\n", "P16.csv:2: column start holds 'nan', expected a number"),
    (SPEECH, "start;stop\n0;1e999\n", "P16.csv:2: column stop holds '1e999', expected a number"),
    (SPEECH, "start;stop\n0,5;1,5\n", "P16.csv:2: column start holds '0,5', expected a number"),
    (SPEECH, "start,stop\n0,5,1,5\n", "P16.csv:2: 4 cells, expected 2"),
    (SPEECH, "start;start;stop\n0;1;2\n", "P16.csv: column 'start' appears 2 times, expected once"),
    (SPEECH, "start;stop\n400;500\n", "RECOLA: no turn begins within the 300 s that are annotated, expected"),
    (SPEECH, b"\xff\xfe\x00", "P16.csv:1: holds a null character, expected text"),
    (PEOPLE, "", "user_info.csv: no column 'User', found an empty file, expected User"),
    (PEOPLE, "name;sex\nP16;f\n", "user_info.csv: no column 'User', found name, Sex, expected User"),
    (PEOPLE, "User;Sex\n;female\n", "user_info.csv:2: no user, expected one like P16 or 16"),
    (PEOPLE, "User;Sex;Sex\nP16;f;m\n", "user_info.csv: column 'Sex' appears 2 times, expected once"),
    (
        PEOPLE,
        "User;Group_id;Sex\nP16;3;female\n16;4;female\n",
        "user_info.csv:3: P16 with another sex or group than before, expected it once",
    ),
    (PEOPLE, 'User;Sex\n"P16;female\n', "user_info.csv:2: not CSV (unexpected end of data)"),
    (
        PEOPLE,
        "User;Group_id;Sex\nP16;3;female\n".encode("utf-16"),
        "user_info.csv:1: holds a null character, exp",
    ),
]

IEMOCAP = [
    ("", "Ses01F_impro01.txt: no turns, expected lines like '[6.29 - 8.23] NAME neu [2.5, 2.5, 2.5]'"),
    (lambda text: text.encode("utf-16"), "Ses01F_impro01.txt: no turns, expected lines like"),
    (bytes(1000), "Ses01F_impro01.txt: no turns, expected lines like"),
    (
        lambda text: text[: text.index("_M000")],
        "expected '[start - end] NAME emotion [valence, activation, dom",
    ),
    (lambda text: text[: text.index("3.5000") + 4], "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("3.5000", "1e308"), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("3.5000", "nan"), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("3.5000", "-1.0"), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("3.5000", "6.5"), "annotations from 0 to 6"),
    (swap("3.5000", "3,5000"), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("3.5000", "3" * 5000), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (swap("[2.0000 - 3.0000]", "[2.0000 - ]"), "impro01.txt:7: found '[2.0000 - ]"),
    (swap("\tfru", ""), "impro01.txt:7: found '[2.0000 - 3.0000]"),
    (
        swap("Ses01F_impro01_M000", "=1+1"),
        "impro01.txt:7: turn named '=1+1', expected a name like Ses01F_impro",
    ),
    (
        swap("Ses01F_impro01_M000", "Ses01F_../../M000"),
        "turn named 'Ses01F_../../M000', expected a name like",
    ),
    (swap("Ses01F_impro01_M000", "Ses02F_impro01_M000"), "lies in Session1, expected Session2"),
    (
        swap("Ses01F_impro01_M000", "Ses01F_impro01_F000"),
        "impro01.txt:7: Ses01F_impro01_F000 is already in",
    ),
]

WRITTEN = [
    *((M, text, "prepare manifest --source speech/m.csv --name new", says) for text, says in MANIFESTS),
    *(
        (M, text, f"prepare manifest --source {M} --name new --arousal-threshold 0", says)
        for text, says in NUMBERS
    ),
    *((file, text, "prepare recola --source RECOLA", says) for file, text, says in RECOLA),
    *((TURNS, text, "prepare iemocap --source IEMOCAP", says) for text, says in IEMOCAP),
]
