"""The count of what a compiled program does, and programs compiled for devices that are not there."""

import importlib.util
import math
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import lax

from ser_jax.benchmark import BenchmarkError, compiled
from ser_jax.benchmark.hlo import Program, sizes
from ser_jax.devices import runs_mesh
from ser_jax.experiment.config import Config

LIBTPU = importlib.util.find_spec("libtpu")
EPOCH = """
from ser_jax.benchmark import compiled
from ser_jax.experiment.config import Config
compiled.use_compilers()
work = next(compiled.works(Config(), 2, 64, compiled.mesh_of("v5e")))
program = work.lowered.compile()
text = program.as_text()
print(text.count(" while("), text.count(" sort("), program.memory_analysis().temp_size_in_bytes)
print(*compiled.Program(text).cost(819e9, 197e12 / 6))
"""
FUSED = """
%gathers (table: f32[1000,100], row: s32[]) -> f32[1,100] {
  %table = f32[1000,100]{1,0} parameter(0)
  %row = s32[] parameter(1)
  %view = f32[1000,100]{1,0} bitcast(%table)
  ROOT %slice = f32[1,100]{1,0} dynamic-slice(%view, %row, %row), dynamic_slice_sizes={1,100}
}

%updates (total: f32[1000,100], new: f32[1,100], row: s32[]) -> f32[1000,100] {
  %total = f32[1000,100]{1,0} parameter(0)
  %new = f32[1,100]{1,0} parameter(1)
  %row.1 = s32[] parameter(2)
  ROOT %update = f32[1000,100]{1,0} dynamic-update-slice(%total, %new, %row.1, %row.1)
}

ENTRY %main (a: f32[1000,100], i: s32[]) -> f32[1000,100] {
  %a = f32[1000,100]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %one = f32[1,100]{1,0} fusion(%a, %i), kind=kLoop, calls=%gathers
  ROOT %all = f32[1000,100]{1,0} fusion(%a, %one, %i), kind=kLoop, calls=%updates
}
"""
WINDOW = "window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0oi->b0f"
BATCHED = f"""
ENTRY %main (a: f32[8,30,20], b: f32[8,40,20]) -> f32[30,8,40] {{
  %a = f32[8,30,20]{{2,1,0}} parameter(0)
  %b = f32[8,40,20]{{2,1,0}} parameter(1)
  ROOT %c = f32[30,8,40]{{2,1,0}} convolution(%a, %b), {WINDOW}
}}
"""


def text_of(function, *shapes):
    shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    return jax.jit(function).lower(*shapes).compile().as_text()


def cost(text):
    return dict(zip(("kernels", "moved", "flops", "seconds"), Program(text).cost(1e9, 1e12), strict=True))


def test_arrays_fill_the_tiles_of_their_layout_and_may_be_on_the_chip():
    assert sizes("f32[750,26]{1,0}") == [750 * 26 * 4]
    assert sizes("(f32[750,26]{1,0:T(8,128)}, s32[5]{0:T(128)S(1)})") == [752 * 128 * 4, 0]
    assert sizes("f32[750,26]{0,1:T(8,128)S(1)}", anywhere=True) == [768 * 32 * 4]
    assert sizes("(pred[3]{0}, bf16[2,2]{1,0}, f32[])") == [3, 8, 4]


def test_a_fusion_moves_only_the_rows_that_it_reads_and_updates():
    row, index = 400, 4
    assert cost(FUSED)["moved"] == (row + row + index) + (row + row + index)
    assert cost(FUSED)["kernels"] == 2


def test_batches_of_products_count_as_such_also_if_they_are_written_as_a_convolution():
    """XLA writes this convolution for the product of 8 pairs of matrices on a TPU."""
    assert cost(BATCHED)["flops"] == 2 * 8 * 30 * 20 * 40


def test_products_count_as_often_as_their_loop_runs():
    text = text_of(lambda a, b: lax.scan(lambda c, _: (c @ b, None), a, length=7)[0], (64, 64), (64, 64))
    found = cost(text)
    assert found["flops"] == 7 * 2 * 64**3
    assert found["seconds"] >= max(found["flops"] / 1e12, found["moved"] / 1e9) * (1 - 1e-9)


def test_taps_of_a_convolution_beyond_the_input_do_not_count():
    def convolve(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1,), [(1, 1)], dimension_numbers=("NWC", "WIO", "NWC"))

    assert cost(text_of(convolve, (2, 10, 3), (3, 3, 5)))["flops"] == 2 * 2 * (3 * 10 - 2) * 3 * 5


@pytest.mark.usefixtures("hastily")
def test_the_report_holds_three_programs_and_one_table_2(monkeypatch):
    """The host's own device stands for a card."""
    monkeypatch.setattr(compiled, "mesh_of", lambda _: runs_mesh(jax.devices()[:1]))
    lines = compiled.report(Config(), ["h100"], 2, 40).splitlines()
    titles, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line)
    named = [dict(zip(titles, row, strict=True)) for row in rows]
    assert [row["program"] for row in named] == ["training", "prediction", "Whisper"]
    assert all(float(row["kernels"].replace(",", "")) > 0 for row in named)
    assert [bool(row["Table 2, s, fused"]) for row in named] == [True, False, False]
    assert "2 runs, 40 utterances" in lines[-1]


@pytest.mark.parametrize("name", compiled.CARDS)
def test_cards_say_all_that_their_compiler_asks(name):
    card = compiled.CARDS[name]
    assert card.float32 < card.tf32 <= card.bfloat16
    if not isinstance(card.target, str):
        text = compiled.DESCRIPTION.format(*card.target, memory=card.memory, bandwidth=card.bandwidth)
        assert text.count("{") == text.count("}") == 2 + 1


@pytest.mark.skipif(LIBTPU is not None, reason="the compilers are installed")
def test_a_missing_compiler_is_named_with_its_extra():
    with pytest.raises(BenchmarkError, match=r"v5e: .*ser_jax\[aot\]"):
        compiled.mesh_of("v5e")


@pytest.mark.skipif(LIBTPU is None, reason="the compiler for TPUs is not installed (extra: aot)")
def test_an_epoch_is_compiled_for_a_tpu_with_one_loop_and_one_sort():
    run = subprocess.run([sys.executable, "-c", EPOCH], capture_output=True, text=True, check=True)
    loops, sorts, temporaries, kernels, _, flops, seconds = map(float, run.stdout.split())
    assert (loops, sorts) == (1, 1)
    assert temporaries < 50e6
    assert kernels < 2 * 250
    products = 2 * 2 * 32 * 2 * (2 * 240 * 260 * 200)  # steps, runs, utterances, products
    assert math.isclose(flops, products, rel_tol=0.01)
    assert seconds >= flops / (197e12 / 6)
