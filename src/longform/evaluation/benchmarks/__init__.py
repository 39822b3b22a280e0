"""Published benchmarks of long-form writing: from their data and a model's responses to tables with intervals.

A benchmark is a module that makes no calls: it defines the questions to the judge and turns the answers into tables, so
every formula can be tested on recorded answers without a network. Reading data, querying the judge, counting missing
answers and writing results are shared.
"""
