"""What torch says of its compile cache, for a child that loads from it."""

from __future__ import annotations


def cache_hits_and_misses(compiler, workload, folder):
    """Load an artefact of inductor and call it, as other parts would too; count what the cache answered."""
    import torch
    from torch._dynamo.utils import counters

    session = compiler.load(workload, folder)
    with torch.inference_mode():
        session.call(*(tensor.clone() for tensor in session.inputs))
    session.call(*session.inputs)
    session.run()
    found = counters["inductor"]
    return found["fxgraph_cache_hit"], found["fxgraph_cache_miss"] + found["fxgraph_cache_bypass"]
