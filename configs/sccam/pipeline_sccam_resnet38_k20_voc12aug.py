# SC-CAM on VOC 2012 aug with 20 sub-categories of a class instead of 10. Not measured by us.
_base_ = "./pipeline_sccam_resnet38_voc12aug.py"
stages = _base_._with_num_sub.k20
