"""Four CPU devices for every test, and compiled programs kept from one run of the tests to the next."""

import os
import tempfile

# Before the first import of jax: the number of devices is fixed then.
os.environ["JAX_PLATFORMS"] = "cpu"
_FORCED = "--xla_force_host_platform_device_count=4"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FORCED}".strip()
_CACHE = os.path.join(tempfile.gettempdir(), f"sdgan_jax_test_cache_{os.getuid()}")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
