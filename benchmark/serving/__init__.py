"""A model under load: a generator of requests, one queue in shared memory, and copies of the model."""
