"""`pdlm ablations`: the paper's ablations in miniature, from jobs to a table and plots."""
