"""Whole runs as functions; each module is imported on its own, because most are heavy."""
