import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from afa.visualization.sheet import sample_sheet

META = dict(classes=("background", "dog"), palette=[[0, 0, 0], [255, 0, 0]])


def _sample(folder, name, **labels):
    cv2.imwrite(str(folder / f"{name}.png"), np.full((20, 20, 3), 128, np.uint8))
    sample = SegDataSample(metainfo=dict(img_path=str(folder / f"{name}.png"), img_id=name))
    for field, value in labels.items():
        sample.set_data({field: PixelData(data=torch.full((1, 20, 20), value))})
    return sample


def test_a_column_for_each_map_that_all_samples_have(tmp_path):
    both = _sample(tmp_path, "a", pred_cam=1, pred_sem_seg=0)
    one = _sample(tmp_path, "b", pred_sem_seg=1)
    narrow, wide = (
        sample_sheet([one, both], META, {}, cell=60),
        sample_sheet([both], META, {}, cell=60),
    )
    assert narrow.shape[1] == 6 + 2 * 66 and wide.shape[1] == 6 + 3 * 66
    row = wide[wide.shape[0] // 2 - 10]
    assert (row[30] == 128).all()  # the photo
    assert row[96][0] > row[96][1]  # its CAM label, red
    assert abs(int(row[162][0]) - int(row[162][1])) < 5  # its prediction is background


def test_figures_and_notes_change_the_titles(tmp_path):
    sample = _sample(tmp_path, "a", pred_sem_seg=1)
    plain = sample_sheet([sample], META, {})
    assert (plain != sample_sheet([sample], META, {"seg/mIoU": 12.3})).any()
    assert (plain != sample_sheet([sample], META, {}, ["IoU 12"])).any()
