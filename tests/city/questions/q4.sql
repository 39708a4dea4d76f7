-- title: Does X own a home?
-- purpose: benefit-eligibility
-- user: wu
--
-- Who applies for a housing benefit may own no home. The register answers match, no-match or, where an id cannot
-- be one, invalid; it shows nothing else, to nobody. The rows of VALUES are the parameters, one a person; these
-- three live in the city of seed 4499.
SELECT
    n,
    id_no,
    verify('housing.main.owner', id_no) AS outcome
FROM (
    VALUES
        (0, '449902195012050860'),
        (3, '449901195206075867'),
        (12, '449903194704027461')
) AS probe (n, id_no)
ORDER BY n
