"""A small model server that speaks the OpenAI protocol and answers by retrieval and extraction.

It is no language model and says so: its only model is `local-extractive`, in `/v1/models`, in every
answer's `model` and in `system_fingerprint`. It exists so that the demo, `somatrace smoke` and tests
make real LLM calls over real sockets without a network. Same request body, same answer, byte for byte.

Run it with `python -m somatrace.modelserver --port 0`, or serve `somatrace.modelserver.app.create_app()`.
It needs the extra `local`.
"""
