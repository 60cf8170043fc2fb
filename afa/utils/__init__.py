"""Light helpers: nothing here imports torch or mmseg before it is called."""
