"""Networks as torch has them, their inputs and what tasks share; imported in children."""
