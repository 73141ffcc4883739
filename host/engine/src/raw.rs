//! The control of the bench: bare wasmtime with a host that does nothing.
