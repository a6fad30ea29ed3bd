"""The subset of Langfuse's public read API that `smoke` and cost reports use."""
