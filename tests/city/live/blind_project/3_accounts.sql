-- How many people hold how many accounts; people are pseudonyms.
SELECT a.accounts, count(*) AS people
FROM (SELECT t.id_no, count(*) AS accounts FROM water.main.account AS t WHERE t.id_no IS NOT NULL GROUP BY t.id_no) AS a
GROUP BY a.accounts
ORDER BY a.accounts
