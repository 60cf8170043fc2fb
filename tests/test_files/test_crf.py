import math
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from afa.files import crf
from afa.files.crf import CRFSettings, crf_of_logits, crf_photo, dense_crf

GREY = np.full((16, 20, 3), 120, dtype=np.uint8)


def test_a_photo_becomes_rgb_and_no_longer_than_the_longest_side():
    photo = np.random.randint(0, 255, (6, 8, 3), dtype=np.uint8)
    for max_side in (8, 1000):
        found = crf_photo(photo, max_side)
        assert np.array_equal(found, photo[..., ::-1]) and found.flags["C_CONTIGUOUS"]
    means = photo.reshape(3, 2, 4, 2, 3).mean(axis=(1, 3))  # of 2 x 2 pixels
    assert np.abs(crf_photo(photo, 4) - means[..., ::-1]).max() <= 0.5
    assert crf_photo(np.zeros((1, 100, 3), np.uint8), 10).shape == (1, 10, 3)


def _probs(label, sure=0.8):
    """Probabilities (2, H, W) that are `sure` of a label map of 0 and 1."""
    first = np.where(label == 0, sure, 1 - sure)
    return np.stack([first, 1 - first]).astype(np.float32)


def _two_colours(height=24, width=32):
    """A noisy red half and a noisy blue half, and their label."""
    label = np.zeros((height, width), dtype=int)
    label[:, width // 2 :] = 1
    image = np.where(label[..., None] == 0, (200, 40, 40), (40, 60, 200))
    image = image + np.random.randint(-4, 5, image.shape)
    return image.astype(np.uint8), label


def _loop_mean_field(image, probs, num_iters, pos, bilateral):
    """Equation of the module, pixel by pixel; `pos` (width, weight), `bilateral` the same."""
    height, width = image.shape[:2]
    places = [(y, x) for y in range(height) for x in range(width)]
    messages = []
    for p in places:
        row = []
        for q in places:
            distance = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
            colour = sum(
                (float(a) - float(b)) ** 2 for a, b in zip(image[p], image[q], strict=True)
            )
            near = math.exp(-distance / 2 / pos[0] ** 2)
            alike = math.exp(-distance / 2 / bilateral[0] ** 2 - colour / 2 / bilateral[1] ** 2)
            row.append((near, alike))
        messages.append(row)
    norms = [[math.sqrt(sum(entry[k] for entry in row)) for row in messages] for k in (0, 1)]
    flat = probs.reshape(len(probs), -1).astype(float)
    belief = flat / flat.sum(0)
    for _ in range(num_iters):
        updated = np.zeros_like(belief)
        for p, row in enumerate(messages):
            energy = -np.log(np.clip(flat[:, p], 1e-5, 1))
            for q, entry in enumerate(row):
                for k, weight in ((0, pos[1]), (1, bilateral[2])):
                    energy -= weight * entry[k] / norms[k][p] / norms[k][q] * belief[:, q]
            updated[:, p] = np.exp(-energy) / np.exp(-energy).sum()
        belief = updated
    return belief.reshape(probs.shape)


def test_at_half_the_size_labels_hardly_change():
    image, label = _two_colours(96, 128)
    blurred = np.stack([cv2.blur(one, (9, 9)) for one in _probs(label)])
    whole = dense_crf(image, blurred)
    half = dense_crf(image, blurred, CRFSettings(scale=0.5))
    assert half.shape == whole.shape and half.dtype == np.float32
    assert (half.argmax(0) == whole.argmax(0)).mean() > 0.98
    np.testing.assert_allclose(half.sum(0), 1, atol=1e-5)


def test_a_reduced_image_has_reduced_widths(monkeypatch):
    seen = []

    def noted(image, probs, settings):
        seen.append((image.shape, probs.shape, settings))
        return whole(image, probs, settings)

    whole = crf.dense_crf
    monkeypatch.setattr(crf, "dense_crf", noted)
    settings = CRFSettings(pos_xy_std=4, bi_xy_std=80, bi_rgb_std=13, scale=0.25)
    probs = np.full((2, 17, 30), 0.5, np.float32)
    assert whole(np.zeros((17, 30, 3), np.uint8), probs, settings).shape == probs.shape
    smaller = CRFSettings(pos_xy_std=1, bi_xy_std=20, bi_rgb_std=13)
    assert seen == [((4, 8, 3), (2, 4, 8), smaller)]
    tiny = np.zeros((1, 2, 3), np.uint8)
    assert whole(tiny, np.full((2, 1, 2), 0.5, np.float32), settings).shape == (2, 1, 2)


@pytest.mark.parametrize(("scale", "rule"), [(0, "> 0"), (1.5, "<= 1"), (math.nan, "> 0")])
def test_scale_is_checked(scale, rule):
    with pytest.raises(ValueError, match=f"scale {rule}, got {scale}"):
        CRFSettings(scale=scale)


def test_without_iterations_the_probabilities_come_back():
    probs = _probs(np.random.randint(0, 2, GREY.shape[:2]))
    np.testing.assert_allclose(dense_crf(GREY, probs, CRFSettings(num_iters=0)), probs, atol=1e-6)


def test_constant_image_with_a_clear_majority_takes_it_and_an_even_one_stays():
    label = np.zeros(GREY.shape[:2], dtype=int)
    label[5, 5] = label[9, 3] = 1
    assert (dense_crf(GREY, _probs(label)).argmax(0) == 0).all()
    even = np.full((2, *GREY.shape[:2]), 0.5, dtype=np.float32)
    np.testing.assert_allclose(dense_crf(GREY, even), even, atol=1e-5)


def test_unary_decides_where_the_kernels_weigh_nothing():
    probs = _probs(np.random.randint(0, 2, GREY.shape[:2]))
    refined = dense_crf(GREY, probs, CRFSettings(pos_weight=0, bi_weight=0))
    np.testing.assert_allclose(refined, probs, atol=1e-5)


def test_noise_is_cleaned_to_the_colour_edge():
    image, label = _two_colours()
    noisy = np.where(np.random.rand(*label.shape) < 0.2, 1 - label, label)
    noisy[:, 16:18] = 0  # the wrong side of the edge
    assert (noisy != label).mean() > 0.15
    refined = dense_crf(image, _probs(noisy))
    np.testing.assert_array_equal(refined.argmax(0), label)
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)
    # With one colour there is no edge to find: the two columns stay on the other side.
    grey = np.full_like(image, 120)
    assert (dense_crf(grey, _probs(noisy)).argmax(0)[:, 16] == 0).all()


