"""The data plane: takes sessions over from the libraries that shook hands and carries their bytes."""
