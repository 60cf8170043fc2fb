"""Plain versions of what afa computes fast: to compare with, and to measure against."""
