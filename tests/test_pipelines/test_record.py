import json

import pytest

from afa.pipelines.record import Record, read_figures, read_record, read_scalars


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


def test_scalars_of_a_killed_training(tmp_path):
    path = tmp_path / "scalars.json"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_scalars(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n[2]\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"scalars\.json' is broken in line 2"):
        read_scalars(path)
