import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from afa.visualization.sheet import _present, sample_sheet

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


def test_cams_stand_beside_their_photo_the_best_scores_first(tmp_path):
    meta = dict(classes=("background", *"abcd"), palette=[[0, 0, 0]] * 5)
    one = _sample(tmp_path, "a", pred_sem_seg=0)
    cams = torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None, None].expand(4, 20, 20)
    one.set_metainfo(dict(cam_values=[1, 2, 3, 4]))
    one.set_data(dict(cams=cams, pred_label=torch.tensor([0.1, 0.9, 0.2, 0.3])))
    other = _sample(tmp_path, "b", pred_sem_seg=0)
    other.set_metainfo(dict(cam_values=[]))
    other.set_data(dict(cams=torch.zeros(0, 20, 20), pred_label=torch.zeros(4)))
    sheet = sample_sheet([one, other], meta, {}, cell=60)
    assert sheet.shape[1] == 6 + 5 * 66  # photo, three of the four CAMs, prediction
    first, second = sheet[110], sheet[195]
    red, green, blue = first[96].astype(int)  # b: it has 1 everywhere
    assert min(red, green) > 150 > 2 * blue
    assert (first[162] == 128).all()  # d: 0 everywhere, the photo alone
    assert (second[[96, 162, 228]] == 255).all()
    alone = sample_sheet([one, _sample(tmp_path, "c", pred_sem_seg=0)], meta, {}, cell=60)
    assert alone.shape[1] == 6 + 2 * 66  # one has no CAMs: columns are what all have


def test_a_row_names_the_image_labels_and_no_prediction(tmp_path):
    known = _sample(tmp_path, "a", pred_sem_seg=1, gt_sem_seg=0)
    known.set_data(dict(gt_label=torch.tensor([0.0, 1.0, 1.0])))
    assert _present(known) == [2, 3]
    assert _present(_sample(tmp_path, "b", pred_sem_seg=1, gt_sem_seg=2)) == [2]
    assert _present(_sample(tmp_path, "c", pred_sem_seg=1)) == []
