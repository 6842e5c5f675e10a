"""One page about finished or broken runs: what came out, where the time went, what to do about it.

Others take a test, reduced to curves, phases and warnings, from `measured.Measured`, and its charts as
specifications from `charts.charts`; `writing.render` makes a page of what `content.read_content` read.
"""
