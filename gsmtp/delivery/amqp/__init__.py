"""RabbitMQ as a next hop: the options of `amqp` stanzas, broker messages, claims, the publisher."""
