"""From a study file to stored results: spec, plan, run, worker."""
