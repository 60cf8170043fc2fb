import cv2
import numpy as np
import pytest
from toy_stages import AFFINITY_NET, IDS, write_cams, write_pictures, write_stage

from afa.apis.affinity_labels import KIND, make_affinity_labels
from afa.apis.map_stage_options import CRF, MapStageOptions
from afa.engine.config import load_config
from afa.utils.crf import dense_crf
from afa.utils.label_png import read_label_png
from afa.utils.maps_npz import read_maps, write_maps
from afa.utils.photo import read_photo


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Root of the data, config, and folder of CAMs."""
    folder = tmp_path_factory.mktemp("toy")
    root = write_pictures(folder / "shapes", num_val=4)
    return root, write_stage(folder, root, AFFINITY_NET)[0], write_cams(folder / "cams", root)


def _make(toy, out, maps=None, **options):
    wanted = dict(split="val", kind=KIND, out=str(out), alphas=(2.0, 6.0), crf_workers=0)
    return make_affinity_labels(
        load_config(str(toy[1])), maps or toy[2], MapStageOptions(**{**wanted, **options})
    )


def _plain(scores_low, scores_high, classes):
    """Merge pixel by pixel; scores (1 + M, H, W) with the background first."""
    height, width = scores_low.shape[1:]
    label = np.zeros((height, width), dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            low, high = scores_low[:, y, x].argmax(), scores_high[:, y, x].argmax()
            if low > 0:
                label[y, x] = classes[low - 1]  # foreground beside a strong background
            elif high > 0:
                label[y, x] = 255
    return label


def _scores(found, alpha, size):
    """Background and CAMs at the size of the photo."""
    background = (1 - found.maps.max(axis=0)) ** alpha
    both = np.concatenate([background[None], found.maps])
    return np.stack([cv2.resize(one, size[::-1]) for one in both])


def test_labels_are_those_of_the_plain_loops(toy, tmp_path):
    _make(toy, tmp_path)
    values = set()
    for img_id in IDS:
        found = read_maps(toy[2] / "maps" / f"{img_id}.npz")
        label = read_label_png(tmp_path / "labels" / f"{img_id}.png")
        plain = _plain(*(_scores(found, a, found.size) for a in (2, 6)), found.classes)
        assert label.shape == found.size and (label == plain).mean() > 0.999  # ties are rounding
        values |= set(np.unique(label)) - set(found.classes)
    assert values == {0, 255}


def test_each_background_goes_through_the_crf(toy, tmp_path):
    settings = dict(num_iters=2, bi_xy_std=15)
    _make(toy, tmp_path, crf=True, crf_settings=settings)
    changed = 0
    for img_id in IDS[:2]:
        found = read_maps(toy[2] / "maps" / f"{img_id}.npz")
        photo = read_photo(toy[0] / "JPEGImages" / f"{img_id}.jpg")[..., ::-1]
        scores = [_scores(found, a, found.size) for a in (2, 6)]
        refined = [
            dense_crf(np.ascontiguousarray(photo), s / s.sum(axis=0), **{**CRF, **settings})
            for s in scores
        ]
        label = read_label_png(tmp_path / "labels" / f"{img_id}.png")
        assert (label == _plain(*refined, found.classes)).mean() > 0.999
        changed += (label != _plain(*scores, found.classes)).sum()
    assert changed > 0


def test_a_photo_without_a_class_is_background(toy, tmp_path):
    for path in (toy[2] / "maps").iterdir():
        found = read_maps(path)
        (tmp_path / "maps").mkdir(exist_ok=True)
        write_maps(tmp_path / "maps" / path.name, [], found.maps[:0], found.size)
    _make(toy, tmp_path / "out", maps=tmp_path, crf=True, evaluate=True)
    assert not read_label_png(tmp_path / "out" / "labels" / f"{IDS[0]}.png").any()
