"""Many clients over few server connections; see `integration/many`.

`main` starts everything and judges; `watch` counts on the servers and asks Tidegate; `quiet` are clients that say little;
`orm` is an application of SQLAlchemy with the tables of `models`, and `units` is what its threads do.
"""
