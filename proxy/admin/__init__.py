"""The control plane: a process of its own, so that no report and no scrape can disturb the relay."""
