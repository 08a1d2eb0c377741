"""AMQP 1.0 as bytes: values and messages. Pure functions; nothing here opens a socket."""
