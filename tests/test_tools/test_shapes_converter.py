"""The tool that generates Shapes, as a user calls it."""

from functools import partial

import pytest


@pytest.fixture
def call(run_main):
    """Run the tool in this process: status, stdout, stderr."""
    return partial(run_main, "dataset_converters/shapes.py")


def test_generates_then_says_that_it_is_complete_then_refuses(call, tmp_path):
    small = (str(tmp_path / "shapes"), "--num-train", "2", "--num-val", "1", "--size", "64")
    code, out, err = call(*small)
    assert (code, err) == (0, "") and "3/3 pictures" in out and "Done in" in out
    code, out, _ = call(*small)
    assert code == 0 and "Already complete" in out
    code, _, err = call(*small, "--seed", "5")
    assert code == 2 and "seed is 0, not 5" in err and "Traceback" not in err
    code, out, _ = call(*small, "--seed", "5", "--overwrite")
    assert code == 0 and "Done in" in out


def test_a_stop_is_one_sentence(call, monkeypatch, tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("afa.datasets.shapes.generate_sample", stop)
    code, _, err = call(str(tmp_path / "shapes"))
    assert code == 130 and "Stopped" in err
