"""A local Service Bus: an AMQP 1.0 broker that the unmodified azure-servicebus SDK talks to."""
