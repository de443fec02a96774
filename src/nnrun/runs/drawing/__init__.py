"""How charts are drawn: the parts of Vega-Lite specifications, by kind of chart."""
