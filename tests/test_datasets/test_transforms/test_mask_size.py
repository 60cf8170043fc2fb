import numpy as np
import pytest

from afa.datasets.transforms import RandomCropPad, RandomScale, ResizeToFit
from afa.datasets.transforms.mask_size import check_mask_sizes


def _results(mask_shape):
    return dict(
        img=np.zeros((6, 8, 3), np.uint8),
        gt_seg_map=np.zeros(mask_shape, np.uint8),
        seg_fields=["gt_seg_map"],
        seg_map_path="masks/a.png",
    )


def test_masks_of_the_size_of_their_photo_pass():
    check_mask_sizes(_results((6, 8)))
    check_mask_sizes(dict(img=np.zeros((6, 8, 3))))  # loaded later, or not at all


@pytest.mark.parametrize(
    "transform", [RandomCropPad(4), RandomScale((1.0, 1.0)), ResizeToFit((4, 4))]
)
def test_every_transform_refuses_others_instead_of_stretching_them(transform):
    with pytest.raises(ValueError, match=r"'masks/a\.png' is 6 x 8 pixels where its photo is 8 x"):
        transform(_results((8, 6)))
    transform(_results((6, 8)))
