"""Organizations, and the record of everyone and everything in them: who they are, whether they are active, what they may at most do.

Start with `directory.record`, which finds any principal by its id, with `lifecycle`, by which an organization begins and ends, and with the
file of the kind in question: each holds the record, its statements, its events and its use cases. What somebody is allowed to do is
decided in `access`, of which roles here are tuples.
"""
