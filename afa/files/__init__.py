"""What lies on disk: photos, label maps, arrays, JSON. Loads neither torch nor mmseg."""
