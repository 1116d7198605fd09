"""The pure core: no socket, clock, database, randomness or logger; `now` and ids are arguments."""
