"""The shared language of both sides of the trust line: names, types, policies, messages, errors.

Nothing in here talks to a network or a disk except `store/` and `http.py`, and nothing in here
imports `gateway` or `connectors`.
"""

import os

# Arrow reads this when it is first imported. Its own allocator keeps what one thread freed for another: half of a
# gateway's memory when many read. It is no faster here. `catalog.memory` sets the system's.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
