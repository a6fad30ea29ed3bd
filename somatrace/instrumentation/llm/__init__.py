"""LLM client libraries: OpenLLMetry instrumentors, and repairs of what they get wrong."""
