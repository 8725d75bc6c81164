"""Input that is odd and harmless: what is written, in which file, and with which flags it is read.

What is callable makes it of what stood there. The corpus is that of the clean file.
"""

from mistakes_written import AROUSAL, SPEECH, M, every_row
from sources import PEOPLE, TURNS


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


HARMLESS = [
    *((M, change) for change in (crlf, lone_cr, marked, quoted(","))),
    (M, lambda text: crlf(text).encode("utf-8-sig")),
    (M, lambda text: b"\xef\xbb\xbf" + marked(text)),  # by two programs, one after the other
    (M, lambda text: text.rstrip("\n")),
    (M, lambda text: "\n \n,,,\n" + text),
    (M, lambda text: text.replace("\n", "\n\n,,,\n")),
    (M, lambda text: text.replace(",", ";").replace("path", "Path")),
    (M, lambda text: text.replace(",", "\t")),
    (M, lambda text: text.replace(",", " , ")),
    (M, lambda text: text.replace(",", "\t,\u00a0")),
    (M, lambda text: text.replace("low", "LOW").replace("positive", "Positive")),
    (M, column("mood", "happy")),
    (M, column("", "")),
    (M, column("mood", "=1+1")),
    (M, column("mood", "x" * 100_000)),
    (M, column("mood,mood", "1,2")),
    (M, column("sex", "unknown")),
    (M, column("sex", "")),
    (M, column("start", "")),
    (M, column("emotion,language,session,start,end", ",,,,")),
    (M, lambda text: "\n".join(",".join(reversed(line.split(","))) for line in text.splitlines())),
    *((AROUSAL, change) for change in (crlf, lone_cr, marked, quoted(";"))),
    (AROUSAL, lambda text: text.replace(";", ",")),
    (AROUSAL, lambda text: text.replace(";", "\t")),
    (AROUSAL, lambda text: text.rstrip("\n")),
    (AROUSAL, lambda text: "\n\n" + text.replace("\n", "\n\n")),
    (AROUSAL, lambda text: text.replace("time;FM1 ", "Time; fm1")),
    (AROUSAL, lambda text: text.replace(";", " ; ")),
    (AROUSAL, every_row((";", ";"))),
    (AROUSAL, every_row((";comment", ";=1+1"))),
    (AROUSAL, lambda text: text.replace("\n0.52;", "\n0.5200000001;")),
    (AROUSAL, lambda text: text.replace(";0.000;0.000;", ";0e-99;-0;")),
    *((SPEECH, change) for change in (crlf, lone_cr, marked, quoted(";"))),
    (SPEECH, lambda text: text.replace(";", ",")),
    (SPEECH, lambda text: "\n".join(";".join(line.split(";")[::-1]) for line in text.splitlines())),
    (SPEECH, lambda text: text + "400;1e20\n"),
    *((PEOPLE, change) for change in (crlf, lone_cr, marked, quoted(";"))),
    (PEOPLE, lambda text: text.replace("P16", "16").replace("female", "F")),
    (PEOPLE, lambda text: text + "P16;3;female\nP99;;\n"),
    (PEOPLE, lambda text: (text + "P20;4;femme née à Genève\n").encode("latin-1")),
    (TURNS, crlf),
    (TURNS, lone_cr),
    (TURNS, lambda text: text.rstrip("\n")),
    (TURNS, lambda text: text.replace("\n", "\n\n").replace("\t", "   ")),
    (TURNS, lambda text: text.replace("Neutral", "dej\u00e0 vu").encode("latin-1")),
    (TURNS, lambda text: text.replace("2.0000", "2").replace("3.0000", "3.0e0")),
    (TURNS, lambda text: text[: text.rindex("A-E3")]),
]
READ = {
    M: f"prepare manifest --source {M} --name same",
    AROUSAL: "prepare recola --source RECOLA --name same",
    SPEECH: "prepare recola --source RECOLA --name same",
    PEOPLE: "prepare recola --source RECOLA --name same",
    TURNS: "prepare iemocap --source IEMOCAP --name same",
}
