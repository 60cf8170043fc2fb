"""A package, so that its test_coco14.py and that of the folder above are two modules."""
