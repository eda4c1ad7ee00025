"""Four CPU devices and quick compilation for every test; compiled programs are kept from one run to the next."""

import contextlib
import importlib.metadata
import importlib.util
import os
import tempfile

# Before the first import of jax: the number of devices is fixed then.
os.environ["JAX_PLATFORMS"] = "cpu"
_FLAGS = (
    "--xla_force_host_platform_device_count=4",
    # A step compiles in a fifth of the time; how fast it then runs does not matter here. Processes inherit it.
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
)
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):  # not known to later versions
    _FLAGS += ("--xla_cpu_use_fusion_emitters=false",)
_GIVEN = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([_GIVEN, *(flag for flag in _FLAGS if flag.split("=")[0] not in _GIVEN)]).strip()
_CACHE = os.path.join(tempfile.gettempdir(), f"sdgan_jax_test_cache_{os.getuid()}")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

if importlib.util.find_spec("tensorflow"):  # Triton, of PyTorch's optimisers, crashes when it is imported after it
    with contextlib.suppress(ImportError):
        importlib.import_module("triton.knobs")
