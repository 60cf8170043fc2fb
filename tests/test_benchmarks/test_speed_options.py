import pytest
import torch

from speed_options import BenchmarkOptions


def test_defaults_are_fine_and_photos_are_looked_for(tmp_path):
    BenchmarkOptions(parts=("par", "step")).check()
    (tmp_path / "JPEGImages").mkdir()
    BenchmarkOptions(parts=("crf",), data_root=str(tmp_path)).check()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(parts=("pax",)), r"--parts must be of par, cams, .* got 'pax'"),
        (dict(dtype="float16"), r"--dtype must be one of float32, bfloat16, got 'float16'"),
        (dict(batch=0), "--batch must be 1 or more, got 0"),
        (dict(photos=0), "--photos must be 1 or more, got 0"),
        (dict(processes=-1), "--processes must be 0 or more, got -1"),
        (dict(crop=100), "--crop must be a multiple of 32 and at least 64, got 100"),
        (dict(parts=("test", "par"), data_root="no/where"), "parts test need photos.*no/where/JPE"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        BenchmarkOptions(**options).check()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu():
    with pytest.raises(ValueError, match="--device cuda needs a GPU"):
        BenchmarkOptions(device="cuda").check()
