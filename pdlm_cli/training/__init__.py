"""`pdlm train`: a job file to a trained checkpoint."""
