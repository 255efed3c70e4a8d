"""Find the best cell of a grid without measuring the whole grid: a race whose claims hold at every look."""
