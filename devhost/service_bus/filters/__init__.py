"""Which messages a subscription takes: correlation filters, and a stated part of SQL filters."""
