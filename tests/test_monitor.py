"""Measuring programs from outside."""

from pathlib import Path

import pytest

from ser_jax.benchmark.monitor import MonitorError, monitor_code


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a system without /proc")
def test_the_memory_of_children_counts():
    """100 MB in the process and 100 MB in the one that it starts, for half a second."""
    hold = "import time; held = bytearray(b'x') * 100_000_000; time.sleep(0.5)"
    child = f"child = subprocess.Popen([sys.executable, '-c', {hold!r}])"
    code = f"import subprocess, sys; {child}; {hold}; child.wait(); print('done')"
    process, said = monitor_code(code)
    assert said == "done"
    assert 200 < process.anonymous < process.peak < 300
    assert 0.5 < process.seconds < 20


def test_a_process_that_fails_is_not_measured(capfd):
    with pytest.raises(MonitorError, match=r"a process ended with status 3, expected 0 \(see above\)"):
        monitor_code("import sys; print('why', file=sys.stderr); sys.exit(3)")
    assert "why" in capfd.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="a system without /proc")
def test_a_mapped_file_is_told_from_memory(tmp_path):
    (tmp_path / "file").write_bytes(bytes(100_000_000))
    code = "import mmap, sys, time; file = open(sys.argv[1], 'rb')"
    code += "; held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)"
    code += "; print(sum(held[i] for i in range(0, 10**8, 4096))); time.sleep(0.2)"
    process, said = monitor_code(code, tmp_path / "file")
    assert said == "0"
    assert process.peak > 100
    assert process.anonymous < 50
