import pytest

from afa.datasets.prepare.coco14_record import (
    RECORD_FILE,
    read_record,
    split_settings,
    write_record,
)


def test_what_was_written_is_read(tmp_path):
    assert read_record(tmp_path) == {}
    record = {"train": split_settings("abc", "class"), "val": split_settings("def", "ignore")}
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD_FILE]


def test_annotations_and_crowds_decide():
    same = split_settings("abc", "class")
    assert same == split_settings("abc", "class")
    assert same not in (split_settings("abd", "class"), split_settings("abc", "ignore"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"splits": 1}', '{"splits": {"val": 1}}', "\0"])
def test_another_file_of_that_name_is_told(tmp_path, text):
    (tmp_path / RECORD_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"coco14.json' is not the record .* add --overwrite"):
        read_record(tmp_path)
