"""The model in worker processes of its own, one a device, so that a run outlives what happens to them.

fleet (the engine) -> recovery (what to do about a failure) -> process (a worker, from outside) | worker (from inside)
"""
