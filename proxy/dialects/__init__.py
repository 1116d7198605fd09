"""What a provider's messages mean: bytes in, core events out, without I/O."""
