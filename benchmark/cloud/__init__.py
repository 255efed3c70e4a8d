"""Instance types, their prices, and what a million inferences costs."""
