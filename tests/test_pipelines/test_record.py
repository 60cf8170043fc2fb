import json

import pytest

from afa.pipelines.record import Record, read_figures, read_record


def test_figures_of_a_training_are_those_of_its_last_validation(tmp_path):
    data = tmp_path / "20260101_000000/vis_data"
    data.mkdir(parents=True)
    lines = [{"loss": 1.0, "step": 1}, {"seg/mIoU": 5.0}, {"loss": 0.5}, {"seg/mIoU": 7.0}]
    (data / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
    assert read_figures(tmp_path) == {"seg/mIoU": 7.0}


def test_a_broken_record_is_one_sentence(tmp_path):
    (tmp_path / "stage.json").write_text("{}")
    with pytest.raises(ValueError, match="is not the record of a stage"):
        read_record(tmp_path)
    Record("print", ["x"], state="odd").write(tmp_path)
    with pytest.raises(ValueError, match="unknown state 'odd'"):
        read_record(tmp_path)
