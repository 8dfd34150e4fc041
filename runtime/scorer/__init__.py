"""A scorer for the engines of other projects: Ray, Spark, Dask, Polars and the like."""
