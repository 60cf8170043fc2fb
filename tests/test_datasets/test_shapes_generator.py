import numpy as np
import pytest

from afa.datasets import shapes_generator
from afa.datasets.shapes_generator import CLASSES, PALETTE, generate_sample


@pytest.fixture(scope="module")
def samples() -> list:
    return [generate_sample(7, "train", index) for index in range(60)]


def test_same_arguments_same_pixels():
    first, second = generate_sample(3, "val", 5), generate_sample(3, "val", 5)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)
    assert first.objects == second.objects


@pytest.mark.parametrize("other", [(4, "val", 5), (3, "train", 5), (3, "val", 6)])
def test_each_argument_changes_the_picture(other):
    first, second = generate_sample(3, "val", 5), generate_sample(*other)
    same_shape = first.image.shape == second.image.shape
    assert not same_shape or not np.array_equal(first.image, second.image)


def test_sides_lie_around_the_size():
    sides = np.array([generate_sample(0, "train", i, size=60).mask.shape for i in range(20)])
    assert sides.min() >= 51 and sides.max() <= 69
    assert len(np.unique(sides)) > 5


def test_mask_holds_exactly_the_objects(samples):
    for sample in samples:
        assert sample.image.shape == (*sample.mask.shape, 3)
        assert sample.image.dtype == sample.mask.dtype == np.uint8
        names = {CLASSES[label] for label in np.unique(sample.mask) if label}
        assert names == {obj.name for obj in sample.objects}


def test_boxes_are_tight_around_visible_pixels(samples):
    for sample in samples:
        for obj in sample.objects:
            y0, y1, x0, x1 = obj.box
            inside = sample.mask[y0:y1, x0:x1] == CLASSES.index(obj.name)
            # Every border row and column of the box touches the object.
            assert inside[0].any() and inside[-1].any()
            assert inside[:, 0].any() and inside[:, -1].any()


def test_pictures_have_the_promised_statistics(samples):
    assert len(CLASSES) == len(PALETTE) == 7
    counts = [len(sample.objects) for sample in samples]
    assert min(counts) == 1 and max(counts) == 3
    classes = np.mean([len({obj.name for obj in sample.objects}) for sample in samples])
    assert 1.3 < classes < 1.9
    foreground = np.mean([(sample.mask > 0).mean() for sample in samples])
    assert 0.1 < foreground < 0.3
    seen = {obj.name for sample in samples for obj in sample.objects}
    assert seen == set(CLASSES[1:])


@pytest.mark.parametrize("name", CLASSES[1:])
def test_silhouettes_stay_in_the_unit_circle_and_differ(name):
    outline = shapes_generator._silhouette(name)
    assert outline.shape[1] == 2
    # The corners of box and cross reach a little beyond the circle.
    assert np.hypot(*outline.T).max() < 1.25
    others = [shapes_generator._silhouette(other) for other in CLASSES[1:] if other != name]
    assert not any(o.shape == outline.shape and np.allclose(o, outline) for o in others)


@pytest.mark.parametrize("name", CLASSES[1:])
def test_patterns_leave_the_body_visible_between_the_ink(name):
    v, u = np.mgrid[0:60, 0:60] / 12.0
    gaps = shapes_generator._pattern(name, u, v, period=12.0)
    assert gaps.min() >= 0 and gaps.max() <= 1
    assert 0.15 < gaps.mean() < 0.5


def test_ink_covers_a_part_only():
    rng = np.random.default_rng(0)
    center = np.array([50.0, 50.0])
    polygon = shapes_generator._silhouette("ball") * 40 + center
    obj = shapes_generator._Placed("ball", polygon, center, 40.0, 0.0)
    inside = shapes_generator._coverage(polygon, 100, 100) > 0.5
    surface = shapes_generator._draw_surface(rng, obj, inside, np.array([0.0, 0.0, 255.0]))
    ink = np.array(shapes_generator._INKS["ball"])
    inked = (np.linalg.norm(surface - ink, axis=2) < 40) & inside
    # 70 to 90 % of the object, of which the dots leave out 0.28.
    assert 0.45 < inked.sum() / inside.sum() < 0.7


def test_coverage_of_a_square_is_exact():
    square = np.array([[2.0, 1.0], [6.0, 1.0], [6.0, 5.0], [2.0, 5.0]])
    alpha = shapes_generator._coverage(square, 8, 8)
    expected = np.zeros((8, 8), bool)
    expected[1:5, 2:6] = True
    np.testing.assert_array_equal(alpha > 0.5, expected)


def test_hidden_objects_are_placed_again(monkeypatch):
    monkeypatch.setattr(shapes_generator, "_NUM_OBJECTS_PROBS", (0.0, 0.0, 1.0))
    for seed in range(10):
        placed, alphas = shapes_generator._draw_layout(np.random.default_rng(seed), 100, 100)
        hidden = np.zeros((100, 100), bool)
        for obj, alpha in reversed(list(zip(placed, alphas, strict=True))):
            visible = (alpha > 0.5) & ~hidden
            x, y = obj.polygon.T
            area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
            assert visible.sum() >= 0.35 * area - 1
            hidden |= alpha > 0.5


def test_body_stands_off_from_ground_and_ink():
    rng = np.random.default_rng(1)
    ground, ink = np.array([120.0, 120.0, 120.0]), np.array([225.0, 25.0, 35.0])
    for _ in range(30):
        body = shapes_generator._body_color(rng, ground, ink)
        assert np.linalg.norm(body - ground) > 60
        assert np.linalg.norm(body - ink) > 60
