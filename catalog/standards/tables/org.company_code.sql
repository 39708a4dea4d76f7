SELECT k.code, k.company, k.valid_from, k.valid_to
FROM market.main.company_code AS k
