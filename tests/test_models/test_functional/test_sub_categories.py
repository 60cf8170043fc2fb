import numpy as np
import pytest

from afa.models.functional.sub_categories import cluster_sub_categories


def _groups(centres, size, noise=0.1, seed=0):
    """Vectors around centres, one group after the other."""
    rng = np.random.default_rng(seed)
    centres = np.asarray(centres, dtype=float).repeat(size, axis=0)
    return centres + noise * rng.standard_normal(centres.shape)


def test_clear_groups_are_found_and_numbered_as_they_appear():
    features = _groups([[9, 0], [0, 0], [0, 9]], 5)
    sub = cluster_sub_categories(features, np.ones((15, 1)), num_sub=3)
    assert sub[:, 0].tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_every_class_clusters_its_own_images():
    features = _groups([[0.0], [5.0], [9.0], [20.0]], 2, noise=0.01)
    labels = np.array([[1, 0]] * 4 + [[1, 1]] * 2 + [[0, 1]] * 2)
    sub = cluster_sub_categories(features, labels, num_sub=2)
    assert sub[:, 0].tolist() == [0, 0, 1, 1, 1, 1, -1, -1]  # 0 | 5, 9
    assert sub[:, 1].tolist() == [-1, -1, -1, -1, 0, 0, 1, 1]  # 9 | 20


def test_the_clusters_are_those_of_k_means():
    """No image is closer to the mean of another cluster than to that of its own."""
    features = np.random.default_rng(1).standard_normal((60, 4))
    sub = cluster_sub_categories(features, np.ones((60, 1)), num_sub=5)[:, 0]
    assert sorted(set(sub.tolist())) == list(range(5))
    centres = [features[sub == s].mean(axis=0) for s in range(5)]
    for i in range(60):
        gaps = [float(np.sum((features[i] - centre) ** 2)) for centre in centres]
        assert gaps[sub[i]] == pytest.approx(min(gaps))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_images_than_sub_categories(count):
    labels = np.zeros((4, 2))
    labels[:count, 1] = 1
    sub = cluster_sub_categories(_groups([[0], [4], [8], [12]], 1), labels, num_sub=10)
    assert sub[:, 1].tolist() == [*range(count), *[-1] * (4 - count)]
    assert (sub[:, 0] == -1).all()


@pytest.mark.filterwarnings("error")
def test_equal_images_share_a_sub_category():
    features = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 3.0], [1.0, 2.0]])
    sub = cluster_sub_categories(features, np.ones((4, 1)), num_sub=3)
    assert sub[:, 0].tolist() == [0, 0, 1, 0]


def test_one_sub_category():
    sub = cluster_sub_categories(_groups([[0], [9]], 3), np.ones((6, 1)), num_sub=1)
    assert not sub.any()


def test_no_image():
    assert cluster_sub_categories(np.zeros((0, 3)), np.zeros((0, 2))).shape == (0, 2)


def test_the_same_with_the_same_seed_whatever_the_type_and_the_global_state():
    features = np.random.default_rng(2).standard_normal((80, 6)).astype(np.float32)
    labels = np.random.default_rng(3).integers(0, 2, (80, 3))
    first = cluster_sub_categories(features, labels, num_sub=4, seed=7)
    np.random.seed(5)
    again = cluster_sub_categories(features.astype(np.float64), labels > 0, num_sub=4, seed=7)
    np.testing.assert_array_equal(first, again)
    other = cluster_sub_categories(features, labels, num_sub=4, seed=8, num_init=1)
    assert (first != other).any()
    np.testing.assert_array_equal(first >= 0, labels > 0)


@pytest.mark.parametrize(
    ("features", "labels", "num_sub", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 1)), 2, r"same n images, got \(3, 2\) and \(4, 1\)"),
        (np.zeros(3), np.zeros((3, 1)), 2, r"got \(3,\)"),
        (np.array([[0.0], [np.nan]]), np.ones((2, 1)), 2, "image 1 .* not finite"),
        (np.zeros((2, 2)), np.ones((2, 1)), 0, "must be 1 or more, got 0"),
    ],
)
def test_wrong_arguments(features, labels, num_sub, message):
    with pytest.raises(ValueError, match=message):
        cluster_sub_categories(features, labels, num_sub)
