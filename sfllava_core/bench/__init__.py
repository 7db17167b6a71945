"""The benchmarks around the method: annotations, scoring, judge, runner, report. So far: scoring of choices."""
