"""The web page: model card, form, decision regions, table scoring and live throughput."""
