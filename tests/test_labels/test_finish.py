import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from afa.files.crf import dense_crf
from afa.files.label_png import read_label_png
from afa.files.maps import read_maps
from afa.labels.finish import LabelJob, best_label, finish_label, merge_labels
from afa.models.functional import merge_thresholds

PHOTO = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
STILL = dict(num_iters=0)  # a CRF that changes nothing


def _scores(num_labels=3, size=(6, 8)):
    return np.random.rand(num_labels, *size).astype(np.float32)


def _resized(scores, size=(12, 16)):
    return F.interpolate(torch.tensor(scores)[None], size=size, mode="bilinear")[0].numpy()


def _job(tmp_path, **changes):
    base = dict(png=tmp_path / "a.png", size=(12, 16), classes=[0, 4, 9])
    return LabelJob(**{**base, **changes})


def test_a_ready_label_map_is_written_as_it_is(tmp_path):
    label = np.random.choice([0, 4, 255], (12, 16)).astype(np.uint8)
    finish_label(_job(tmp_path, labels=[label]), palette=[[1, 2, 3]])
    assert np.array_equal(read_label_png(tmp_path / "a.png"), label)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_maps_are_written_where_asked_for(tmp_path):
    maps, label = _scores(2), np.zeros((12, 16), np.uint8)
    wanted = dict(npz=tmp_path / "a.npz", maps=maps, map_classes=[4, 9])
    finish_label(_job(tmp_path, labels=[label], **wanted))
    found = read_maps(tmp_path / "a.npz")
    assert found.classes == [4, 9] and found.size == (12, 16)
    assert np.abs(found.maps - maps).max() < 0.003


@pytest.mark.parametrize("logits", [False, True])
def test_a_crf_of_no_steps_gives_the_best_of_the_resized_scores(tmp_path, logits):
    scores = _scores()
    finish_label(_job(tmp_path, scores=[scores], photo=PHOTO, logits=logits), crf=STILL)
    expected = np.array([0, 4, 9])[_resized(scores).argmax(axis=0)]
    assert np.array_equal(read_label_png(tmp_path / "a.png"), expected)


def test_the_crf_gets_shares_that_sum_to_one(tmp_path):
    scores = _scores()
    finish_label(_job(tmp_path, scores=[1.7 * scores], photo=PHOTO), crf=dict(num_iters=3))
    shares = _resized(scores)
    shares /= shares.sum(axis=0)
    expected = dense_crf(PHOTO, shares, num_iters=3).argmax(axis=0)
    assert np.array_equal(read_label_png(tmp_path / "a.png"), np.array([0, 4, 9])[expected])
    assert not np.array_equal(expected, shares.argmax(axis=0))


def test_two_scores_give_undecided_pixels(tmp_path):
    high, low = _scores(), _scores()
    finish_label(_job(tmp_path, scores=[high, low], photo=PHOTO), crf=STILL)
    labels = [np.array([0, 4, 9])[_resized(one).argmax(axis=0)] for one in (high, low)]
    expected = merge_thresholds(*(torch.tensor(label)[None] for label in labels))[0].numpy()
    assert np.array_equal(read_label_png(tmp_path / "a.png"), expected)
    assert 255 in expected
    labels = [label.astype(np.uint8) for label in labels]
    assert np.array_equal(merge_labels(*labels), expected)
    finish_label(_job(tmp_path, labels=labels))
    assert np.array_equal(read_label_png(tmp_path / "a.png"), expected)


def test_a_reduced_photo_gives_a_label_map_of_the_size_of_the_photo(tmp_path):
    scores = _scores(size=(3, 4))
    job = _job(tmp_path, scores=[scores], photo=PHOTO[::2, ::2], size=(12, 16))
    finish_label(job, crf=STILL)
    small = _resized(scores, (6, 8))
    expected = np.array([0, 4, 9])[_resized(small / small.sum(axis=0)).argmax(axis=0)]
    assert (read_label_png(tmp_path / "a.png") == expected).mean() > 0.98  # but for ties


def test_an_image_without_classes_is_background(tmp_path):
    finish_label(_job(tmp_path, classes=[0], scores=[_scores(1)], photo=PHOTO))
    assert not read_label_png(tmp_path / "a.png").any()


def test_best_label_against_all_maps_at_once():
    probs = _scores(5)
    assert np.array_equal(best_label(probs, (6, 8)), probs.argmax(axis=0))
    assert np.array_equal(best_label(probs, (13, 9)), _resized(probs, (13, 9)).argmax(axis=0))


def test_a_worker_imports_neither_torch_nor_mmseg():
    code = "import sys, afa.labels.finish; print({'torch', 'mmseg', 'mmengine'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
