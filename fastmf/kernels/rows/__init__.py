"""Row storage: gather and scatter, id hash tables, grouping of events by row, the event log, synchronisation."""
