"""Other people's results as rows, and checks of the pages they come from."""
