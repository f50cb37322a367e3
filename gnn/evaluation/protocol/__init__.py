"""The parts of the evaluation protocol, each a function over arrays of results that somebody else retrieved.

Results of a system are rows of the index: [num_queries, k] int64, best first, -1 where fewer came back.
"""
