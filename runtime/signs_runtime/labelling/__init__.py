"""Labels any number of pictures and writes Parquet files, on this machine or on a Ray cluster."""
