"""What answers each address, by who asks: clients of the protocol, people, operators."""
