import io

import numpy as np
from PIL import Image

from afa.utils.process_memory import MemorySample
from afa.visualization.memory_plot import memory_plot


def _picture(runs):
    return np.asarray(Image.open(io.BytesIO(memory_plot(runs, "title"))).convert("RGB")).astype(int)


def _has_color(picture, color):
    return (np.abs(picture - color).max(axis=2) < 20).sum() > 100


def test_each_run_has_its_line():
    flat = [MemorySample(60.0 * i, 500.0, 900.0, 2) for i in range(5)]
    one = _picture({"one": flat})
    two = _picture({"one": flat, "two": [s._replace(total=2000.0) for s in flat]})
    blue, orange = np.array((0, 114, 178)), np.array((213, 94, 0))
    assert _has_color(one, blue) and not _has_color(one, orange)
    assert _has_color(two, blue) and _has_color(two, orange)
