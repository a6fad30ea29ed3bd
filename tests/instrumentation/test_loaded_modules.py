"""The modules of a package are found while other threads import."""

from __future__ import annotations

from tests.support.programs import run_program


def test_modules_are_found_while_other_threads_import_and_the_collector_lets_them_run() -> None:
    done = run_program(
        """
        import gc, sys, threading, types
        from somatrace.instrumentation.loaded_modules import modules_of
        gc.callbacks.append(lambda phase, info: None)  # as tools that measure the collector do
        for number in range(3000):
            sys.modules[f"loaded.m{number}"] = types.ModuleType(f"m{number}")
        over = threading.Event()
        def imports():
            while not over.is_set():
                sys.modules["importing"] = types.ModuleType("importing")
                for _ in range(20): pass
                del sys.modules["importing"]
        sys.setswitchinterval(1e-5)
        thread = threading.Thread(target=imports)
        thread.start()
        kept = []
        try:
            for number in range(300):
                kept.append(modules_of("loaded"))
                if number % 20 == 0:
                    kept.clear()
        finally:
            over.set()
            thread.join()
        print(len(kept[-1]))
        """
    )
    assert done.stdout == "3000\n"
