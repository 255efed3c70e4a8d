"""Other people's figures as rows, and checks of the pages they come from."""
