"""Benchmarks: ratios against peers in the same run, on real servers and separate agent processes.

make bench-governance   what masks, filters and purposes cost: the same questions, governed against open
make bench-protocol     the Trino protocol beside a real Trino and a server with pages made beforehand
"""
