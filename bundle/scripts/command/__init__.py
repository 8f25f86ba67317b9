"""How every command begins and ends, reads its flags, locks its output and starts MONAI's.

Nothing is imported here: `start` and `worker` need the standard library alone, so that a missing package is one line.
"""
