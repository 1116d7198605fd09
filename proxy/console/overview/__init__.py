"""What the overview says of a month: pure functions over the API's answers."""
