"""Reports of results folders: tables, figures and one page, all of what is stored."""

from ser_jax.report.folder import compare, rewrite, verify, write_page, write_table
from ser_jax.report.results import Results, Row

__all__ = ["Results", "Row", "compare", "rewrite", "verify", "write_page", "write_table"]