def test_close_to_mean_field_in_plain_loops():
    image, label = _two_colours(6, 8)
    image[2:4, 1:3] = (120, 200, 40)
    probs = np.random.rand(3, 6, 8).astype(np.float32) + 0.2
    probs[1] += label
    probs /= probs.sum(0)
    settings = dict(num_iters=4, pos_xy_std=2, pos_weight=1, bi_xy_std=8, bi_rgb_std=20)
    refined = dense_crf(image, probs, CRFSettings(bi_weight=2, **settings))
    expected = _loop_mean_field(image, probs, 4, (2, 1), (8, 20, 2))
    # The lattice filter is an approximation: what it does must be far larger than where it errs.
    assert np.abs(expected - probs).mean() > 10 * np.abs(refined - expected).mean()
    assert np.abs(refined - expected).max() < 0.08


def test_fewer_than_two_labels_come_back():
    one, none = np.ones((1, 16, 20), dtype=np.float32), np.ones((0, 16, 20), dtype=np.float32)
    assert dense_crf(GREY, one) is one
    assert dense_crf(GREY, none) is none


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1)])
def test_sides_of_one_pixel(shape):
    image = np.random.randint(0, 255, (*shape, 3), dtype=np.uint8)
    refined = dense_crf(image, np.full((3, *shape), 1 / 3, dtype=np.float32))
    np.testing.assert_allclose(refined, 1 / 3, atol=1e-5)


def test_memory_order_does_not_matter():
    image, label = _two_colours()
    probs = _probs(label)
    turned = np.asfortranarray(probs)
    np.testing.assert_array_equal(
        dense_crf(np.asfortranarray(image), turned), dense_crf(image, probs)
    )


def test_memory_that_must_not_be_written_to_will_do():
    image, label = _two_colours()
    probs = _probs(label)
    wanted = dense_crf(image, probs)
    for array in (image, probs):  # as np.asarray(PIL image) and np.load(mmap_mode="r") give them
        array.flags.writeable = False
    np.testing.assert_array_equal(dense_crf(image, probs), wanted)
    logits = np.zeros((2, 3, 3), np.float32)
    logits.flags.writeable = False
    assert crf_of_logits(image, logits).shape == image.shape[:2]


def test_wrong_shapes_and_types_are_named():
    probs = np.ones((2, 16, 20), dtype=np.float32)
    with pytest.raises(ValueError, match=r"uint8 RGB, got \(16, 20, 3\) float32"):
        dense_crf(GREY.astype(np.float32), probs)
    with pytest.raises(ValueError, match=r"of the image \(16, 20\), got \(2, 20, 16\)"):
        dense_crf(GREY, probs.transpose(0, 2, 1))


def test_missing_pydensecrf_is_one_sentence(monkeypatch):
    monkeypatch.setattr(crf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pydensecrf2"):
        dense_crf(GREY, np.ones((2, 16, 20), dtype=np.float32))


@pytest.mark.parametrize("grid", [(24, 32), (6, 8), (1, 1), (40, 50)])
def test_logits_are_resized_and_softened_as_torch_does(grid):
    image, _ = _two_colours()
    logits = 3 * np.random.randn(3, *grid).astype(np.float32)
    resized = F.interpolate(torch.from_numpy(logits)[None], (24, 32), mode="bilinear")[0]
    probs = crf_of_logits(image, logits, with_probs=True, settings=CRFSettings(num_iters=0))
    np.testing.assert_allclose(probs, resized.softmax(0).clamp(1e-5), atol=2e-5)
    refined = dense_crf(image, resized.softmax(0).numpy(), settings=CRFSettings(num_iters=5))
    again = crf_of_logits(image, logits, with_probs=True, settings=CRFSettings(num_iters=5))
    np.testing.assert_allclose(again, refined, atol=1e-3)
    label = crf_of_logits(image, logits, settings=CRFSettings(num_iters=5))
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, again.argmax(0))


def test_logits_of_one_label_give_it_everywhere():
    assert not crf_of_logits(GREY, np.random.randn(1, 4, 5).astype(np.float32)).any()


def test_import_is_light():
    code = "import sys, afa.files.crf; print({'torch', 'mmseg', 'mmengine'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
