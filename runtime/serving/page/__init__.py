"""The page of a server, for people: model card, a form, decision regions, tables, live rate."""
