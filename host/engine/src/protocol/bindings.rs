//! What `wit/protocol/` says, as Rust: generated, private, and never named in a public signature.

wasmtime::component::bindgen!({
    path: "../../wit/protocol",
    world: "coordination-protocol",
    ownership: Owning,
    exports: { default: async },
    include_component_type: true,
});
