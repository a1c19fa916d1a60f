"""`pdlm bench`: how fast captions come, against what, and how far from what the machine could do."""
