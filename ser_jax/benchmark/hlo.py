"""Count what a compiled program does, from its text: kernels, bytes moved, arithmetic, and the least time.

XLA's own analysis of costs is no help: it has none for a GPU, counts the bodies of loops once, and memory on
a TPU's chip as any other.
"""

import math
import re
from typing import NamedTuple

import numpy as np


class Op(NamedTuple):
    """Hold an instruction of an HLO program: type, code, names of operands, and the text after them."""

    kind: str
    code: str
    operands: list[str]
    rest: str


Computation = dict[str, Op]
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?(\S+) = (.*?) ([a-z][\w-]*)\(([^)]*)\)(.*)")
ARRAY = re.compile(r"\b[a-z]+(\d*)\w*\[([\d,]*)\](?:\{([\d,]*)(?::([^{}]*))?\})?")
FREE = re.compile(r"parameter|constant|tuple|get-tuple-element|bitcast|after-all|opt-barrier|.*-done")
FREE_CALLS = re.compile("AllocateBuffer|ConcatBitcast")  # of a TPU
VIEWS, SLICES, UPDATE = {"bitcast", "reshape"}, {"dynamic-slice", "slice", "gather"}, "dynamic-update-slice"


def numbers(text: str) -> list[int]:
    """Return the whole numbers in a text."""
    return [int(number) for number in re.findall(r"\d+", text)]


