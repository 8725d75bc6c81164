"""What a page is made of: text, tables and figures as HTML."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import drawing


class Section(NamedTuple):
    """A part of a page: its heading, and HTML; an empty one is left out."""

    heading: str
    body: str


def text(plain: str) -> str:
    """Any text as HTML; what stands between backticks is code."""
    found = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(plain))
    return re.sub(r"(?<=\d) %", "&nbsp;%", found)


def paragraph(plain: str, kind: str = "") -> str:
    """A paragraph; `kind` is a class of the style, "note" or "warning"."""
    return f"<p{_class(kind)}>{text(plain)}</p>" if plain else ""


def bullets(items: Iterable[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>"


def folded(title: str, content: str) -> str:
    """What is seen when it is asked for."""
    return f"<details><summary>{text(title)}</summary>{content}</details>"


def table(lines: Sequence[Sequence[str]], caption: str, kind: str = "") -> str:
    """Fields, the head first, in a box that scrolls sideways by itself; the first column names the rows.

    Args:
      lines: all of one length.
      caption: what the table is of.
      kind: "prose" where the fields are words rather than numbers.
    """
    head, *body = lines
    classes = [_class("paper" if name == "paper" else "") for name in head]
    top = "".join(f'<th scope="col"{c}>{text(n)}</th>' for n, c in zip(head, classes, strict=True))
    rows = "".join(
        f'<tr><th scope="row">{text(line[0])}</th>'
        + "".join(f"<td{c}>{text(field)}</td>" for field, c in zip(line[1:], classes[1:], strict=True))
        + "</tr>"
        for line in body
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(caption)}">'
        f"<table{_class(kind)}><caption>{text(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def gallery(named: dict[str, Figure], prefix: str) -> str:
    """Figures side by side as far as the screen is wide, and below once what their marks mean.

    Args:
      named: what each shows, for those who do not see it, to the figure.
      prefix: of the ids in them; no other gallery of the page has it.
    """
    if not named:
        return ""
    explained = [one.get_supxlabel().replace("\n", " ") for one in named.values()]
    shown = [figure(one, what, f"{prefix}{i}") for i, (what, one) in enumerate(named.items())]
    return f'<div class="gallery">{"".join(shown)}</div>' + paragraph(max(explained, key=len), "note")


def figure(one: Figure, what: str, prefix: str) -> str:
    """A figure within the page: its ink and ground are the page's, its width is what there is.

    Args:
      one: of black ink on a white ground; its explanation, the text below, is taken away.
      what: it shows.
      prefix: of all ids in it.
    """
    one.supxlabel("")
    grounds: list[Figure | Axes] = [one, *one.axes]
    for ground in grounds:
        ground.patch.set_visible(False)
    found = drawing.svg(one)
    found = found[found.index("<svg") :]
    found = re.sub(r"<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>", "", found, flags=re.DOTALL)
    start, _, rest = found.partition(">")
    box = re.findall(r'viewBox="[^"]*"', start)[0]
    rest = rest.replace("#000000", "currentColor").replace("xlink:href", "href")
    rest = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", rest)
    rest = re.sub(r">\s+<", "><", rest).strip()
    return (
        f'<figure><svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{html.escape(what)}">'
        f"{rest}</figure>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
