# SC-CAM on VOC 2012 aug with 20 sub-categories of a class instead of 10. Not measured by us.
_base_ = "./pipeline_sccam_resnet38_voc12aug.py"
_num_sub = 20
_clusters = ["--split", "train", "--num-sub", str(_num_sub), "--seed", "0"]
_options = {
    "model.sub_head.num_sub": _num_sub,
    "train_dataloader.dataset.num_sub": _num_sub,
}
stages = [
    dict(
        stage,
        args=_clusters if stage.tool == "sub_categories.py" else stage.get("args", []),
        options={
            **stage.get("options", {}),
            **(_options if "subcategories" in stage.config else {}),
        },
    )
    for stage in _base_.stages
]
