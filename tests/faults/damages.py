"""What can be wrong with what an experiment stored, one function each: it is refused or mended."""

import json
import shutil
from pathlib import Path

from laboratory import STACK, Laboratory, begun, ends_well, refused

from ser_jax.checkpoint import Series


def cut(checkpoint: Path) -> None:
    """Halves every file of its arrays."""
    for file in [file for file in checkpoint.rglob("*") if file.is_file()]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def a_damaged_checkpoint(lab: Laboratory) -> None:
    """The one before is taken, and it is said."""
    place = begun(lab, "damaged", 4)
    cut(place / "4")
    said = ends_well(lab, "damaged").said
    assert f"{STACK}/4 is damaged" in said, said
    assert "stack 1 goes on after epoch 3 of 5" in said, said
    assert "Traceback" not in said, said


def all_checkpoints_damaged(lab: Laboratory) -> None:
    """The stack is trained again."""
    place = begun(lab, "all-damaged", 3)
    cut(place / "2")
    cut(place / "3")
    said = ends_well(lab, "all-damaged").said
    assert f"{STACK}/3 is damaged" in said, said
    assert f"{STACK}/2 is damaged" in said, said
    assert "stack 1 is trained again" in said, said


def a_damaged_note(lab: Laboratory) -> None:
    """Of which stacks it is unknown what they are, these are trained again."""
    place = begun(lab, "no-note", 3)
    (place.parent / "stacks.json").write_text('{"work": {')
    assert "stacks.json is lost or damaged" in ends_well(lab, "no-note").said


def another_configuration(lab: Laboratory) -> None:
    """What was begun otherwise is refused, with what differs, and is not touched."""
    place = begun(lab, "otherwise", 3)
    ended = lab.ended("otherwise", "--stacking", "vmap")
    other = "unfinished work of another configuration (training stacking: auto there, vmap asked for)"
    refused(ended, str(place.parent), other, "compute with the same, or delete it")
    note = place.parent / "stacks.json"
    content = json.loads(note.read_text())
    content["work"]["model"]["channels"] = 100
    note.write_text(json.dumps(content))
    refused(lab.ended("otherwise"), "(model channels: 100 there, 200 asked for)")
    content["work"]["model"]["channels"] = 200
    note.write_text(json.dumps(content))
    ends_well(lab, "otherwise")


def another_computer(lab: Laboratory) -> None:
    """What another version or device began is taken up, and it is said."""
    place = begun(lab, "elsewhere", 3)
    note = place.parent / "stacks.json"
    content = json.loads(note.read_text())
    content["environment"]["jax"] = "0.9"
    note.write_text(json.dumps(content))
    said = ends_well(lab, "elsewhere").said
    assert "was begun otherwise (jax: 0.9 there, " in said, said
    assert "results may differ by rounding" in said, said


def arrays_of_another_shape(lab: Laboratory) -> None:
    """A checkpoint that does not fit its note."""
    place = begun(lab, "shapes", 2)

    def forge() -> int:
        shutil.rmtree(place)
        with Series(place) as series:
            series.save(2, {"state": {"params": {"bias": 0.0}}})
        return 0

    lab.do(forge)
    refused(
        lab.ended("shapes"), "stack-0/2 is of another configuration", "losses none, expected float32 [5, 1]"
    )
    shutil.rmtree(place)
    ends_well(lab, "shapes")


DAMAGES = (
    a_damaged_checkpoint, all_checkpoints_damaged, a_damaged_note, another_configuration,
    another_computer, arrays_of_another_shape,
)  # fmt: skip