def sizes(kind: str, anywhere: bool = False) -> list[int]:
    """Return the bytes of the arrays of a type, padded to the tiles of their layout.

    Arrays on the chip, outside the device's memory, count as 0 unless `anywhere`.
    """
    found = []
    for bits, axes, order, tiling in ARRAY.findall(kind):
        lengths, tile = numbers(axes), re.match(r"T\(([\d,]+)\)", tiling)
        for axis, multiple in zip(numbers(order), reversed(numbers(tile[1] if tile else "")), strict=False):
            lengths[axis] = -(-lengths[axis] // multiple) * multiple
        there = anywhere or "S(" not in tiling
        found.append(there * math.prod(lengths) * max(int(bits or 8), 8) // 8)
    return found


class Program:
    """Count what a compiled program does, from its text."""

    def __init__(self, text: str):
        self._computations: dict[str, Computation] = {}
        for line in text.splitlines():
            if head := re.match(r"(ENTRY )?%?(\S+) \(.*\{$", line):
                own = self._computations["ENTRY" if head[1] else head[2]] = {}
            elif part := INSTRUCTION.match(line):
                name, kind, code, operands, rest = part.groups()
                names = re.findall(r"%([\w.-]+)", operands) or [operands]
                own[name] = Op(kind, code, names, re.sub(r"metadata=\{.*?\}", "", rest))

    def cost(self, bandwidth: float, peak: float, computation: str = "ENTRY") -> np.ndarray:
        """Return [kernels, bytes, FLOP of products, seconds at least], for bytes and FLOP per second.

        Loops count as often as they run, if that is constant; of branches, the slowest counts.
        """
        total, own = np.zeros(4), self._computations[computation]
        for op in own.values():
            if op.code == "while":
                condition, body = self._called(op)
                known = re.search(r'known_trip_count":\{"n":"(\d+)"', op.rest)
                bounds = [one.operands[0] for one in self._computations[condition].values()]
                bounds = [known[1]] if known else ["1", *filter(str.isdecimal, bounds)]
                trips = max(map(int, bounds))
                total += trips * self.cost(bandwidth, peak, body)
            elif op.code in ("conditional", "call", "async-start"):
                total += max(
                    (self.cost(bandwidth, peak, each) for each in self._called(op)), key=lambda c: c[3]
                )
            elif not FREE.fullmatch(op.code) and not FREE_CALLS.search(op.rest):
                flops, moved = self._flops(op, own), sum(self._written(op, own))
                moved += sum(self._read(op, name, own) for name in set(op.operands))
                total += 1, moved, flops, max(flops / peak, moved / bandwidth)
        return total

    def _called(self, op: Op) -> list[str]:
        return [name for name in re.findall(r"%([\w.-]+)", op.rest) if name in self._computations]

    def _fused(self, op: Op) -> Computation:
        return self._computations[self._called(op)[0]]

    def _flops(self, op: Op, own: Computation) -> int:
        """Return the FLOP of the matrix products and convolutions of an instruction."""
        if op.code == "fusion":
            inner = self._fused(op)
            return sum(self._flops(one, inner) for one in inner.values())
        axes = re.search(r'lhs_contracting_dim(?:ension)?s"?[=:][{[]([\d,"]*)', op.rest)
        labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", op.rest)
        if axes is None and labels is None:
            return 0
        kinds = *(own[name].kind for name in op.operands[:2]), op.kind
        shapes = [numbers(ARRAY.findall(kind)[0][1]) for kind in kinds]
        if axes:
            return 2 * math.prod(shapes[2]) * math.prod(shapes[0][axis] for axis in numbers(axes[1]))
        assert labels
        left, right, result = (
            dict(zip(*pair, strict=True)) for pair in zip(labels.groups(), shapes, strict=True)
        )
        window = dict(re.findall(r"(\w+)=([\dx_-]+)", op.rest.partition("window={")[2].partition("}")[0]))
        total = 2 * result["b"] * result["f"] * right["i"]
        for axis in left.keys() - {"b", "f"}:  # TPUs write batches of products as axes with holes or padding
            step, low, hole, gap = (
                int((window[name].split("x")[int(axis)] if name in window else default).partition("_")[0])
                for name, default in (("stride", "1"), ("pad", "0"), ("lhs_dilate", "1"), ("rhs_dilate", "1"))
            )
            at = np.add.outer(step * np.arange(result[axis]) - low, gap * np.arange(right[axis]))
            total *= int(np.sum((at >= 0) & (at < hole * left[axis]) & (at % hole == 0)))
        return total

    def _written(self, op: Op, own: Computation) -> list[int]:
        """Return the bytes that an instruction writes of each result: of an update, only what is new."""
        full = sizes(op.kind)
        if op.code == "fusion":
            inner, new = self._fused(op), []
            root = list(inner.values())[-1]
            for one in [inner[name] for name in root.operands] if root.code == "tuple" else [root]:
                while one.code in VIEWS:
                    one = inner[one.operands[0]]
                new += self._written(one, inner)
            return [min(pair) for pair in zip(full, new, strict=True)]
        if op.code == UPDATE:
            return [min(*full, *sizes(own[op.operands[1]].kind, anywhere=True))]
        if op.code.endswith("-start"):  # (..., destination, context); one end is on the chip
            return sizes(op.kind, anywhere=True)[-2:-1]
        return full[:1] if op.code == "custom-call" else full  # a product's second result is its workspace

    def _read(self, op: Op, name: str, own: Computation) -> int:
        """Return the bytes that an instruction reads of an operand: perhaps only slices."""
        first = op.operands[0] == name and op.operands.count(name) == 1
        if name not in own or op.code.endswith("-start") or (op.code == UPDATE and first):
            return 0
        full = sum(sizes(own[name].kind))
        if op.code in SLICES and first:
            return min(full, *sizes(op.kind, anywhere=True))
        if op.code != "fusion":
            return full
        inner, total = self._fused(op), 0
        places = [str(place) for place, operand in enumerate(op.operands) if operand == name]
        views = [view for view, one in inner.items() if one.code == "parameter" and one.operands[0] in places]
        for view in views:  # grows
            for other, one in inner.items():
                if view in one.operands and one.code in {*VIEWS, "broadcast"}:
                    views.append(other)
                elif view in one.operands:
                    total += self._read(one, view, inner)
        return min(total, full)
