"""A wire that carries requests to a SQL database instead of an HTTP server.

wire        a bounded number of threads, each with one connection and one statement at a time
driver      what is used of the driver, which is imported when a request first goes out
failures    what a driver's error means, as the HTTP reply that means the same
"""
