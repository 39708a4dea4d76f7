"""The city's side of the trust line: convenient, not trusted. Never imports `connectors`.

Read `pipeline.py` first: it is the whole life of a statement.
"""
