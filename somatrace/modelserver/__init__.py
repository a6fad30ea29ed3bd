"""A small model server with the OpenAI protocol that answers by retrieval and extraction.

It is not a language model and does not pretend to be one: its only model is `local-extractive`, in
`/v1/models`, in every answer's `model` and in `system_fingerprint`. It lets the demo, `somatrace smoke` and
tests make real LLM calls over real sockets without a network. The same request body always produces the
same answer, byte for byte.

Run it with `python -m somatrace.modelserver --port 0`, or serve `somatrace.modelserver.app.create_app()`.
It needs the extra `local`.
"""
