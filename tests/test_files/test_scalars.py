from afa.files.scalars import read_scalars, seconds_at


def _log(folder, name, text):
    path = folder / name / "vis_data"
    path.mkdir(parents=True)
    (path / "scalars.json").write_text(text)


def test_what_was_logged_twice_counts_once_the_last_time(tmp_path):
    _log(tmp_path, "a", '{"loss": 3, "time": 1, "step": 1}\n{"loss": 2, "time": 1, "step": 2}\n')
    _log(tmp_path, "b", '{"loss": 9, "time": 4, "step": 2}\n{"mIoU": 5, "time": 7, "step": 2}\n')
    _log(tmp_path, "other", '{"loss": 7, "time": 2, "step": 1}\n{"seg/mIoU": 4, "step": 1}\n')
    losses, figures = read_scalars(tmp_path, ["a", "b", "gone"])
    assert [(step, line["loss"]) for step, line in losses.items()] == [(1, 3), (2, 9)]
    assert figures == {2: {"mIoU": 5, "time": 7, "step": 2}}
    losses, figures = read_scalars(tmp_path)
    assert [(step, line["loss"]) for step, line in losses.items()] == [(2, 9), (1, 7)]
    assert list(figures) == [2, 1]  # the last run comes last
    assert read_scalars(tmp_path / "nowhere") == ({}, {})


def test_time_is_summed_over_the_iterations_between_two_lines():
    losses = {10: {"time": 2.0}, 5: {"time": 1.0}, 7: {"loss": 1.0}}
    assert seconds_at(losses) == {0: 0.0, 5: 5.0, 10: 15.0}
    assert seconds_at({}) == {0: 0.0}
