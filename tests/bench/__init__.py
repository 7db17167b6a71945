"""The benchmarks' tests; a package, so that its module names are its own."""
