"""The department's side of the trust line. Never imports `gateway`.

`base.Source` is what a silo must offer; `agent/` is what decides who gets what from it.
"""
