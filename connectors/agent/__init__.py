"""The department's agent: the only enforcement point that counts.

A gateway is convenient, not trusted. Whatever it sends, an agent shows each user what this department's own
policy grants for the purpose in the user's token, and writes down that it did. The life of a fragment:

    server.py      token and signed request (catalog.identity), breaker, opening hours, a place in the queue
      |            refused: 401, 503, 429; nothing has been parsed
    admit.py       text -> tree: limits, one query, closed lists of nodes, functions, units, by name
      |            received text ends here; everything that runs later is written by catalog.duck
    authorise.py   tree -> governed relations: own resolve, own policy (catalog.policy.decide); unknown and
      |            ungranted are one refusal; columns that are not granted do not exist
    plan.py        which rows are wanted: pushdown.py copies safe predicates, keys and whole groupings below
      |            the masks, each by a rule with its proof
    enforce.py     THE place where masks and row filters enter: the owner's text and raw columns below,
      |            masks between, the analyst's query above
    execute.py     source --> mask engine (policy's SQL only) --> locked residual engine (analyst's query)
      |            the residual engine is a process of its own (child.py, engine.py, confine.py): raw values of
      |            masked columns are never in it, and it is killed without harm to anybody else
    catalog.ledger `begin` on disk before the first byte, `end` before the last
    receipt.py     Arrow stream, closed by a signed record: rows, masks, policy, hash of what was delivered

Two modes leave this path after `authorise`, because they never give rows:

    aggregate.py   one SELECT of declared shape; cells of fewer than k entities are absent;
                   disclosure.py withholds what earlier answers would make tell-tale (span.py: the algebra)
    verify.py      match, no-match or invalid for one subject; budgets are charged before the look-up

fragment.py runs these stages and ends each fragment exactly once; budget.py holds queue, hours, breaker
and daily budgets; policy_file.py takes the policy only as its owners signed it; service.py opens policy,
sources, keys and ledger, and reloads a changed policy.
"""
