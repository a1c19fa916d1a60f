"""`pdlm eval`: how good captions are, in the terms of DLC-Bench and ParaDLC-Bench."""
