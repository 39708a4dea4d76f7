"""The shared language of both sides of the trust line: names, types, policies, messages, errors.

Nothing in here talks to a network or a disk except `store/` and `http.py`, and nothing in here
imports `gateway` or `connectors`.
"""
