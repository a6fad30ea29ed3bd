"""The subset of Langfuse's read API that `smoke` and cost reports use."""
